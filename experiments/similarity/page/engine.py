"""One engine for all who ask: a short queue, and a new process when the old one dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from experiments.similarity.extractor import Extractor
from lib.caffe.service import EngineDied

T = TypeVar("T")

TIMEOUT = 60.0  # seconds that Caffe may take for one image


class BusyError(Exception):
    """The queue is full. `seconds`: when to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many images wait for the engine; try again in {seconds} s")
        self.seconds = seconds


class EngineQueue:
    """Runs work on an Extractor, one piece after the other, in a thread of its own."""

    def __init__(self, extractor: Extractor, limit: int) -> None:
        """`limit`: pieces of work that may wait or run at once."""
        self.extractor = extractor
        self.limit = limit
        self.restarts = 0  # after a process died
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._inside = 0  # places taken; touched by the event loop alone
        self._closed = False
        self._seconds = 1.0  # that a piece takes, by the last ones

    @property
    def waiting(self) -> int:
        """Pieces that wait or run."""
        return self._inside

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self._inside >= self.limit

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the queue, to be had before any other work. Raises BusyError at once."""
        if self.full:
            raise self.busy()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def busy(self) -> BusyError:
        """What is said when all places are taken."""
        return BusyError(max(1, round(self._seconds * self._inside)))

    async def run(self, work: Callable[[Extractor], T]) -> T:
        """The result of `work`, for one who has a place.

        When the engine dies under it, it is tried once more with a new one. Work whose caller has
        gone away before its turn is skipped.
        """
        return await asyncio.wrap_future(self._thread.submit(self._work, work))

    def close(self) -> None:
        """End the engine and its thread, in the middle of its work too."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if pid := self.extractor.service.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.extractor.__exit__()

    def _work(self, work: Callable[[Extractor], T]) -> T:
        began = time.monotonic()
        try:
            return work(self.extractor)
        except EngineDied:
            if self._closed:
                raise
            self.restarts += 1
            return work(self.extractor)
        finally:
            self._seconds = 0.7 * self._seconds + 0.3 * (time.monotonic() - began)
