"""Small versions of the collection's images, made when first asked for and kept."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from fastapi.concurrency import run_in_threadpool

from experiments.similarity.artworks import picture
from experiments.similarity.page.gallery import Gallery
from experiments.similarity.page.uploads import show
from lib.errors import UserError
from lib.files import whole_file

SIZES = {"small": 360, "large": 1200}  # pixels a side
_AT_ONCE = 2  # decoded at the same time: a large scan takes hundreds of megabytes


class Thumbs:
    """JPEGs by row and size, cached in a folder."""

    def __init__(self, gallery: Gallery, folder: Path) -> None:
        self._gallery = gallery
        self._folder = folder
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def jpeg(self, row: int, size: str) -> bytes | None:
        """The image of a row; None when its file is not there any more, or broken."""
        kept = self._folder / str(row // 1000) / f"{row}-{size}.jpg"
        with contextlib.suppress(OSError):
            return kept.read_bytes()
        async with self._gate:  # who waits here keeps no thread from others
            return await run_in_threadpool(self._make, row, size, kept)

    def _make(self, row: int, size: str, kept: Path) -> bytes | None:
        image = self._gallery.items[row].image
        try:
            made = show(picture(self._gallery.collection, image)[..., ::-1], SIZES[size])
        except UserError:
            return None
        with contextlib.suppress(OSError), whole_file(kept) as aside:
            aside.write_bytes(made)
        return made
