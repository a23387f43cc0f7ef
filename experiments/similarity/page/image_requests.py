"""Requests for pictures and lists of images."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from experiments.similarity.page.page_parts import page_of
from experiments.similarity.page.thumbs import SIZES

router = APIRouter()
Text = Annotated[str, Query(max_length=300)]
Name = Annotated[str, Query(max_length=4096)]  # of an image
Filters = Annotated[list[str] | None, Query(alias="filter", max_length=20)]  # column:value


def wanted_values(filters: list[str] | None) -> dict[str, str]:
    """Filters as column -> value; 422 for one without a colon."""
    pairs = [each.partition(":") for each in filters or []]
    if not all(colon for _, colon, _ in pairs):
        raise HTTPException(422, "a filter is column:value")
    return {column: value for column, _, value in pairs}


@router.get("/thumb/{row}")
async def thumb(request: Request, row: int, size: str = "small") -> Response:
    page = page_of(request)
    if not 0 <= row < len(page.gallery):
        raise HTTPException(404, f"no image {row}: the collection has {len(page.gallery):,}")
    if size not in SIZES:
        raise HTTPException(404, f"sizes are {', '.join(SIZES)}")
    jpeg = await page.thumbs.jpeg(row, size)
    if jpeg is None:
        raise HTTPException(404, "the image's file is not there any more")
    return _jpeg(jpeg)


@router.get("/upload/{token}")
def uploaded(request: Request, token: str) -> Response:
    jpeg = page_of(request).uploads.jpeg(token)
    if jpeg is None:
        raise HTTPException(404, "no such upload, or it was dropped for newer ones")
    return _jpeg(jpeg)


@router.get("/api/pick")
async def pick(
    request: Request,
    n: Annotated[int, Query(ge=1, le=200)] = 24,
    seed: Annotated[int, Query(ge=0, lt=2**32)] = 1,
    text: Text = "",
    filters: Filters = None,
) -> dict[str, Any]:
    gallery = page_of(request).gallery

    def look() -> dict[str, Any]:
        mask = gallery.mask(wanted_values(filters), text)
        total = len(gallery) if mask is None else int(mask.sum())
        return {"total": total, "images": gallery.pick(mask, n, seed)}

    return await run_in_threadpool(look)


def _jpeg(data: bytes) -> Response:
    return Response(
        data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"}
    )
