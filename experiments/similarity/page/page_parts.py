"""What the page's requests work with, and the questions that several of them ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray

from experiments.similarity.extractor import Extractor
from experiments.similarity.page.bodies import Bodies
from experiments.similarity.page.engine import TIMEOUT, EngineQueue
from experiments.similarity.page.gallery import Gallery
from experiments.similarity.page.thumbs import Thumbs
from experiments.similarity.page.uploads import Decoder, Uploads

Vector = NDArray[np.float32]


@dataclass
class Page:
    """The parts of a page that is served."""

    gallery: Gallery
    engine: EngineQueue
    thumbs: Thumbs
    uploads: Uploads
    decoder: Decoder

    @cached_property
    def bodies(self) -> Bodies:
        """The images that are being sent."""
        return Bodies(self.engine)

    @cached_property
    def identities(self) -> dict[str, str]:
        """Model -> one word for its features: vectors of uploads are kept under it."""
        return {name: index.features.identity[:16] for name, index in self.gallery.indexes.items()}

    def row(self, image: str) -> int:
        """The row of an image; 404 when the collection has none of that name."""
        row = self.gallery.row_named(image)
        if row is None:
            raise HTTPException(404, f"the collection has no image {image}")
        return row

    def model(self, name: str) -> str:
        """The model's name; 404 when it is not served here."""
        if name not in self.gallery.models:
            raise HTTPException(404, "no such model here")
        return name

    def models(self, names: list[str] | None) -> list[str]:
        """These models, each once, or all."""
        return [self.model(name) for name in dict.fromkeys(names or self.gallery.models)]

    async def arrays(self, token: str) -> dict[str, NDArray[np.generic]]:
        """The pixels and vectors of an upload; 404 when it is not there (any more)."""
        arrays = await run_in_threadpool(self.uploads.arrays, token)
        if arrays is None:
            raise HTTPException(404, "no such upload, or it was dropped for newer ones")
        return arrays

    async def uploaded_vectors(self, token: str, names: list[str]) -> dict[str, Vector]:
        """The vectors of an upload by these models; 409 when it is older than one of them."""
        arrays, identities = await self.arrays(token), self.identities
        if any(identities[name] not in arrays for name in names):
            raise HTTPException(409, "the upload is older than a model")
        return {name: arrays[identities[name]].astype(np.float32) for name in names}

    def vectors(
        self, extractor: Extractor, names: list[str], pixels: NDArray[np.uint8]
    ) -> dict[str, Vector]:
        """The features of one image by each model: to be run by the engine's queue."""
        return {
            name: extractor.vectors(
                self.gallery.models[name],
                self.gallery.models[name].blob,
                pixels,
                batch=1,
                timeout=TIMEOUT,
            )[0]
            for name in names
        }


def page_of(request: Request) -> Page:
    """The page that a request is for."""
    page: Page = request.app.state.page
    return page


def one_query(image: str, upload: str) -> None:
    """422 unless there is exactly one query."""
    if bool(image) == bool(upload):
        raise HTTPException(422, "name one query: image or upload")


Card = dict[str, Any]
