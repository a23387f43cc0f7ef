"""Requests that search: by an image of the collection, or by one that a visitor sends."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from experiments.similarity.page.bodies import read_body
from experiments.similarity.page.image_requests import Filters, Name, Text, wanted_values
from experiments.similarity.page.page_parts import Card, one_query, page_of

router = APIRouter()
MOST = 60  # neighbours that a request may ask for


@router.post("/api/upload")
async def upload(request: Request) -> dict[str, Any]:
    """Keep an image and its features by every model; answers with its token."""
    page = page_of(request)
    async with page.bodies.place() as sender:
        sent = await page.decoder.decode(await read_body(request, sender))
        names = list(page.gallery.models)
        vectors = await page.engine.run(lambda it: page.vectors(it, names, sent.pixels))
        name = unquote(request.headers.get("x-file-name", ""))[:200]
        kept = {page.identities[model]: vector for model, vector in vectors.items()}
        token = await run_in_threadpool(page.uploads.keep, sent, kept, name)
    return {"token": token}


@router.post("/api/upload/{token}/vectors")
async def renew(request: Request, token: str) -> dict[str, Any]:
    """Take an upload's features again, by models that are newer than it."""
    page = page_of(request)
    pixels = (await page.arrays(token))["pixels"].astype(np.uint8)
    names = list(page.gallery.models)
    async with page.engine.place():
        vectors = await page.engine.run(lambda it: page.vectors(it, names, pixels))
    kept = {page.identities[model]: vector for model, vector in vectors.items()}
    await run_in_threadpool(page.uploads.add_vectors, token, pixels, kept)
    return {"token": token}


@router.get("/api/search")
async def search(
    request: Request,
    image: Name = "",
    upload: Text = "",
    models: Annotated[list[str] | None, Query(max_length=20)] = None,
    k: Annotated[int, Query(ge=1, le=MOST)] = 12,
    filters: Filters = None,
) -> dict[str, Any]:
    page = page_of(request)
    gallery, names = page.gallery, page.models(models)
    one_query(image, upload)
    row: int | None = None
    if image:
        row = page.row(image)
        query: Card = gallery.card(row)
        vectors = {name: gallery.indexes[name].vector(row) for name in names}
    else:
        query = {"row": None, "token": upload, "title": page.uploads.name(upload)}
        vectors = await page.uploaded_vectors(upload, names)
    wanted = wanted_values(filters)

    def look() -> list[dict[str, Any]]:
        mask = gallery.mask(wanted)
        return [
            {"model": name, "images": gallery.similar(name, vectors[name], k, mask, row)}
            for name in names
        ]

    return {"query": query, "results": await run_in_threadpool(look)}
