"""run.json: what a run is, what it was made from, and how far it came. Its schema."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from datasets.folders import SPLITS
from experiments.single_run.json_records import (
    Count,
    Number,
    RecordKind,
    Seconds,
    Share,
    read_record,
    write_record,
)
from experiments.single_run.old_records import upgrade_run_record
from experiments.single_run.plan import RunPlan, standard_name
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings

# The states of a run.
TRAINING: Final = "training"
INTERRUPTED: Final = "interrupted"
FAILED: Final = "failed"
TRAINED: Final = "trained"
State = Literal["training", "interrupted", "failed", "trained"]


class Session(msgspec.Struct, kw_only=True):
    """One call of `make train`: when and where it began, and on which engine."""

    began: str = ""
    resumed_from: str | None = None  # a .solverstate
    resumed_from_caffe_train: bool = False
    host: str | None = None
    engine: dict[str, Any] = msgspec.field(
        default_factory=dict
    )  # what the engine says of itself: caffe, blas, threads, ...
    gpu: int | None = None
    git_commit: str | None = None


class Layer(msgspec.Struct, kw_only=True):
    """One layer with weights: what it began with, and what became of it."""

    name: str
    frozen: bool
    transferred: bool  # copied from the starting weights
    shapes: list[list[int]] = msgspec.field(default_factory=list)
    before: str | None = None  # SHA-256 of its weights
    after: str | None = None
    changed: bool | None = None


class Best(msgspec.Struct):
    """The best validation of a training."""

    iteration: Count
    val_accuracy: Share


class RunRecord(RecordKind, kw_only=True):
    """A run's record."""

    WHAT = "a run's record"

    state: State
    reason: str | None = None  # why it is not trained
    # What it is.
    task: str
    run: str
    own_name: bool | None = None  # by the user (RUN=); None: written before records said so
    init: str
    scenario: str
    split: str
    split_seed: int
    settings: dict[str, Number | str]
    # Prototxts edited by hand, and the SHA-256 of what they say beside comments, seeds and places;
    # None: written before records said so.
    edits: dict[str, str] | None = None
    # What it was made from.
    weights: str | None = None
    mean: str = ""
    # Weights and mean that came over plain http without a checksum to compare with; None: written
    # before records said so.
    unverified: list[str] | None = None
    data: str  # folder of the lists and LMDBs
    inputs: dict[str, str]  # SHA-256 of each file that decides its weights
    # How it went.
    id: str | None = None  # tells its snapshots from those of others
    number: Count = 0  # the how many-th training this was, from 1 (once counted for each task)
    started: str = ""
    sessions: list[Session] = msgspec.field(default_factory=list)
    iteration: Count = 0
    max_iter: Count | None = None
    batch: Count | None = None
    seconds: Seconds = 0.0
    layers: list[Layer] | None = None
    best: Best | None = None
    final: str | None = None  # SHA-256 of final.caffemodel
    finished: str | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise ValueError(f"unknown scenario {self.scenario!r}")
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}")
        if Path(self.data).name != self.plan.data.path.name:
            raise ValueError(f"it says {self.plan.data.path.name}, but learnt from {self.data}")
        if self.own_name is False and self.run != standard_name(self.plan):
            raise ValueError(
                f"its settings are those of {standard_name(self.plan)}, not what its name says"
            )
        # Without validation ("best") the iteration is that of the last line of the log.
        if self.state == TRAINED and (
            self.max_iter is None or (self.best and self.iteration < self.max_iter)
        ):
            raise ValueError(
                f"it says trained, but came to iteration {self.iteration} of {self.max_iter}"
            )

    @property
    def plan(self) -> RunPlan:
        """What was to be trained. Raises UserError for settings that make no sense."""
        plan = RunPlan(
            task=self.task,
            init=self.init,
            scenario=self.scenario,
            settings=Settings.of_record(self.settings),
            split=self.split,
            split_seed=self.split_seed,
        )
        return plan if self.run == standard_name(plan) else plan.named(self.run)

    @property
    def host(self) -> str | None:
        """The machine that it was last trained on."""
        return self.sessions[-1].host if self.sessions else None


def now() -> str:
    """The time, as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_run_record(path: Path) -> RunRecord | None:
    """The record at `path`, or None when there is none.

    Raises InvalidRecord (one line; `why` without the path) for a broken or foreign one.
    """
    return read_record(path, RunRecord, upgrade=upgrade_run_record)


def write_run_record(path: Path, record: RunRecord) -> None:
    """Write the record, whole or not at all."""
    write_record(path, record)
