"""The page's requests. Images are named by row or by token, models by name: never by a path."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from starlette.middleware.trustedhost import TrustedHostMiddleware

from experiments.similarity.artworks import Artwork, caption
from experiments.similarity.attribution import TrainingImages, data_of, explain, training_images
from experiments.similarity.collection import task_collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import FC7, Model
from experiments.similarity.heatmaps import Picture
from experiments.similarity.neighbours import distance_text
from experiments.similarity.page.engine import TIMEOUT, BusyError, EngineQueue
from experiments.similarity.page.gallery import Gallery
from experiments.similarity.page.thumbs import SIZES, Thumbs
from experiments.similarity.page.uploads import MAX_BYTES, Decoder, RefusedError, Uploads
from lib.caffe.service import EngineDied
from lib.errors import UserError

HERE = Path(__file__).resolve().parent
MOST = 60  # neighbours a request may ask for
_BODY_SECONDS = 60  # that sending an upload may take
_FORM_EXTRA = 4096  # bytes of a form around its file

# Nothing from elsewhere is loaded, no script stands in the page itself, nobody may frame it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Text = Annotated[str, Query(max_length=300)]
Row = Annotated[int | None, Query(ge=0)]


def make_app(
    gallery: Gallery,
    engine: EngineQueue,
    thumbs: Thumbs,
    uploads: Uploads,
    decoder: Decoder,
    hosts: list[str],
) -> FastAPI:
    """The application. `hosts`: the names under which it may be asked for."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()
        decoder.close()

    # No generated pages of documentation: they load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    pages = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    identities = {name: index.features.identity[:16] for name, index in gallery.indexes.items()}

    @app.middleware("http")
    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        # A page from elsewhere that the visitor has open must not feed the engine.
        if request.method not in ("GET", "HEAD") and request.headers.get(
            "sec-fetch-site", "same-origin"
        ) not in ("same-origin", "none"):
            return _problem(403, "only this page may send images")
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return _problem(error.status, str(error))

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        return _problem(503, str(error), {"Retry-After": str(error.seconds)})

    @app.exception_handler(EngineDied)
    async def died(_: Request, error: EngineDied) -> JSONResponse:
        return _problem(
            503, f"the engine stopped and is started anew: {error}", {"Retry-After": "5"}
        )

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> JSONResponse:
        return _problem(422, str(error))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _problem(422, f"{first['loc'][-1]}: {first['msg']}")

    # ---- The page --------------------------------------------------------------------------------

    @app.get("/", response_class=HTMLResponse)
    async def home() -> str:
        return pages.get_template("page.html").render(
            collection=gallery.collection.name, count=len(gallery), models=list(gallery.models)
        )

    @app.get("/api/gallery")
    def about() -> dict[str, Any]:
        return {
            "collection": gallery.collection.name,
            "count": len(gallery),
            "models": list(gallery.models),
            "explainable": [name for name, model in gallery.models.items() if model.run],
            "tested": gallery.tested,
            "filters": gallery.filters,
            "version": gallery.collection.fingerprint[:12],
            "engine": {"waiting": engine.waiting, "restarts": engine.restarts},
        }

    # ---- Images ----------------------------------------------------------------------------------

    @app.get("/thumb/{row}")
    def thumb(row: int, size: str = "small") -> Response:
        _check_row(row)
        if size not in SIZES:
            raise HTTPException(404, f"sizes are {', '.join(SIZES)}")
        jpeg = thumbs.jpeg(row, size)
        if jpeg is None:
            raise HTTPException(404, "the image's file is not there any more")
        return _jpeg(jpeg)

    @app.get("/upload/{token}")
    def uploaded(token: str) -> Response:
        jpeg = uploads.jpeg(token)
        if jpeg is None:
            raise HTTPException(404, "no such upload, or it was dropped for newer ones")
        return _jpeg(jpeg)

    @app.get("/api/pick")
    def pick(
        n: Annotated[int, Query(ge=1, le=200)] = 24,
        seed: Annotated[int, Query(ge=0, lt=2**32)] = 1,
        text: Text = "",
        artist: Text = "",
        genre: Text = "",
        style: Text = "",
    ) -> dict[str, Any]:
        mask = gallery.mask({"artist": artist, "genre": genre, "style": style}, text)
        total = len(gallery) if mask is None else int(mask.sum())
        return {"total": total, "images": gallery.pick(mask, n, seed)}

    # ---- Searching -------------------------------------------------------------------------------

    @app.post("/api/upload")
    async def upload(request: Request) -> dict[str, Any]:
        data = await _body(request)
        sent = await run_in_threadpool(decoder.decode, data)
        vectors = await engine.run(lambda it: _vectors(it, list(gallery.models), sent.pixels))
        token = await run_in_threadpool(
            uploads.keep, sent, {identities[name]: vector for name, vector in vectors.items()}
        )
        return {"token": token}

    @app.get("/api/search")
    async def search(
        image: Row = None,
        upload: Text = "",
        models: Annotated[list[str] | None, Query(max_length=20)] = None,
        k: Annotated[int, Query(ge=1, le=MOST)] = 12,
        artist: Text = "",
        genre: Text = "",
        style: Text = "",
    ) -> dict[str, Any]:
        names = _names(models)
        if (image is None) == (not upload):
            raise HTTPException(422, "name one query: image or upload")
        if image is not None:
            _check_row(image)
            query: dict[str, Any] = gallery.card(image)
            vectors = {name: gallery.indexes[name].vector(image) for name in names}
        else:
            query = {"row": None, "token": upload}
            vectors = await _uploaded_vectors(upload, names)
        wanted = {"artist": artist, "genre": genre, "style": style}

        def look() -> list[dict[str, Any]]:
            mask = gallery.mask(wanted)
            if image is not None:
                mask = np.ones(len(gallery), bool) if mask is None else mask
                mask[image] = False
            return [
                {"model": name, "images": gallery.similar(name, vectors[name], k, mask)}
                for name in names
            ]

        return {"query": query, "results": await run_in_threadpool(look)}

    # ---- Test images by class, and why -----------------------------------------------------------

    @app.get("/api/confusion")
    def confusion(model: Text) -> dict[str, Any]:
        _check_model(model)
        classes, counts = gallery.confusion(model)
        return {"model": model, "classes": classes, "counts": counts}

    @app.get("/api/cell")
    def cell(model: Text, true: Text, predicted: Text) -> dict[str, Any]:
        _check_model(model)
        found = gallery.cell(model, true, predicted)
        return {"total": found.total, "images": found.images}

    @app.get("/api/explain")
    async def why(
        model: Text, image: Row = None, upload: Text = "", label: Text = ""
    ) -> dict[str, Any]:
        _check_model(model)
        if (image is None) == (not upload):
            raise HTTPException(422, "name one query: image or upload")
        if image is not None:
            _check_row(image)
            pixels = await run_in_threadpool(gallery.pixels, image)
        else:
            pixels = (await _arrays(upload))["pixels"].astype(np.uint8)
        asked = gallery.models[model]
        said = await engine.run(
            lambda it: explain(it, asked, pixels, label=label or None, timeout=TIMEOUT)
        )
        nearest: list[dict[str, Any]] = []
        note = part = truth = ""
        try:
            own = gallery.items[image].image if image is not None else None
            training = await run_in_threadpool(_training, asked, said.vector, 6, gallery.known, own)
        except UserError as error:
            note = str(error)
        else:
            part, truth = training.part, training.truth
            for each in training.nearest:
                row = gallery.row_of.get(each.image)
                card = {"row": None, "name": each.image} if row is None else gallery.card(row)
                words = {"class": each.label, "part": each.part}
                words["caption"] = caption("", each.known)
                nearest.append({**card, **words, "distance": float(distance_text(each.distance))})
        return {
            "classes": [
                {"name": name, "probability": probability} for name, probability in said.classes
            ],
            "explained": said.explained,
            "layer": said.layer,
            "seen": _inline(said.seen),
            "activation": _inline(said.activation),
            "saliency": _inline(said.saliency),
            "nearest": nearest,
            "note": note,
            "part": part,
            "truth": truth,
        }

    # ---- What they share -------------------------------------------------------------------------

    def _check_row(row: int) -> None:
        if not 0 <= row < len(gallery):
            raise HTTPException(404, f"no image {row}: the collection has {len(gallery):,}")

    def _check_model(name: str) -> None:
        if name not in gallery.models:
            raise HTTPException(404, "no such model here")

    def _names(models: list[str] | None) -> list[str]:
        names = list(dict.fromkeys(models or gallery.models))
        for name in names:
            _check_model(name)
        return names

    def _vectors(
        extractor: Extractor, names: list[str], pixels: NDArray[np.uint8]
    ) -> dict[str, NDArray[np.float32]]:
        return {
            name: extractor.vectors(gallery.models[name], FC7, pixels, batch=1, timeout=TIMEOUT)[0]
            for name in names
        }

    async def _arrays(token: str) -> dict[str, NDArray[np.generic]]:
        arrays = await run_in_threadpool(uploads.arrays, token)
        if arrays is None:
            raise HTTPException(404, "no such upload, or it was dropped for newer ones")
        return arrays

    async def _uploaded_vectors(token: str, names: list[str]) -> dict[str, NDArray[np.float32]]:
        arrays = await _arrays(token)
        lacking = [name for name in names if identities[name] not in arrays]
        made: dict[str, NDArray[np.float32]] = {}
        if lacking:  # the link is older than the model
            pixels = arrays["pixels"].astype(np.uint8)
            made = await engine.run(lambda it: _vectors(it, lacking, pixels))
        return made | {
            name: arrays[identities[name]].astype(np.float32) for name in names if name not in made
        }

    return app


async def _body(request: Request) -> bytes:
    """The image sent: the body itself, or the first file of a form. Never more than the limit."""
    declared = request.headers.get("content-length", "")
    most = MAX_BYTES + _FORM_EXTRA
    if declared.isdigit() and int(declared) > most:
        raise RefusedError(413, f"the file is larger than {MAX_BYTES // 1_000_000} MB")

    async def read() -> bytes:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                raise RefusedError(413, f"the file is larger than {MAX_BYTES // 1_000_000} MB")
        return bytes(data)

    try:
        data = await asyncio.wait_for(read(), _BODY_SECONDS)
    except TimeoutError:
        raise RefusedError(408, f"sending the image took longer than {_BODY_SECONDS} s") from None
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return data

    async def again() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    try:
        async with Request(request.scope, again).form(max_files=1, max_fields=10) as form:
            for value in form.values():
                if not isinstance(value, str):
                    return await value.read()
    except HTTPException as error:
        raise RefusedError(400, f"the form can't be read: {error.detail}") from None
    raise RefusedError(400, "no image was sent")


def _training(
    model: Model,
    vector: NDArray[np.float32],
    k: int,
    known: dict[str, Artwork],
    image: str | None,
) -> TrainingImages:
    return training_images(task_collection(data_of(model)), model, vector, k, known, image)


def _problem(status: int, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": words}, status, {**HEADERS, **(headers or {})})


def _jpeg(data: bytes) -> Response:
    return Response(
        data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"}
    )


def _inline(picture: Picture) -> str:
    """A small RGB picture as a data address: it is made for one answer and kept nowhere."""
    data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
