"""The parent's side of the engine: start the worker in Caffe's Python, follow its events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lib.caffe.cuda_driver import find_driver
from lib.caffe.failures import explain, last_exception
from lib.errors import UserError
from lib.parent import PARENT_IS_GONE

PROJECT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).resolve().parent / "worker" / "main.py"
INSTALLED = PROJECT / ".caffe" / "bin" / "python"
GPU_BUILD = PROJECT / ".caffe-gpu" / "bin" / "python"
_LOG_TAIL = 200_000  # bytes of Caffe's log that are searched for its last words

Event = dict[str, Any]


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
        Ctrl-C, SIGTERM, SIGHUP and the end of make are passed on, once, so that the worker can end
        in good order. Relative paths, in a request as in prototxts, are relative to the current
        folder: the project's root.

        Raises UserError with Caffe's own words when Caffe aborts, and Interrupted.
        """
        with _log_file(log) as stderr:
            start = stderr.tell()
            with (
                self._started(verb, stderr, keep_open) as process,
                _passing_on_signals(process) as interrupted,
            ):
                last = _follow(process, request, on_event)
            if last.get("event") == "done" and process.returncode == 0:
                last.pop("event")
                if last.pop("interrupted", False):
                    raise Interrupted
                return last
            if last.get("event") == "error":
                raise UserError(last["message"])
            if interrupted.is_set():
                raise Interrupted
            raise UserError(self.why(verb, process.returncode, _tail(stderr, start), log))

    @contextmanager
    def _started(
        self, verb: str, stderr: IO[bytes], keep_open: Iterable[int]
    ) -> Iterator[subprocess.Popen[str]]:
        """The worker's process; should the block raise, it is killed."""
        try:
            process = subprocess.Popen(
                [str(self.python), str(WORKER), verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self.environment(),
                text=True,
                encoding="utf-8",
                pass_fds=tuple(keep_open),
                start_new_session=True,  # the terminal's Ctrl-C reaches us only; we pass it on
            )
        except OSError as error:
            raise UserError(f"cannot start {self.python}: {error.strerror}") from None
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def environment(self) -> dict[str, str]:
        """The environment variables of its processes: the BLAS threads among them."""
        environment = dict(os.environ, PYTHONUTF8="1")
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


def _follow(
    process: subprocess.Popen[str],
    request: dict[str, Any],
    on_event: Callable[[Event], None] | None,
) -> Event:
    """Send the request, report the events, wait for the end; return the last event."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError), process.stdin as stdin:  # it died at once: its log says why
        json.dump(request, stdin)
    last: Event = {}
    for line in process.stdout:
        try:
            last = json.loads(line)
            kind = last["event"]
        except (ValueError, TypeError, KeyError):
            last = {}  # cut short by its end, or no worker of ours at all
            continue
        if on_event and kind not in ("done", "error"):
            on_event(last)
    process.wait()
    return last


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
def _passing_on_signals(process: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """While the worker runs, Ctrl-C and its like ask it to end; a second one of a kind kills it.

    Only Ctrl-C and SIGTERM do that, which a person repeats: a closed connection (SIGHUP) and a
    parent that is gone (SIGUSR1, lib.parent) may come together with another signal.
    """
    asked = threading.Event()
    seen: set[int] = set()

    def pass_on(number: int, _frame: Any) -> None:
        if number in seen and number in (signal.SIGINT, signal.SIGTERM):
            process.kill()
        elif not asked.is_set():
            process.send_signal(signal.SIGINT)
        seen.add(number)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may set handlers
        return
    numbers = [signal.SIGINT, signal.SIGTERM, PARENT_IS_GONE]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
