"""Bodies that visitors send: few at once, each within limits of size and time.

A place in the queue is taken before the first byte is read. When all are taken, a sender that has
been silent loses its place to the next one: slow senders keep nobody out.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from experiments.similarity.page.engine import EngineQueue
from experiments.similarity.page.uploads import MAX_BYTES, RefusedError

_SECONDS = 60  # that sending an upload may take
_SILENT = 10  # seconds without a byte end it
_GIVES_WAY = 1.5  # seconds of silence after which it makes room for another one
_WAITS = 10  # seconds that a body waits for such room: others may take it first
_FORM_EXTRA = 4096  # bytes of a form around its file
TOO_LARGE = f"the file is larger than {MAX_BYTES // 1_000_000} MB"


class Sender:
    """One body on its way."""

    def __init__(self) -> None:
        self.heard = time.monotonic()
        self.ready = False  # the whole body is there
        self.must_go = asyncio.Event()
        self.gone = asyncio.Event()


class Bodies:
    """The bodies that are read or worked on; each has a place in the engine's queue."""

    def __init__(self, engine: EngineQueue) -> None:
        self._engine = engine
        self._inside: set[Sender] = set()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Sender]:
        """A place for one body, from before its first byte to its answer. Raises BusyError."""
        until = time.monotonic() + _WAITS
        while self._engine.full and time.monotonic() < until:
            if not await self._make_room():
                break
        async with self._engine.place():
            sender = Sender()
            self._inside.add(sender)
            try:
                yield sender
            finally:
                self._inside.discard(sender)
                sender.gone.set()

    async def _make_room(self) -> bool:
        """Send away the body that has been silent for longest, once it is for long enough.

        False when no body is on its way: all places are being worked on.
        """
        coming = [each for each in self._inside if not each.ready]
        if not coming:
            return False
        waiting = [each for each in coming if not each.must_go.is_set()]
        if not waiting:
            await coming[0].gone.wait()
            return True
        slowest = min(waiting, key=lambda each: each.heard)
        heard = slowest.heard
        await asyncio.sleep(max(0.0, heard + _GIVES_WAY - time.monotonic()))
        if self._engine.full and slowest.heard == heard and not slowest.ready:
            slowest.must_go.set()
            await slowest.gone.wait()
        return True


async def read_body(request: Request, sender: Sender) -> bytes:
    """The image sent: the body itself, or the first file of a form. Never more than the limit.

    Raises RefusedError (400, 408, 413).
    """
    declared = request.headers.get("content-length", "")
    most = MAX_BYTES + _FORM_EXTRA
    if declared.isdigit() and (len(declared) > 12 or int(declared) > most):
        raise RefusedError(413, TOO_LARGE)
    data = await _received(request, sender, most)
    sender.ready = True
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


async def _received(request: Request, sender: Sender, most: int) -> bytes:
    data = bytearray()
    until = time.monotonic() + _SECONDS
    stream = request.stream()
    sent_away = asyncio.ensure_future(sender.must_go.wait())
    try:
        while True:
            chunk = asyncio.ensure_future(anext(stream, None))
            left = max(0.0, min(_SILENT, until - time.monotonic()))
            await asyncio.wait({chunk, sent_away}, timeout=left, return_when=FIRST_COMPLETED)
            if not chunk.done():
                chunk.cancel()
                raise RefusedError(408, "sending the image took too long")
            some = chunk.result()
            if some is None:
                return bytes(data)
            sender.heard = time.monotonic()
            data += some
            if len(data) > most:
                raise RefusedError(413, TOO_LARGE)
    except ClientDisconnect:
        raise RefusedError(400, "the sender has gone") from None
    finally:
        sent_away.cancel()
