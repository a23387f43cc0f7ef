"""What driving Caffe from our worker costs: images a second against `caffe train`, the same files.

    python -m tools.bench.overhead            about 4 minutes on 2 cores
    python -m tools.bench.overhead --quick    about 2 minutes

Both train CaffeNet on the sample's LMDB by the same solver, without validation and snapshots. Both
are started, and then each computes one iteration in turn while the other is stopped (SIGSTOP), so
that starting is not measured and other work on the machine hits both alike. The median of the
pairs' ratios counts, not a rate.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from datasets.build import lmdb_record
from datasets.folders import data_folder
from datasets.imagelist import read_classes
from lib.caffe.client import Engine, find_engine
from lib.caffe.process import WORKER
from lib.cli import Parser, bar, run
from lib.errors import UserError
from lib.machine import usable_cores
from prototxt.caffenet import IMAGE_SIZE
from prototxt.render import Run, render
from prototxt.settings import Settings

TASK = "met_nationality"
BATCH = 32
AIM = 0.02  # at most so much slower
WARM_UP = 3  # iterations that are not measured


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer iterations")
    parser.add_argument("--threads", type=int, help="BLAS threads of both (default: one a core)")
    args = parser.parse_args()
    pairs = 30 if args.quick else 60
    engine = find_engine(args.threads)
    program = engine.python.parent / "caffe"
    if not program.exists():
        raise UserError(
            f"there is no {program}: `caffe train` is what the worker is measured against"
        )
    about = engine.call("about", {"gpu": None})
    print(
        f"Caffe {about['caffe']}, {about['blas_kernel'] or about['blas']} kernel, "
        f"{about['threads']} threads, {usable_cores()} cores, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f}; {pairs} pairs of iterations of {BATCH} images",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="overhead.") as name, ExitStack() as stack:
        solver = write_solver(Path(name), pairs + 10)
        caffe = stack.enter_context(started(caffe_train(engine, solver)))
        worker = stack.enter_context(started(worker_train(engine, solver)))
        took: list[tuple[Took, Took]] = []
        with bar(what="pairs", unit="pair", total=pairs) as progress:
            while len(took) < pairs:
                if len(took) % 2:
                    first, second = caffe.step(), worker.step()
                else:
                    second, first = worker.step(), caffe.step()
                took.append((first, second))
                progress.update()
    for what, which in (("caffe train", 0), ("worker", 1)):
        wall = statistics.median(pair[which].wall for pair in took)
        print(f"{what:<12} {BATCH / wall:6.2f} images/s (median of its iterations)")
    ratios = sorted(caffe.wall / worker.wall for caffe, worker in took)
    low, ratio, high = statistics.quantiles(ratios, n=4)
    cpu = statistics.median(worker.cpu / caffe.cpu for caffe, worker in took)
    # The median of so many ratios is itself uncertain: 1.57 x the quartiles' distance / sqrt(n) is
    # about its 95 % interval (McGill, Tukey and Larsen, 1978).
    give_or_take = 1.57 * (high - low) / len(ratios) ** 0.5
    verdict = "too uncertain, on a machine this busy, to tell about"
    if ratio - give_or_take >= 1 - AIM:
        verdict = "within"
    elif ratio + give_or_take < 1 - AIM:
        verdict = "NOT within"
    print(
        f"images/s, worker to caffe train: median ratio {ratio:.3f} +- {give_or_take:.3f}, "
        f"{verdict} the aim of {1 - AIM:.2f}; processor time: {cpu:.3f}"
    )


@dataclass(frozen=True)
class Took:
    """What one iteration took."""

    wall: float  # seconds
    cpu: float  # seconds of all threads


class Trainer:
    """A training process that computes an iteration at a time."""

    def __init__(self, process: subprocess.Popen[str], lines: IO[str], mark: str) -> None:
        self._process = process
        self._lines = lines
        self._mark = re.compile(mark)

    def step(self) -> Took:
        """Let it go on until it reports its next iteration, then stop it."""
        cpu, wall = _cpu(self._process.pid), time.monotonic()
        self._process.send_signal(signal.SIGCONT)
        self._wait()
        self._process.send_signal(signal.SIGSTOP)
        wall = time.monotonic() - wall
        return Took(wall, _cpu(self._process.pid) - cpu)

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        for line in self._lines:
            if self._mark.search(line):
                return
        raise UserError("a training that is measured ended too early")


@contextmanager
def started(trainer: Trainer) -> Iterator[Trainer]:
    """The trainer, past its first iterations; killed with the block."""
    try:
        for _ in range(WARM_UP):
            trainer.step()
        yield trainer
    finally:
        trainer.kill()


def write_solver(folder: Path, max_iter: int) -> Path:
    """CaffeNet on the sample as make writes it, but no validation, no snapshot, all displayed."""
    data = data_folder(TASK)
    record = lmdb_record(data)
    if not record:
        raise UserError(f"the sample's LMDBs are not there: make lmdb TASK={TASK} INIT=scratch")
    images = record.images
    wanted = Run(
        task=TASK,
        classes=len(read_classes(data.classes)),
        train=images["train"],
        val=images["val"],
        train_lmdb=str(data.lmdb("train").absolute()),
        val_lmdb=str(data.lmdb("val").absolute()),
        mean=str(data.mean.absolute()),
        net=str(folder / "train_val.prototxt"),
        snapshot_prefix=str(folder / "caffenet"),
        settings=Settings(batch=BATCH),
    )
    texts = render(wanted)
    left_out = r"^(max_iter|test_iter|test_interval|display|snapshot):.*\n"
    solver = re.sub(left_out, "", texts["solver.prototxt"], flags=re.MULTILINE)
    solver += f"max_iter: {max_iter}\ndisplay: 1\nsnapshot_after_train: false\n"
    texts = {**texts, "solver.prototxt": solver}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder / "solver.prototxt"


def caffe_train(engine: Engine, solver: Path) -> Trainer:
    """`caffe train`; Caffe displays each iteration in its log."""
    process = subprocess.Popen(
        [str(engine.python.parent / "caffe"), "train", "-solver", str(solver)],
        stderr=subprocess.PIPE,
        text=True,
        env=engine.environment(),
    )
    assert process.stderr
    return Trainer(process, process.stderr, r"\] Iteration \d+ \(.*loss")


def worker_train(engine: Engine, solver: Path) -> Trainer:
    """Our worker, as lib.caffe.client starts it; it reports each iteration as an event."""
    classes = data_folder(TASK).classes
    request = {
        "solver": str(solver),
        "deploy": str(solver.with_name("deploy.prototxt")),
        "classes": [len(read_classes(classes)), str(classes)],
        "validation": str(data_folder(TASK).lmdb("val")),
        "image_size": IMAGE_SIZE,
        "weights": None,
        "run": str(solver.parent),
        "snapshot_prefix": str(solver.parent / "caffenet"),
        "unfinished": str(solver.parent / ".caffenet.part"),
        "inputs": "",
        "id": "",
        "resume": None,
        "validated": -1,
        "best": None,
        "gpu": None,
    }
    process = subprocess.Popen(
        [str(engine.python), str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=engine.environment(),
    )
    assert process.stdin
    assert process.stdout
    with process.stdin as stdin:
        json.dump({"verb": "train", "request": request}, stdin)
    return Trainer(process, process.stdout, '"event": "iteration"')


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process so far (Linux)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run(main)
