"""Two trainings side by side against the same two one after the other, CaffeNet on the sample.

    python -m tools.bench.grid            about 5 minutes on 2 idle cores

All ways are `make grid`: side by side with one BLAS thread each, as it chooses itself on 2 cores;
one after the other with one thread each; and one after the other with a thread for each core. They
are taken in turn within one call, in a copy of the project, from scratch each time; the ratios of
the times count.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.grid.machine import training_memory
from lib.caffe.client import find_engine
from lib.cli import Parser, positive, run
from lib.errors import UserError
from lib.files import readable, require_space
from lib.machine import usable_cores
from prototxt.settings import Settings
from tests.small_project import SmallProject, copy_project

RAW = Path("datasets/raw")
AIM = 0.6  # of the time, on 2 idle cores
_WAYS = {
    "side by side": ("--side-by-side", "2"),
    "one after the other": ("--side-by-side", "1", "--threads", "1"),
    "one after the other, a thread a core": ("--side-by-side", "1"),
}


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=float, default=6, help="of 87 images each (%(default)g)")
    parser.add_argument(
        "--batch", type=positive, default=256, help="images an update (%(default)s)"
    )
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
            f"settings = {{epochs = {arguments.epochs:g}, batch = {arguments.batch}, lr = 1e-3}}\n"
        )
        done = project.make("lmdb", "TASK=met_nationality", "INIT=scratch", f"RAW={RAW.absolute()}")
        if done.returncode:
            raise UserError(f"the sample's LMDBs can't be made: {done.stderr.splitlines()[-1]}")
        times: dict[str, list[float]] = {way: [] for way in _WAYS}
        peaks = dict.fromkeys(_WAYS, 0.0)
        for _ in range(arguments.rounds):
            for way, words in _WAYS.items():
                seconds, peak = _grid(project, words)
                times[way].append(seconds)
                peaks[way] = max(peak, peaks[way])
    print(
        f"2 trainings of {arguments.epochs:g} epochs, batch {arguments.batch}, "
        f"{usable_cores()} cores, {platform.machine()}"
    )
    together, apart, threaded = (min(times[way]) for way in _WAYS)
    for way in _WAYS:
        print(f"  {way:<42} {min(times[way]):6.1f} s, peak memory {readable(peaks[way])}")
    print(
        f"  side by side / one after the other: {together / apart:.2f} (aim on 2 idle cores: {AIM})"
    )
    print(f"  side by side / one after the other, a thread a core: {together / threaded:.2f}")
    settings = Settings(batch=arguments.batch)
    print(f"  memory counted on for a run: {readable(training_memory(settings))}")
    print(f"  load of the machine over this minute: {os.getloadavg()[0]:.1f}")


def _grid(project: SmallProject, words: Sequence[str]) -> tuple[float, float]:
    """Seconds of the grid from nothing, and the peak of the memory of all its processes."""
    shutil.rmtree(project.path / "experiments" / "runs", ignore_errors=True)
    began, peak = time.monotonic(), 0.0
    command = [
        sys.executable,
        "-m",
        "tools.grid",
        "--grid",
        "bench.toml",
        "--gpu",
        "none",
    ]
    process = subprocess.Popen(
        [*command, *words, "--raw", str(RAW.absolute())],
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
