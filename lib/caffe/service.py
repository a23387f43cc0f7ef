"""A worker that lives on and answers many requests: nets stay loaded between them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lib.caffe.client import Engine, Event
from lib.errors import UserError

SERVE = Path(__file__).resolve().parent / "worker" / "serve.py"
_LOG_TAIL = 200_000  # bytes of Caffe's log that are searched for its last words


class EngineDied(UserError):
    """The worker's process ended, or did not answer in time. The next call starts another one."""


class Service:
    """A worker process (worker/serve.py), started with the first call. Use it in a `with`.

    One request at a time: callers in several threads wait for each other. Should the process die,
    the request fails with EngineDied and the next one gets a new process.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.starts = 0  # how many processes there were so far
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._unread = b""
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The running worker's process id."""
        process = self._process
        return process.pid if process and process.poll() is None else None

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
            process = self._running()
            assert process.stdin is not None
            until = None if timeout is None else time.monotonic() + timeout
            try:
                process.stdin.write(json.dumps({"verb": verb, "request": request}).encode() + b"\n")
                process.stdin.flush()
                while True:
                    event = json.loads(self._line(process, until))
                    kind = event.pop("event")
                    if kind == "done":
                        return dict(event)
                    if kind == "error":
                        raise UserError(event["message"])
                    if on_event:
                        on_event({"event": kind, **event})
            except TimeoutError:  # before OSError, of which it is one kind
                raise self._died(verb, f"no answer within {timeout:.0f} s") from None
            except (OSError, EOFError, ValueError):
                raise self._died(verb) from None
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

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is None:
            return self._process
        self._end()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
        try:
            self._process = subprocess.Popen(
                [str(self.engine.python), str(SERVE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=self.engine.environment(),
                start_new_session=True,  # the terminal's Ctrl-C reaches us only
            )
        except OSError as error:
            raise UserError(f"cannot start {self.engine.python}: {error.strerror}") from None
        self.starts += 1
        return self._process

    def _line(self, process: subprocess.Popen[bytes], until: float | None) -> bytes:
        assert process.stdout is not None
        while b"\n" not in self._unread:
            if until is not None:
                left = max(0.0, until - time.monotonic())
                if not select.select([process.stdout], [], [], left)[0]:
                    raise TimeoutError
            some = os.read(process.stdout.fileno(), 1 << 16)
            if not some:
                raise EOFError
            self._unread += some
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _died(self, verb: str, why: str = "") -> EngineDied:
        assert self._process is not None
        assert self._log is not None
        if why:
            self._process.kill()
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_TAIL))
        log = self._log.read().decode("utf-8", "replace")
        self._end()
        return EngineDied(f"'{verb}': {why}" if why else self.engine.why(verb, code, log, None))

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with suppress(OSError):  # what it did not take any more
                        pipe.close()
        if self._log:
            self._log.close()
        self._process, self._log, self._unread = None, None, b""
