"""Run one run of a grid by the make line that a user would type; its words go beside the run.

Prints one line of JSON: state (done, failed, interrupted), reason, seconds. While another process
is at the run it waits: that may be what a dead worker left behind, and what is there by then is
gone on with. With --guarded the training ends in good order, with a snapshot, as soon as standard
input closes: so a run does not outlive the grid, or the Dask worker, that began it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType

from experiments.grid.run_status import (
    DONE,
    FAILED,
    INTERRUPTED,
    Standing,
    make_log,
    stand,
)
from experiments.single_run.folder import RunFolder, check_run_name, run_folder
from experiments.single_run.run_lock import grid_lock, train_lock
from lib.exclusive_lock import exclusive_lock
from lib.parent import PARENT_IS_GONE
from prototxt.settings import Settings

# Variables of make: what the environment, or the make above, says of them is not meant for a run.
_OURS = {
    *(each.name.upper() for each in fields(Settings)),
    *("INIT", "SCENARIO", "SPLIT", "SPLIT_SEED", "RAW", "GPU", "THREADS", "RUN", "FORCE", "KEEP"),
    *("TASK", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEFILES"),
}


def run_one(task: str, run: str, words: Sequence[str], *, guarded: bool) -> None:
    """Run a run by the make line of these words, and print what became of it.

    `guarded`: stop, with a snapshot, when standard input closes.
    """
    check_run_name(run)
    began = time.monotonic()
    once = Once(run_folder(task, run))
    if guarded:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    standing = once.go(["make", "--no-print-directory", task, *words])
    print(
        json.dumps(
            {
                "state": standing.state,
                "reason": standing.reason,
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )


# What stops a run, or a grid, in good order.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, PARENT_IS_GONE)
REPEATED = (signal.SIGINT, signal.SIGTERM)  # by a person, who means it; the others come together


class Once:
    """One attempt at a run. A signal stops it in good order, a second one at once."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.make: subprocess.Popen[bytes] | None = None
        self.waiting = False
        self.asked = False

    def go(self, line: list[str]) -> Standing:
        """Wait until nobody else is at the run, then run the make line to its end."""
        for number in STOPS:
            signal.signal(number, self._on_signal)
        try:
            self.waiting = True
            if self.asked:
                raise KeyboardInterrupt
            with exclusive_lock(grid_lock(self.folder), f"a grid at {self.folder.path}"):
                with exclusive_lock(train_lock(self.folder), f"a training of {self.folder.path}"):
                    self.waiting = False
                return self._run(line)
        except KeyboardInterrupt:
            return Standing(INTERRUPTED, "stopped while it waited for another process")

    def _run(self, line: list[str]) -> Standing:
        log = make_log(self.folder)
        with log.open("wb") as words:
            words.write(f"$ {' '.join(line)}\n".encode())
            words.flush()
            # A session of its own: a signal reaches it from here only, and reaches it once.
            self.make = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                env=plain_environment(),
                start_new_session=True,
            )
            if self.asked:
                self._signal_make(signal.SIGINT)
            code = self.make.wait()
        standing = stand(self.folder, locks=False)
        if standing.state == DONE and code == 0:
            return standing
        if self.asked:
            return Standing(INTERRUPTED, standing.reason)
        if standing.state in (FAILED, INTERRUPTED) and standing.reason:
            return standing
        return Standing(FAILED, f"{_last_line(log)} (make ended with {code})")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number not in REPEATED:
            return
        again, self.asked = self.asked, True
        if self.waiting:
            raise KeyboardInterrupt
        self._signal_make(signal.SIGKILL if again else signal.SIGINT)

    def _signal_make(self, number: int) -> None:
        # SIGINT, because make then waits for its children; at a SIGTERM it leaves them behind.
        if self.make and self.make.poll() is None:
            os.killpg(self.make.pid, number)


def plain_environment() -> dict[str, str]:
    """The environment without variables of make: what is to be said is said in the make line."""
    return {name: value for name, value in os.environ.items() if name not in _OURS}


def _stop_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no word from make")
