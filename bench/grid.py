"""Two trainings side by side against the same two one after the other, CaffeNet on the sample.

    python -m bench.grid            about 3 minutes on 2 idle cores

Both ways are `make grid` with what it chooses itself: side by side with one BLAS thread each, one
after the other with a thread for each core. They are taken in turn within one call, in a copy of
the project, from scratch each time; the ratio of the two times counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from base.cli import run
from base.errors import UserError
from base.files import readable, require_space
from engines.client import find_engine
from experiments.machine import training_memory, usable_cores
from prototxt.settings import Settings
from tests.small_project import SmallProject, copy_project

RAW = Path("datasets/raw")
AIM = 0.6  # of the time, on 2 idle cores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--epochs", type=float, default=6, help="of 87 images each (%(default)g)")
    parser.add_argument("--rounds", type=int, default=1, help="of both ways (%(default)s)")
    parser.add_argument("--scratch", type=Path, help="folder for the files (default: the system's)")
    arguments = parser.parse_args()
    if not (RAW / "met").is_dir():
        raise UserError("the sample is not there: `make sample`")
    scratch = Path(arguments.scratch or tempfile.gettempdir())
    require_space(scratch, 4_000_000_000, "the benchmark's runs")
    with tempfile.TemporaryDirectory(prefix="bench-grid-", dir=scratch) as folder:
        project = copy_project(Path(folder) / "project", find_engine())
        (project.path / "bench.toml").write_text(
            '[[runs]]\ntasks = ["met_nationality"]\ninits = ["scratch"]\nseeds = [1, 2]\n'
            f"settings = {{epochs = {arguments.epochs:g}, batch = 32, lr = 1e-3}}\n"
        )
        done = project.make("lmdb", "TASK=met_nationality", "INIT=scratch", f"RAW={RAW.absolute()}")
        if done.returncode:
            raise UserError(f"the sample's LMDBs can't be made: {done.stderr.splitlines()[-1]}")
        times: dict[int, list[float]] = {2: [], 1: []}
        peaks: dict[int, float] = {}
        for _ in range(arguments.rounds):
            for side_by_side in times:
                seconds, peak = _grid(project, side_by_side)
                times[side_by_side].append(seconds)
                peaks[side_by_side] = max(peak, peaks.get(side_by_side, 0))
    together, apart = min(times[2]), min(times[1])
    load = os.getloadavg()[0]
    print(
        f"2 trainings of {arguments.epochs:g} epochs, {usable_cores()} cores, {platform.machine()}"
    )
    print(f"  side by side         {together:6.1f} s, peak memory {readable(peaks[2])}")
    print(f"  one after the other  {apart:6.1f} s, peak memory {readable(peaks[1])}")
    print(f"  ratio                {together / apart:6.2f}   (aim on 2 idle cores: {AIM})")
    print(f"  memory counted on for a run: {readable(training_memory(Settings(batch=32)))}")
    print(f"  load of the machine over this minute: {load:.1f}")


def _grid(project: SmallProject, side_by_side: int) -> tuple[float, float]:
    """Seconds of the grid from nothing, and the peak of the memory of all its processes."""
    shutil.rmtree(project.path / "experiments" / "runs", ignore_errors=True)
    words = ["--grid", "bench.toml", "--gpu", "none", "--side-by-side", str(side_by_side)]
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.grid", *words, "--raw", str(RAW.absolute())],
        cwd=project.path,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while process.poll() is None:
        peak = max(peak, _memory(project.path))
        time.sleep(0.5)
    seconds = time.monotonic() - began
    assert process.stdout is not None
    if process.returncode:
        raise UserError(f"the grid failed: {process.stdout.read().decode(errors='replace')[-500:]}")
    return seconds, peak


def _memory(folder: Path) -> float:
    """Bytes of all processes that work in a folder; what they share counts once (PSS)."""
    total = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").readlink() != folder:
                continue
            for line in process.joinpath("smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue  # it has just ended
    return total


if __name__ == "__main__":
    run(main)
