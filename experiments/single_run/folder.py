"""Where the files of a run lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lib.errors import UserError

RUNS = Path("experiments/runs")
PROTOTXTS = Path("prototxt")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training, and what lies in it."""

    path: Path

    @property
    def record(self) -> Path:
        """run.json: all settings, engine, hashes, times."""
        return self.path / "run.json"

    @property
    def train_val(self) -> Path:
        """The very net that ran."""
        return self.path / "train_val.prototxt"

    @property
    def deploy(self) -> Path:
        """The net for single images that belongs to the weights."""
        return self.path / "deploy.prototxt"

    @property
    def solver(self) -> Path:
        """The very solver that ran."""
        return self.path / "solver.prototxt"

    @property
    def log(self) -> Path:
        """Caffe's own log of the training."""
        return self.path / "caffe.log"

    @property
    def curve(self) -> Path:
        """Loss, learning rate, validation accuracy over the iterations."""
        return self.path / "curve.csv"

    @property
    def snapshots(self) -> Path:
        """Caffe's snapshots, each with a marker that says that it is whole."""
        return self.path / "snapshots"

    @property
    def final(self) -> Path:
        """The weights after the last iteration: those that are tested."""
        return self.path / "final.caffemodel"

    @property
    def best(self) -> Path:
        """The weights with the best validation accuracy."""
        return self.path / "best.caffemodel"

    @property
    def results(self) -> Path:
        """results.json: the test metrics."""
        return self.path / "results.json"


def run_folder(task: str, name: str) -> RunFolder:
    """The folder of a run of a task."""
    return RunFolder(RUNS / task / name)


def prototxt_folder(task: str, name: str) -> Path:
    """Where the prototxts of a run are made, and may be edited by hand."""
    return PROTOTXTS / task / name


def check_run_name(name: str) -> None:
    """Raise UserError unless `name` can be a folder and a word in make and prototxt."""
    if not _NAME.fullmatch(name):
        raise UserError(f"RUN={name}: a run's name is letters, digits and . _ + - only")
