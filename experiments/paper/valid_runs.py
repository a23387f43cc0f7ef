"""All run records, read fast, and only those that are valid.

A record that is broken, half-written or foreign, or that contradicts itself, its folder or its
results, is named with the reason and left out. Nothing of it gets into a table.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from experiments.single_run import json_records
from experiments.single_run.backups import is_backup
from experiments.single_run.edits import Edits, find_edits
from experiments.single_run.folder import RUNS, RunFolder
from experiments.single_run.plan import RunPlan, without_seed
from experiments.single_run.results_json import Results, read_results
from experiments.single_run.run_json import TRAINED, RunRecord, read_run_record
from experiments.single_run.start import SCRATCH
from lib.errors import UserError
from lib.files import sha256
from prototxt.caffenet import COPIED_LAYERS, SCENARIOS


@dataclass(frozen=True)
class RecordedRun:
    """One run whose record is valid."""

    folder: RunFolder
    state: str
    plan: RunPlan  # what it is: task, init, scenario, settings, split
    record: RunRecord
    edits: Edits  # by hand, in its prototxts
    results: Results | None = None  # None: not tested

    @property
    def task(self) -> str:
        """The task it learnt."""
        return self.plan.task

    @property
    def name(self) -> str:
        """Its name: the folder's."""
        return self.folder.path.name

    @property
    def images(self) -> int:
        """Test images; only for a tested run."""
        return self._results.images

    @property
    def right(self) -> int:
        """Test images classified rightly; only for a tested run."""
        return self._results.right

    @property
    def accuracy(self) -> float:
        """Test accuracy, top-1; only for a tested run."""
        return self._results.top1

    @property
    def best_validation(self) -> float | None:
        """Its best accuracy on the validation images, if there were any."""
        return self.record.best.val_accuracy if self.record.best else None

    @property
    def experiment(self) -> tuple[object, ...]:
        """What tells apart two experiments: all but the name and where it was computed."""
        return (*self.but_seed, self.plan.settings.seed)

    @property
    def but_seed(self) -> tuple[object, ...]:
        """The same for all seeds of one experiment, on one split."""
        plan = self.plan
        settings, edited = without_seed(plan.settings), self.edits.contents
        return (plan.task, plan.init, plan.scenario, settings, plan.split, plan.split_seed, edited)

    @property
    def test_list(self) -> str | None:
        """The SHA-256 of the list of its test images."""
        return self.record.inputs.get("test")

    @property
    def make_line(self) -> str:
        """The make line that makes this run again."""
        return self.plan.make_line

    @property
    def _results(self) -> Results:
        if self.results is None:
            raise ValueError(f"{self.folder.path} is not tested")
        return self.results


@dataclass(frozen=True)
class InvalidRecord:
    """A record that is left out, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: left out: {self.why}"


@dataclass(frozen=True)
class Records:
    """What lies in experiments/runs/."""

    runs: tuple[RecordedRun, ...]  # in the order of task and name
    invalid: tuple[InvalidRecord, ...]

    @cached_property
    def tested(self) -> tuple[RecordedRun, ...]:
        """The runs with test results."""
        return tuple(run for run in self.runs if run.results is not None)

    def find(self, task: str, name: str) -> RecordedRun | None:
        """The run of this task and name."""
        return next((run for run in self.runs if (run.task, run.name) == (task, name)), None)


class _Invalid(UserError):
    """Says why a record is left out."""


def _why(error: UserError) -> str:
    return error.why if isinstance(error, json_records.InvalidRecord) else str(error)


def read_runs(root: Path = RUNS) -> Records:
    """Every run under `root`, which holds <task>/<run>/ folders, and every invalid record."""
    runs, invalid = [], []
    for path in _folders(root):
        folder = RunFolder(path)
        try:
            run = _read(folder)
        except UserError as error:
            invalid.append(InvalidRecord(folder.record, _why(error)))
            continue
        try:
            run = replace(run, results=_read_results(run))
        except UserError as error:
            invalid.append(InvalidRecord(folder.results, _why(error)))
        runs.append(run)
    kept, duplicates = _drop_duplicates(runs)
    kept, on_other_lists = _drop_other_test_lists(kept)
    return Records(tuple(kept), (*invalid, *duplicates, *on_other_lists))


def _folders(root: Path) -> Iterator[Path]:
    """The folders of runs, without those moved aside and those where nothing has begun."""
    for task in sorted(_visible_folders(root)):
        for path in sorted(_visible_folders(task)):
            if not is_backup(path) and any(
                (path / name).exists() for name in ("run.json", "results.json", "curve.csv")
            ):
                yield path


def _visible_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [each for each in path.iterdir() if not each.name.startswith(".") and each.is_dir()]


def _read(folder: RunFolder) -> RecordedRun:
    record = read_run_record(folder.record)
    if record is None:
        raise _Invalid("its run.json is missing")
    path = folder.path
    if (record.task, record.run) != (path.parent.name, path.name):
        raise _Invalid(f"it says that it is {record.task}/{record.run}: copied or moved here?")
    _check_layers(record)
    return RecordedRun(folder, record.state, record.plan, record, find_edits(folder, record))


def _check_layers(record: RunRecord) -> None:
    """What really was frozen and copied is what the scenario and the init say.

    Only CaffeNet's layers are known here; a run of another net was checked while it was trained.
    """
    if record.layers is None or not {each.name for each in record.layers} >= set(COPIED_LAYERS):
        return
    frozen = {each.name for each in record.layers if each.frozen}
    copied = {each.name for each in record.layers if each.transferred}
    if frozen != set(SCENARIOS[record.scenario]):
        found = ", ".join(sorted(frozen)) or "-"
        raise _Invalid(f"scenario {record.scenario}, but what was frozen is: {found}")
    lost = set() if record.init == SCRATCH else set(COPIED_LAYERS) - copied
    if lost:
        raise _Invalid(f"init {record.init}, but not copied were {', '.join(sorted(lost))}")


def _read_results(run: RecordedRun) -> Results | None:
    results = read_results(run.folder.results)
    if results is None:
        return None
    if run.state != TRAINED:
        raise _Invalid(f"test results of a run that is {run.state}, not trained")
    if results.tested.list != run.record.inputs.get("test"):
        raise _Invalid("tested on another test list than the one of its training")
    if run.record.final is not None and results.tested.weights != run.record.final:
        raise _Invalid("tested with other weights than those that its training gave")
    return results


def _drop_other_test_lists(
    runs: list[RecordedRun],
) -> tuple[list[RecordedRun], list[InvalidRecord]]:
    """Of the seeds of one experiment, those count that were tested on the newest one's test list.

    A split has one list; where it was made anew since, old and new accuracies have no mean.
    """
    groups: dict[tuple[object, ...], list[RecordedRun]] = {}
    for run in runs:
        if run.results is not None:
            groups.setdefault(run.but_seed, []).append(run)
    dropped: dict[Path, InvalidRecord] = {}
    for seeds in groups.values():
        if len({run.test_list for run in seeds}) == 1:
            continue
        newest = max(seeds, key=_order)
        for run in seeds:
            if run.test_list != newest.test_list:
                why = f"tested on another test list than {newest.name}, which is newer"
                dropped[run.folder.path] = InvalidRecord(run.folder.results, why)
    return _without_results(runs, dropped), list(dropped.values())


def _order(run: RecordedRun) -> tuple[bool, int, str]:
    """Later for a newer run: on today's test list, then by its number, which no clock counts.

    Records written before runs were numbered have their time alone.
    """
    list_of_today = run.plan.data.list("test")
    is_of_today = list_of_today.is_file() and sha256(list_of_today) == run.test_list
    return (is_of_today, run.record.number, run.record.finished or "")


def _without_results(runs: list[RecordedRun], dropped: Container[Path]) -> list[RecordedRun]:
    return [replace(run, results=None) if run.folder.path in dropped else run for run in runs]


def _drop_duplicates(runs: list[RecordedRun]) -> tuple[list[RecordedRun], list[InvalidRecord]]:
    """Of runs of one and the same experiment, seed and all, only one counts.

    The one with the standard name; where none has it, one of them, if all say the same.
    """
    groups: dict[tuple[object, ...], list[RecordedRun]] = {}
    for run in runs:
        if run.results is not None:
            groups.setdefault(run.experiment, []).append(run)
    dropped: dict[Path, InvalidRecord] = {}
    for same in groups.values():
        if len(same) == 1:
            continue
        standard = [run for run in same if run.plan.has_standard_name]
        agree = len({run.right for run in same}) == 1
        kept = standard[0] if standard else same[0] if agree else None
        for run in same:
            if run is kept:
                continue
            others = ", ".join(each.name for each in same if each is not run)
            why = f"the same experiment, with the same seed, as {others}"
            why += f"; {kept.name} is counted" if kept else ", and they don't agree"
            dropped[run.folder.path] = InvalidRecord(run.folder.results, why)
    return _without_results(runs, dropped), list(dropped.values())
