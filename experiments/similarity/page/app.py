"""The page's application. Images are named by their paths in the collection, never on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.similarity.page import class_requests, image_requests, search_requests
from experiments.similarity.page.guard import add_errors, add_guard
from experiments.similarity.page.page_parts import Page, page_of

HERE = Path(__file__).resolve().parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
)
router = APIRouter()


def make_app(page: Page, hosts: list[str]) -> FastAPI:
    """The application. `hosts`: the names under which it may be asked for."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        page.engine.close()
        page.decoder.close()

    # No generated pages of documentation: they load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.page = page
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for each in (router, image_requests.router, search_requests.router, class_requests.router):
        app.include_router(each)
    add_guard(app, hosts)
    add_errors(app)
    return app


@router.get("/", response_class=HTMLResponse)
def home(request: Request) -> str:
    gallery = page_of(request).gallery
    return _TEMPLATES.get_template("page.html").render(collection=gallery.name, count=len(gallery))


@router.get("/api/gallery")
def about(request: Request) -> dict[str, Any]:
    page = page_of(request)
    gallery, engine = page.gallery, page.engine
    return {
        "collection": gallery.name,
        "count": len(gallery),
        "models": list(gallery.models),
        "short": gallery.short_names,
        "notes": gallery.notes,
        "explainable": [name for name, model in gallery.models.items() if model.run],
        "tested": gallery.tested,
        "filters": gallery.filters,
        "version": gallery.collection.fingerprint[:12],
        "engine": {"waiting": engine.waiting, "restarts": engine.restarts},
    }
