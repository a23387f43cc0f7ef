"""Runs side by side on this machine, each in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from experiments.grid.machine import Places
from experiments.grid.run_status import DONE, FAILED, is_held, stand
from experiments.single_run.plan import RunPlan

_LOOK_AGAIN = 2.0  # seconds, for runs that another process is at


@dataclass(frozen=True)
class Outcome:
    """What became of a run in this grid."""

    run: RunPlan
    state: str  # done, failed, interrupted
    reason: str = ""
    seconds: float = 0.0
    where: str = ""  # host, on several machines


class Pool(Protocol):
    """Somewhere to run what is to be done."""

    def begin(self, runs: Sequence[RunPlan]) -> None:
        """Take these runs on."""

    def step(self) -> list[Outcome]:
        """Start what can be started, and give what has ended since the last call. Does not wait."""

    @property
    def open(self) -> int:
        """Runs without an outcome yet, which the pool still means to bring about."""

    @property
    def side_by_side(self) -> int:
        """How many runs it works on at a time."""

    def stop(self) -> None:
        """Start nothing more, and ask what runs to end in good order."""

    def kill(self) -> None:
        """End what runs at once."""

    def close(self) -> None:
        """Let go of everything."""


class ThisMachine:
    """A pool of child processes, one for each place.

    They are children that stop in good order when this process is gone, however it ended.
    """

    def __init__(self, places: Places, words: Sequence[str]) -> None:
        """`words` are variables for make that all runs get (KEEP=all)."""
        self.waiting: list[RunPlan] = []
        self.places = places
        self.words = list(words)
        self.free = list(places.gpus)
        self.working: dict[subprocess.Popen[bytes], tuple[RunPlan, str]] = {}
        self.next_look = 0.0  # time from which runs of other processes are looked at again

    def begin(self, runs: Sequence[RunPlan]) -> None:
        """See Pool."""
        self.waiting += runs

    @property
    def open(self) -> int:
        """See Pool."""
        return len(self.waiting) + len(self.working)

    @property
    def side_by_side(self) -> int:
        """See Pool."""
        return len(self.places)

    def step(self) -> list[Outcome]:
        """See Pool. A run that another process is at is left for later."""
        ended = []
        for process, (run, gpu) in list(self.working.items()):
            if process.poll() is not None:
                del self.working[process]
                self.free.append(gpu)
                ended.append(read_outcome(run, *process.communicate(), process.returncode))
        if self.free and self.waiting and time.monotonic() >= self.next_look:
            for run in list(self.waiting):
                if not self.free:
                    break
                if is_held(run.folder):
                    continue
                self.waiting.remove(run)
                if stand(run.folder).state == DONE:
                    ended.append(Outcome(run, DONE, "by another process"))
                else:
                    self._start(run, self.free.pop(0))
            self.next_look = time.monotonic() + (_LOOK_AGAIN if self.free else 0)
        return ended

    def stop(self) -> None:
        """See Pool."""
        self.waiting.clear()
        for process in self.working:
            if process.stdin:
                process.stdin.close()
                process.stdin = None

    def kill(self) -> None:
        """See Pool."""
        for process in self.working:
            process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """See Pool."""
        self.stop()

    def _start(self, run: RunPlan, gpu: str) -> None:
        words = [*run.words[1:], f"GPU={gpu}", f"THREADS={self.places.threads}", *self.words]
        process = subprocess.Popen(
            run_one_line(sys.executable, run, words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C reaches us only; we pass it on
        )
        self.working[process] = (run, gpu)


def run_one_line(python: str, run: RunPlan, words: Sequence[str]) -> list[str]:
    """The command that runs a run, guarded."""
    return [python, "-m", "tools.run_one", "--guarded", run.task, run.name, *words]


def read_outcome(run: RunPlan, out: bytes, err: bytes, code: int) -> Outcome:
    """What tools.run_one said of a run, by its standard output."""
    try:
        said = json.loads(out.splitlines()[-1])
        return Outcome(run, said["state"], said["reason"], said["seconds"])
    except (IndexError, ValueError, KeyError):
        words = err.decode("utf-8", "replace").strip().splitlines()
        reason = words[-1] if words else f"its process ended with {code}"
        return Outcome(run, FAILED, reason)
