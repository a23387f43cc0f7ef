"""What must be there before the trainings of a grid start side by side: LMDBs, means, weights.

Each is made once, one after the other, by the make line that a user would type.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.grid.run_one import plain_environment
from experiments.single_run.folder import RUNS
from experiments.single_run.plan import RunPlan
from experiments.single_run.start import OWN_RUN, SCRATCH, find_start
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock


@dataclass(frozen=True)
class Unready:
    """A run that can't be started, and why."""

    run: RunPlan
    reason: str


def prepare(runs: Iterable[RunPlan], words: Sequence[str]) -> list[Unready]:
    """Make the LMDBs of each task and get the weights of each init; return what can't be run.

    `words` are variables for make (RAW=...). Only one grid at a time prepares in a project.
    """
    todo = list(runs)
    reasons: dict[object, str | None] = {}
    unready = []
    with exclusive_lock(RUNS / ".preparing.lock", "another grid prepares its data"):
        for run in todo:
            why = _once(reasons, run.data.path, _data_line(run, words)) or _init(
                reasons, run, words
            )
            if why:
                unready.append(Unready(run, why))
    return unready


def _data_line(run: RunPlan, words: Sequence[str]) -> list[str]:
    # INIT=scratch: lists and LMDBs are the same whatever the weights, and need none.
    return [
        *("lmdb", f"TASK={run.task}", f"INIT={SCRATCH}"),
        *(f"SPLIT={run.split}", f"SPLIT_SEED={run.split_seed}", *words),
    ]


def _init(reasons: dict[object, str | None], run: RunPlan, words: Sequence[str]) -> str | None:
    """Why an init can't be started from; its weights are fetched first if they are missing."""
    try:
        start = find_start(run.init, run.task, run.data)
    except UserError as error:
        return str(error)
    if start.missing and not run.init.startswith(OWN_RUN):
        verified = [word for word in words if word.startswith("REQUIRE_VERIFIED=")]
        return _once(reasons, run.init, ["weights", f"INIT={run.init}", *verified])
    return None


def _once(reasons: dict[object, str | None], key: object, line: list[str]) -> str | None:
    if key not in reasons:
        reasons[key] = _make(line)
    return reasons[key]


def _make(line: list[str]) -> str | None:
    """Run a make line before the user's eyes; return its error, or None when all went well."""
    print(f"make {' '.join(line)}", flush=True)
    process = subprocess.Popen(
        ["make", "--no-print-directory", *line], stderr=subprocess.PIPE, env=plain_environment()
    )
    assert process.stderr is not None
    tail = b""
    try:
        while block := os.read(process.stderr.fileno(), 65536):
            sys.stderr.buffer.write(block)
            sys.stderr.flush()
            tail = (tail + block)[-20_000:]
    finally:
        code = process.wait()
    if code == 0:
        return None
    lines = tail.decode("utf-8", "replace").splitlines()
    starts = [number for number, text in enumerate(lines) if text.startswith("error: ")]
    if not starts:
        return f"`make {' '.join(line)}` ended with {code}"
    # An error may go on in indented lines: what is missing, one by one.
    said = [lines[starts[-1]].removeprefix("error: ")]
    for text in lines[starts[-1] + 1 :]:
        if not text.startswith("  "):
            break
        said.append(text.strip())
    return " ".join(said)
