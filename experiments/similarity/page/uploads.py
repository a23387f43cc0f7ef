"""Images that visitors send: read and decoded in a child that may die, then kept by a token."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import math
import multiprocessing
import os
import re
import resource
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from datasets.decode import BrokenImageError, decode, squash
from lib.files import whole_file, write_text
from prototxt.caffenet import IMAGE_SIZE

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")  # Pillow has a hundred more
TAKEN = "JPEG, PNG, WebP, GIF, TIFF or BMP"
MAX_BYTES = 20_000_000
MAX_PIXELS = 60_000_000
MAX_SIDE = 20_000
_SECONDS = 20  # to decode one
_CPU_SECONDS = 8  # of them at work
_MEMORY = 3 << 30  # bytes of address space of the decoding process
_SHOWN = 640  # pixels a side of what is kept to be shown
_KEPT = 500  # uploads; the oldest go first
_TOKEN = re.compile(r"[0-9a-f]{32}")


class RefusedError(Exception):
    """What is wrong with an upload, in words for its sender, and the HTTP status that says so."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A query that is no image of the collection."""

    pixels: NDArray[np.uint8]  # 1 x 3 x 256 x 256, BGR: as the net takes it
    jpeg: bytes  # to be shown


class Decoder:
    """Decodes in a child with limits on memory and time: what kills it kills nothing else.

    One image at a time, so that a visitor can't fill the memory with many.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._one = asyncio.Lock()

    async def decode(self, data: bytes) -> Upload:
        """The image in an upload's bytes. Raises RefusedError (400, 413, 415, 422)."""
        if not data:
            raise RefusedError(400, "no image was sent")
        if len(data) > MAX_BYTES:
            raise RefusedError(413, f"the file is larger than {MAX_BYTES // 1_000_000} MB")
        async with self._one:
            try:
                future = asyncio.wrap_future(self._submit(decode_upload, data))
                pixels, jpeg, status, why = await asyncio.wait_for(future, _SECONDS)
            except (BrokenExecutor, TimeoutError):
                self.close()
                raise RefusedError(422, "the image can't be decoded within the limits") from None
            except asyncio.CancelledError:
                self.close()
                raise
        if status:
            raise RefusedError(status, why)
        return Upload(np.frombuffer(pixels, np.uint8).reshape(1, 3, IMAGE_SIZE, IMAGE_SIZE), jpeg)

    def warm(self) -> None:
        """Start the child, so that the first upload need not wait for it."""
        self._submit(cv2.getNumThreads).result()

    def _submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Let the child do it; a child that is not there is started."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                1, mp_context=context, initializer=limit_child, initargs=(os.getpid(),)
            )
        # The terminal's Ctrl-C reaches the child too, from its first moment on. It inherits what is
        # blocked here, if multiprocessing's own process, whose start unblocks it, is there already.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._pool.submit(work, *arguments)
        except BrokenExecutor:  # it died between two uploads
            self.close()
            return self._submit(work, *arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """End the child."""
        if self._pool:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None


class Uploads:
    """The uploads that links can name: kept on the disk, found by token only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()
        for path in sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime):
            if _TOKEN.fullmatch(path.stem):
                self._known[path.stem] = None

    def __contains__(self, token: str) -> bool:
        return token in self._known

    def keep(self, upload: Upload, vectors: dict[str, NDArray[np.float32]], name: str) -> str:
        """Keep an upload, its features by each model and its file's name; return its token."""
        token = hashlib.sha256(upload.pixels.tobytes()).hexdigest()[:32]
        with whole_file(self._folder / f"{token}.jpg") as aside:
            aside.write_bytes(upload.jpeg)
        self.add_vectors(token, upload.pixels, vectors)
        write_text(self._folder / f"{token}.json", json.dumps({"when": time.time(), "name": name}))
        with self._lock:
            self._known[token] = None
            self._known.move_to_end(token)
            while len(self._known) > _KEPT:
                self._forget(self._known.popitem(last=False)[0])
        return token

    def add_vectors(
        self, token: str, pixels: NDArray[np.uint8], vectors: dict[str, NDArray[np.float32]]
    ) -> None:
        """Write the pixels and vectors of an upload, in place of those it has."""
        with whole_file(self._folder / f"{token}.npz") as aside, aside.open("wb") as handle:
            arrays: dict[str, Any] = {"pixels": pixels, **vectors}
            np.savez(handle, **arrays)

    def name(self, token: str) -> str:
        """The name of the file that was sent; "" when it is not known."""
        if token not in self._known:
            return ""
        try:
            said = json.loads((self._folder / f"{token}.json").read_text(encoding="utf-8"))
            return str(said.get("name", ""))
        except (OSError, ValueError, AttributeError):
            return ""

    def arrays(self, token: str) -> dict[str, NDArray[np.generic]] | None:
        """The pixels and vectors of an upload; None when it is not there (any more)."""
        if token not in self._known:
            return None
        try:
            with np.load(self._folder / f"{token}.npz", allow_pickle=False) as found:
                return {name: np.array(found[name]) for name in found}
        except (OSError, ValueError):
            return None

    def jpeg(self, token: str) -> bytes | None:
        """The picture of an upload; None when it is not there."""
        if token not in self._known:
            return None
        with contextlib.suppress(OSError):
            return (self._folder / f"{token}.jpg").read_bytes()
        return None

    def _forget(self, token: str) -> None:
        for suffix in ("json", "npz", "jpg"):
            (self._folder / f"{token}.{suffix}").unlink(missing_ok=True)


def show(picture: NDArray[np.uint8], side: int) -> bytes:
    """A BGR picture as a JPEG of at most `side` pixels a side."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def limit_child(parent: int) -> None:
    """Set the limits of the child, and let it end when its parent does, however that ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    cv2.setNumThreads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def decode_upload(data: bytes) -> tuple[bytes, bytes, int, str]:
    """In the child: pixels and the JPEG to be shown; or the HTTP status and what is wrong."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + _CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
    try:
        kind, width, height = _header(data)
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            most_pixels = f"{MAX_PIXELS:,} at most"
            return b"", b"", 413, f"{width} x {height} pixels are too many ({most_pixels})"
        picture = decode(data)
    except (BrokenImageError, MemoryError) as error:
        why = str(error) or "it takes too much memory"
        return b"", b"", 422, f"the image can't be decoded: {why}"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b"", b"", 415, f"not an image that is taken: {TAKEN}"
    pixels = np.ascontiguousarray(squash(picture).transpose(2, 0, 1))
    return pixels.tobytes(), show(picture, _SHOWN), 0, kind


def _header(data: bytes) -> tuple[str, int, int]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:  # reads the header only
        return str(image.format), *image.size
