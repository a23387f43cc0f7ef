"""What runs cost: images to go through, time at the speeds that were measured, disk space."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from datasets.build import space_needed
from datasets.folders import PARTS
from datasets.records import read_lists_record, read_lmdb_record
from datasets.tasks import load_tasks
from experiments.paper.valid_runs import Records
from experiments.single_run import run_json as states
from experiments.single_run.plan import RunPlan
from lib.errors import UserError

_TRAIN_SHARE = 0.7  # of a task's images (paper, section 4)
_WEIGHTS = 250_000_000  # bytes of CaffeNet's weights, and of a snapshot's second file
_SNAPSHOTS = 2  # that a training keeps on its way
_ALL_SNAPSHOTS = 10  # that it takes altogether, as prototxt.iterations spaces them


@dataclass(frozen=True)
class Speeds:
    """Images/s in training, validations included: medians of what the records say."""

    by_scenario: Mapping[str, float]

    def of(self, run: RunPlan) -> float | None:
        """The speed to expect of a run; of all scenarios where its own is not measured yet."""
        known = self.by_scenario.get(run.scenario)
        return known or (median(self.by_scenario.values()) if self.by_scenario else None)


def measured(records: Records) -> Speeds:
    """The speeds of all trainings whose records are valid."""
    found: dict[str, list[float]] = {}
    for run in records.runs:
        iteration, batch, seconds = run.record.iteration, run.record.batch, run.record.seconds
        if run.state == states.TRAINED and iteration and batch and seconds:
            found.setdefault(run.plan.scenario, []).append(iteration * batch / seconds)
    return Speeds({scenario: median(speeds) for scenario, speeds in found.items()})


def train_images(run: RunPlan) -> int | None:
    """Images in the train list of a run; by Table 1 where there is none yet; None if unknown."""
    counts = _counts(run)
    if counts:
        return counts["train"]
    task = load_tasks().get(run.task)
    return round(_TRAIN_SHARE * task.paper_images) if task and task.paper_images else None


def work(run: RunPlan) -> float | None:
    """Images that a training goes through: those of the list, each as often as it has epochs."""
    images = train_images(run)
    return images * run.settings.epochs if images else None


def hours_left(remaining: Sequence[tuple[float, float | None]], side_by_side: int) -> float | None:
    """Hours until (images, images/s) are done, taken in their order, so many at a time.

    None where a speed is not known.
    """
    places = [0.0] * max(1, side_by_side)
    for images, speed in remaining:
        if not speed:
            return None
        heapq.heappush(places, heapq.heappop(places) + images / speed)
    return max(places) / 3600


def space(runs: Iterable[RunPlan], side_by_side: int, *, keep_all: bool = False) -> int:
    """Bytes that runs not done yet will take at most: weights, snapshots, LMDBs not built yet."""
    todo = list(runs)
    kept = 2 + (2 * _ALL_SNAPSHOTS if keep_all else 0)
    weights = len(todo) * kept * _WEIGHTS
    on_the_way = 0 if keep_all else min(len(todo), side_by_side) * 2 * _SNAPSHOTS * _WEIGHTS
    folders = {run.data.path: run for run in todo if not run.data.lmdb_record.exists()}
    lmdbs = sum(space_needed(_all_images(run) or 0) for run in folders.values())
    return weights + on_the_way + lmdbs


def _all_images(run: RunPlan) -> int | None:
    counts = _counts(run)
    if counts:
        return sum(counts[part] for part in PARTS)
    task = load_tasks().get(run.task)
    return task.paper_images if task else None


def _counts(run: RunPlan) -> dict[str, int] | None:
    """Images a part, as the LMDBs hold them or the lists will have them."""
    with contextlib.suppress(UserError):
        return read_lmdb_record(run.data).images
    with contextlib.suppress(UserError):
        counts = read_lists_record(run.data).counts
        return counts if set(counts) >= set(PARTS) else None
    return None


def in_words(hours: float | None) -> str:
    """A time as people say it: '40 s', '3 min', '5.2 h', '12 days'."""
    if hours is None:
        return "unknown: nothing measured yet"
    if hours < 1:
        return f"{hours * 60:.0f} min" if hours > 1 / 30 else f"{hours * 3600:.0f} s"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
