"""What driving Caffe from our worker costs: images a second against `caffe train`, the same files.

    python -m bench.overhead            about 3 minutes on 2 cores
    python -m bench.overhead --quick    about 1 minute

Both train CaffeNet on the sample's LMDB by the same solver, without validation and snapshots, in
turn, in one run. Only whole iterations in the middle are measured, so that starting is not. The
ratio of two neighbours counts, not a rate: the machine may have other work. The processor's time
is shown beside it, which other work disturbs less.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from base.cli import run
from base.errors import UserError
from datasets.build import lmdb_record
from datasets.folders import data_folder
from datasets.imagelist import read_classes
from engines.client import Engine, Event, find_engine
from prototxt.render import Run, render
from prototxt.settings import Settings

TASK = "met_nationality"
BATCH = 32
AIM = 0.02  # at most so much slower
_DISPLAYED = re.compile(r"\] Iteration (\d+) \(.*loss")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and iterations")
    parser.add_argument("--threads", type=int, help="BLAS threads of both (default: one a core)")
    args = parser.parse_args()
    rounds, iterations = (3, 6) if args.quick else (6, 8)
    engine = find_engine(args.threads)
    program = engine.python.parent / "caffe"
    if not program.exists():
        raise UserError(
            f"there is no {program}: `caffe train` is what the worker is measured against"
        )
    about = engine.call("about", {"gpu": None})
    print(
        f"Caffe {about['caffe']}, {about['blas_kernel'] or about['blas']} kernel, "
        f"{about['threads']} threads, {os.cpu_count()} cores, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f}; {rounds} rounds of {iterations} x {BATCH} images",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="overhead.") as name:
        folder = Path(name)
        solver = write_solver(folder, iterations + 2)
        pairs = []
        for number in range(rounds):
            # Now one first, now the other, so that a machine that becomes busy favours neither.
            turns = [caffe_train, worker_train] if number % 2 else [worker_train, caffe_train]
            took = {turn: turn(engine, solver, iterations) for turn in turns}
            caffe, worker = took[caffe_train], took[worker_train]
            pairs.append((caffe, worker))
            print(
                f"caffe train {caffe.rate:5.2f} images/s, worker {worker.rate:5.2f}: "
                f"ratio {worker.rate / caffe.rate:.3f}; "
                f"processor {caffe.cpu:.2f} and {worker.cpu:.2f} s: {worker.cpu / caffe.cpu:.3f}",
                flush=True,
            )
    ratio = statistics.median(worker.rate / caffe.rate for caffe, worker in pairs)
    cpu = statistics.median(worker.cpu / caffe.cpu for caffe, worker in pairs)
    verdict = "within" if ratio >= 1 - AIM else "NOT within"
    print(
        f"median ratio of images/s, worker to caffe train: {ratio:.3f} ({verdict} the aim of "
        f"{1 - AIM:.2f}); median ratio of processor time: {cpu:.3f}"
    )


@dataclass(frozen=True)
class Took:
    """What the measured iterations of one training took."""

    images: int
    wall: float  # seconds
    cpu: float  # seconds of all threads

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.wall


def write_solver(folder: Path, max_iter: int) -> Path:
    """CaffeNet on the sample as make writes it, but no validation, no snapshot, all displayed."""
    data = data_folder(TASK)
    record = lmdb_record(data)
    if not record:
        raise UserError(f"the sample's LMDBs are not there: make lmdb TASK={TASK} INIT=scratch")
    images = record["images"]
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


def caffe_train(engine: Engine, solver: Path, iterations: int) -> Took:
    """`caffe train`, from the end of its second iteration to that of its last."""
    command = [str(engine.python.parent / "caffe"), "train", "-solver", str(solver)]
    marks = {}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=engine.environment()
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if found := _DISPLAYED.search(line):
                marks[int(found[1])] = (time.monotonic(), _cpu(process.pid))
    if process.returncode:
        raise UserError(f"caffe train failed with exit code {process.returncode}")
    return _between(marks[1], marks[1 + iterations], iterations)


def worker_train(engine: Engine, solver: Path, iterations: int) -> Took:
    """Our worker, over as many iterations."""
    marks = {}

    def on_event(event: Event) -> None:
        if event["event"] == "iteration":
            marks[event["iteration"]] = (time.monotonic(), _cpu(_child()))

    engine.call(
        "train",
        {
            "solver": str(solver),
            "weights": None,
            "run": str(solver.parent),
            "snapshot_prefix": str(solver.parent / "caffenet"),
            "inputs": "",
            "resume": None,
            "validation_images": 0,
            "validated": -1,
            "best": None,
            "gpu": None,
        },
        on_event=on_event,
    )
    return _between(marks[2], marks[2 + iterations], iterations)


def _between(first: tuple[float, float], last: tuple[float, float], iterations: int) -> Took:
    return Took(iterations * BATCH, last[0] - first[0], last[1] - first[1])


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process so far (Linux)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _child() -> int:
    """The only child of this process."""
    (pid,) = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return int(pid)


if __name__ == "__main__":
    run(main)
