"""A worker that lives on and answers many requests: nets stay loaded between them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self

from lib.caffe.client import Engine
from lib.caffe.process import Ended, Event, WorkerProcess
from lib.errors import UserError

_LOG_TAIL = 200_000  # bytes of Caffe's log that are searched for its last words


class EngineDied(UserError):
    """The worker's process ended, or did not answer in time. The next call starts another one."""


class Service:
    """A worker process, started with the first call. Use it in a `with`.

    One request at a time: callers in several threads wait for each other. Should the process die,
    the request fails with EngineDied and the next one gets a new process.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.starts = 0  # how many processes there were so far
        self._worker: WorkerProcess | None = None
        self._log: IO[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The running worker's process id."""
        worker = self._worker
        return worker.pid if worker and worker.is_running else None

    def call(
        self,
        verb: str,
        request: dict[str, Any],
        *,
        on_event: Callable[[Event], None] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Run one verb and return its result; every event but the last goes to `on_event`.

        Raises UserError when the worker says what is wrong, EngineDied (with Caffe's own words
        where it aborted) when it ends, or when `timeout` seconds pass without an answer.
        """
        with self._lock:
            worker, log = self._running()
            try:
                worker.send(verb, request)
                return worker.answer(on_event, timeout=timeout)
            except TimeoutError:
                raise self._died(worker, log, verb, f"no answer within {timeout:.0f} s") from None
            except Ended:
                raise self._died(worker, log, verb) from None
            except UserError:
                raise
            except BaseException:  # Ctrl-C: an answer that nobody reads must not meet the next call
                self._end()
                raise

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _running(self) -> tuple[WorkerProcess, IO[bytes]]:
        """The worker and its log; a new one if there is none, or no more."""
        if self._worker and self._log and self._worker.is_running:
            return self._worker, self._log
        self._end()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
        self._worker = self.engine.start(self._log)
        self.starts += 1
        return self._worker, self._log

    def _died(self, worker: WorkerProcess, log: IO[bytes], verb: str, why: str = "") -> EngineDied:
        """The error for a worker that ended, or that is ended here for the reason `why`."""
        if why:
            worker.kill()
        code = worker.wait()
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
        words = log.read().decode("utf-8", "replace")
        self._end()
        return EngineDied(f"'{verb}': {why}" if why else self.engine.why(verb, code, words, None))

    def _end(self) -> None:
        if self._worker:
            self._worker.kill()
        if self._log:
            self._log.close()
        self._worker, self._log = None, None
