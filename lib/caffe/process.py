"""One process of the worker, and the protocol between it and us.

A request is a line of JSON on the worker's stdin: {"verb": ..., "request": {...}}. The worker
answers with events, each a line of JSON on its stdout, the last of them `done` (with the result) or
`error` (with a message for the user). Then it takes the next request; when its stdin ends, it ends.
Caffe's log, and whatever else is printed there, goes to its stderr. When Caffe aborts, no answer
comes: the process is gone, and its log says why.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from lib.errors import UserError

WORKER = Path(__file__).resolve().parent / "worker" / "main.py"

Event = dict[str, Any]


class Ended(Exception):
    """The process ended without an answer."""


class WorkerProcess:
    """A running worker. Raises UserError if `python` can't be started."""

    def __init__(
        self,
        python: Path,
        environment: dict[str, str],
        log: IO[bytes],
        *,
        keep_open: Iterable[int] = (),
    ) -> None:
        try:
            self._process = subprocess.Popen(
                [str(python), str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                pass_fds=tuple(keep_open),
                start_new_session=True,  # the terminal's Ctrl-C reaches us only
            )
        except OSError as error:
            raise UserError(f"cannot start {python}: {error.strerror}") from None
        self._unread = b""
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def send(self, verb: str, request: dict[str, Any], *, last: bool = False) -> None:
        """Ask for one verb; with `last` the worker ends after its answer."""
        assert self._process.stdin is not None
        line = json.dumps({"verb": verb, "request": request}).encode() + b"\n"
        with suppress(BrokenPipeError):  # it died at once: that there is no answer will tell
            self._process.stdin.write(line)
            self._process.stdin.flush()
        if last:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def answer(
        self, on_event: Callable[[Event], None] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """The result of what was asked; every event but the last goes to `on_event`.

        Raises UserError with what the worker says is wrong, Ended when it ends instead, and
        TimeoutError when `timeout` seconds pass before the end of the answer.
        """
        for event in self._events(None if timeout is None else time.monotonic() + timeout):
            kind = event["event"]
            if kind == "error":
                raise UserError(event["message"])
            if kind == "done":
                return {name: value for name, value in event.items() if name != "event"}
            if on_event:
                on_event(event)
        raise Ended

    def interrupt(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; its exit code, negative for a signal."""
        return self._process.wait()

    def kill(self) -> None:
        """End it at once, if it has not ended yet, and release its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):  # what it did not take any more
                    pipe.close()

    def _events(self, until: float | None) -> Iterator[Event]:
        """The events as they come, till the process closes its stdout."""
        assert self._process.stdout is not None
        stdout = self._process.stdout.fileno()
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                with suppress(ValueError, TypeError):  # no worker of ours at all, perhaps
                    event = json.loads(line)
                    if isinstance(event, dict) and "event" in event:
                        yield event
                continue
            if until is not None:
                left = max(0.0, until - time.monotonic())
                if not select.select([stdout], [], [], left)[0]:
                    raise TimeoutError
            some = os.read(stdout, 1 << 16)
            if not some:
                return
            self._unread += some
