"""The parent's side of the engine: start the worker in Caffe's Python, follow its events."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lib.caffe.cuda_driver import find_driver
from lib.caffe.failures import explain, last_exception
from lib.caffe.process import Ended, Event, WorkerProcess
from lib.errors import UserError
from lib.parent import PARENT_IS_GONE

PROJECT = Path(__file__).resolve().parents[2]
INSTALLED = PROJECT / ".caffe" / "bin" / "python"
GPU_BUILD = PROJECT / ".caffe-gpu" / "bin" / "python"
_LOG_TAIL = 200_000  # bytes of Caffe's log that are searched for its last words


class NoEngineError(UserError):
    """No Caffe is installed here, and none is named."""


class Interrupted(KeyboardInterrupt):
    """The worker ended in good order because the user asked for it (Ctrl-C, SIGTERM, SIGHUP)."""


@dataclass(frozen=True)
class Engine:
    """A Python that can `import caffe`."""

    python: Path
    threads: int | None = None  # BLAS threads; None leaves it to the BLAS: one a core

    def call(
        self,
        verb: str,
        request: dict[str, Any],
        *,
        log: Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        keep_open: Iterable[int] = (),
    ) -> dict[str, Any]:
        """Run one verb of the worker (lib/caffe/worker/verb_<verb>.py) and return its result.

        `log` is appended with Caffe's own log as Caffe wrote it. Every event but the last goes to
        `on_event`. File descriptors in `keep_open` (a lock, say) live as long as the worker does.
        Ctrl-C, SIGTERM and SIGHUP are passed on, so that the worker can end in good order; a second
        Ctrl-C kills it. Relative paths, in a request as in prototxts, are relative to the current
        folder: the project's root.

        Raises UserError with Caffe's own words when Caffe aborts, and Interrupted.
        """
        with _log_file(log) as stderr:
            start = stderr.tell()
            worker = self.start(stderr, keep_open=keep_open)
            try:
                with _passing_on_signals(worker) as interrupted:
                    worker.send(verb, request, last=True)
                    try:
                        result = worker.answer(on_event)
                    except Ended:
                        result = None
                    code = worker.wait()
            finally:
                worker.kill()
            if result is None or code:
                if interrupted.is_set():
                    raise Interrupted
                raise UserError(self.why(verb, code, _tail(stderr, start), log))
            if result.pop("interrupted", False):
                raise Interrupted
            return result

    def start(self, log: IO[bytes], *, keep_open: Iterable[int] = ()) -> WorkerProcess:
        """A worker's process, whose log (a file) is `log`; UserError if it can't be started."""
        return WorkerProcess(self.python, self.environment(), log, keep_open=keep_open)

    def environment(self) -> dict[str, str]:
        """The environment variables of its processes: the BLAS threads among them."""
        environment = dict(os.environ, PYTHONUTF8="1")
        if theirs := environment.pop("CAFFE_PYTHONPATH", None):  # of the user's shell; see Makefile
            environment["PYTHONPATH"] = theirs
        if self.threads is not None:
            for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
                environment[name] = str(self.threads)
        return environment

    def why(self, verb: str, code: int, log: str, path: Path | None) -> str:
        """Why a worker that ended with this exit code failed, from its log (kept at `path`)."""
        more = f"; the whole log: {path}" if path else ""
        if words := explain(log):
            return f"Caffe stopped: {words}{more}"
        if words := last_exception(log):
            return f"'{verb}' failed in {self.python}: {words}{more}"
        if code < 0:
            name = signal.Signals(-code).name
            hints = {
                "SIGKILL": " (out of memory?)",
                "SIGABRT": " and could not say why (disk full?)",
            }
            hint = hints.get(name, "")
            return f"Caffe's process was ended by {name}{hint}{more}"
        return (
            f"'{verb}' ended with exit code {code} and no answer: is {self.python} a Python that "
            f"can `import caffe`?{more}"
        )


def find_engine(threads: int | None = None, *, gpu: bool = True) -> Engine:
    """The engine to use: CAFFE_PYTHON if set, else one of this project's own.

    That is the one that `make caffe-gpu` built, where the driver sees a GPU and `gpu` is not False
    (a build for GPUs aborts without a driver, on the CPU too); else the one that `make caffe`
    installed. Raises UserError when there is none (NoEngineError) or CAFFE_PYTHON is no program.
    """
    named = os.environ.get("CAFFE_PYTHON")
    if named:
        python = Path(named)
        if not os.access(python, os.X_OK) or python.is_dir():
            raise UserError(f"CAFFE_PYTHON={named} is not a program that can be run")
        return Engine(python.absolute(), threads)
    if gpu and os.access(GPU_BUILD, os.X_OK) and sees_gpu():
        return Engine(GPU_BUILD, threads)
    if not os.access(INSTALLED, os.X_OK):
        raise NoEngineError(
            "no Caffe here yet: `make caffe` installs BVLC Caffe, or set CAFFE_PYTHON to a Python "
            "that can `import caffe`"
        )
    return Engine(INSTALLED, threads)


def sees_gpu() -> bool:
    """Whether the NVIDIA driver works and sees a GPU."""
    driver = find_driver()
    return driver is not None and len(driver.cards) > 0


@contextmanager
def _log_file(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        with tempfile.TemporaryFile() as handle:
            yield handle
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as handle:
            yield handle


def _tail(handle: IO[bytes], start: int) -> str:
    handle.seek(0, os.SEEK_END)
    handle.seek(max(start, handle.tell() - _LOG_TAIL))
    return handle.read().decode("utf-8", "replace")


@contextmanager
def _passing_on_signals(worker: WorkerProcess) -> Iterator[threading.Event]:
    """While the worker runs, the signals that end a program ask it to end; see Engine.call.

    Only a second Ctrl-C kills: a machine that shuts down may send SIGTERM and SIGHUP both.
    """
    asked = threading.Event()

    def pass_on(number: int, _frame: Any) -> None:
        again = asked.is_set() and number == signal.SIGINT
        worker.interrupt(signal.SIGKILL if again else signal.SIGINT)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may set handlers
        return
    before = {
        number: signal.signal(number, pass_on)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, PARENT_IS_GONE)
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup leaves it
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
