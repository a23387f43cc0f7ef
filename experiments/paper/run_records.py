"""All run records, read fast, and only those that can be believed.

A record that is broken, half-written or foreign, or that contradicts itself, its folder or its
results, is named with the reason and left out. Nothing of it gets into a table.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets.folders import SPLITS
from experiments.single_run.plan import RunPlan, without_seed
from experiments.paper.edits import Edits, find_edits
from experiments.single_run import record as states
from experiments.single_run.backups import is_aside
from experiments.single_run.folder import RUNS, RunFolder, run_name
from experiments.single_run.start import SCRATCH
from lib.errors import UserError
from models.cards import init_names
from prototxt.caffenet import COPIED_LAYERS, SCENARIOS
from prototxt.settings import Settings

_STATES = (states.TRAINING, states.INTERRUPTED, states.FAILED, states.TRAINED)
_DATA_SUFFIX = re.compile(rf"(?:-(?P<split>{'|'.join(SPLITS)}))?(?:-seed(?P<seed>\d+))?")
_SHARES = ("top1", "top5", "macro_f1", "weighted_f1", "majority")


@dataclass(frozen=True)
class Run:
    """One run whose record can be believed."""

    folder: RunFolder
    state: str
    plan: RunPlan  # what it is: task, init, scenario, settings, split
    record: dict[str, Any]
    edits: Edits  # by hand, in its prototxts
    results: dict[str, Any] | None = None  # None: not tested

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
        return int(self._results["images"])

    @property
    def right(self) -> int:
        """Test images classified rightly; only for a tested run."""
        return round(self._results["top1"] * self.images)

    @property
    def accuracy(self) -> float:
        """Test accuracy, top-1; only for a tested run."""
        return float(self._results["top1"])

    @property
    def best_validation(self) -> float | None:
        """Its best accuracy on the validation images, if there were any."""
        best = self.record.get("best")
        return float(best["val_accuracy"]) if best else None

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
        return self.record["inputs"].get("test")

    @property
    def make_line(self) -> str:
        """The make line that makes this run again."""
        line = self.plan.make_line
        return line if self.name == self.plan.name else f"{line} RUN={self.name}"

    @property
    def _results(self) -> dict[str, Any]:
        if self.results is None:
            raise ValueError(f"{self.folder.path} is not tested")
        return self.results


@dataclass(frozen=True)
class Fault:
    """A record that is left out, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: left out: {self.why}"


@dataclass(frozen=True)
class Records:
    """What lies in experiments/runs/."""

    runs: tuple[Run, ...]  # in the order of task and name
    faults: tuple[Fault, ...]

    @cached_property
    def tested(self) -> tuple[Run, ...]:
        """The runs with test results."""
        return tuple(run for run in self.runs if run.results is not None)

    def find(self, task: str, name: str) -> Run | None:
        """The run of this task and name."""
        return next((run for run in self.runs if (run.task, run.name) == (task, name)), None)


class _Unbelievable(Exception):
    """Says why a record is left out."""


def read_all(root: Path = RUNS) -> Records:
    """Every run under `root`, which holds <task>/<run>/ folders, and every fault that was met."""
    runs, faults = [], []
    for path in _folders(root):
        folder = RunFolder(path)
        try:
            run = _read(folder)
        except _Unbelievable as why:
            faults.append(Fault(folder.record, str(why)))
            continue
        try:
            run = replace(run, results=_read_results(run))
        except _Unbelievable as why:
            faults.append(Fault(folder.results, str(why)))
        runs.append(run)
    kept, twins = _without_twins(runs)
    kept, strangers = _without_strangers(kept)
    return Records(tuple(kept), (*faults, *twins, *strangers))


def bare_name(word: str, task: str, what: str = "RUN") -> str:
    """The name of a run of `task`, which `word` gives as <run> or <task>/<run>.

    Raises UserError, naming the variable `what`, for a run of another task.
    """
    of, slash, name = word.rpartition("/")
    if slash and not (of == task and name):
        raise UserError(f"{what}={word}: no run of {task}; it is named <run> or {task}/<run>")
    return name


def _folders(root: Path) -> Iterator[Path]:
    """The folders of runs, without those moved aside and those where nothing has begun."""
    for task in sorted(_visible_folders(root)):
        for path in sorted(_visible_folders(task)):
            if not is_aside(path) and any(
                (path / name).exists() for name in ("run.json", "results.json", "curve.csv")
            ):
                yield path


def _visible_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [each for each in path.iterdir() if not each.name.startswith(".") and each.is_dir()]


def _read(folder: RunFolder) -> Run:
    record = _json(folder.record, "its run.json")
    for key, kind in (
        ("state", str),
        ("task", str),
        ("run", str),
        ("init", str),
        ("scenario", str),
        ("settings", dict),
        ("data", str),
        ("inputs", dict),
    ):
        if not isinstance(record.get(key), kind):
            raise _Unbelievable(f"not a run's record: no {key}")
    if record["state"] not in _STATES:
        raise _Unbelievable(f"not a run's record: its state is {record['state']!r}")
    if record["scenario"] not in SCENARIOS:
        raise _Unbelievable(f"unknown scenario {record['scenario']!r}")
    split, split_seed = _split(record)
    plan = RunPlan(
        task=record["task"],
        init=record["init"],
        scenario=record["scenario"],
        settings=_settings(record["settings"]),
        split=split,
        split_seed=split_seed,
    )
    _check_values(record)
    _check_place(folder, record, plan)
    _check_layers(record, plan)
    _check_end(record)
    return Run(folder, record["state"], plan, record, find_edits(folder, record, plan.settings))


def _json(path: Path, what: str) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _Unbelievable(f"{what} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _Unbelievable(f"{what} can't be read, or was cut short ({error})") from None
    if not isinstance(said, dict):
        raise _Unbelievable("not a run's record")
    return said


def _settings(said: dict[str, Any]) -> Settings:
    """The settings; those that a record of older days lacks were the paper's."""
    known = {each.name: each.type for each in fields(Settings)}
    for name, value in said.items():
        if name not in known:
            raise _Unbelievable(f"unknown setting {name!r}: written by another version?")
        if not _is_number(value):
            raise _Unbelievable(f"setting {name} is {value!r}")
    try:
        return Settings(**said)
    except UserError as error:
        raise _Unbelievable(str(error)) from None


def _split(record: dict[str, Any]) -> tuple[str, int]:
    name, task = Path(record["data"]).name, record["task"]
    found = _DATA_SUFFIX.fullmatch(name.removeprefix(task)) if name.startswith(task) else None
    if not found:
        raise _Unbelievable(f"it says task {task}, but learnt from {record['data']}")
    return found["split"] or "by_image", int(found["seed"] or 1)


def _check_values(record: dict[str, Any]) -> None:
    """What tables, pages and forecasts read of a record is of its kind, where it is there."""
    for key in ("iteration", "max_iter", "seconds", "batch"):
        value = record.get(key)
        if value is not None and not (_is_number(value) and value >= 0):
            raise _Unbelievable(f"{key} is {value!r}")
    for key in ("reason", "started", "finished"):
        if not isinstance(record.get(key) or "", str):
            raise _Unbelievable(f"{key} is {record[key]!r}")
    best = record.get("best")
    if best is not None and not (isinstance(best, dict) and _is_share(best.get("val_accuracy"))):
        raise _Unbelievable(f"its best validation is {best!r}")
    sittings = record.get("sittings") or []
    if not isinstance(sittings, list) or not all(
        isinstance(each, dict) and isinstance(each.get("engine") or {}, dict) for each in sittings
    ):
        raise _Unbelievable("not a run's record: its sittings")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e300  # neither NaN nor infinite, nor a whole number beyond any float


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and _is_number(value) and 0 <= value <= 1


def _check_place(folder: RunFolder, record: dict[str, Any], plan: RunPlan) -> None:
    """The record belongs to its folder, and to what the folder's name promises."""
    path = folder.path
    if (record["task"], record["run"]) != (path.parent.name, path.name):
        raise _Unbelievable(
            f"it says that it is {record['task']}/{record['run']}: copied or moved here?"
        )
    if path.name == plan.name:
        return
    promised = _STANDARD_NAME.fullmatch(path.name)
    if promised and (
        (promised["init"], promised["scenario"]) != (plan.init, plan.scenario)
        # A name that is all settings promises those; a name with words of its own does not.
        or (not promised["own"] and path.name != _name(plan))
    ):
        raise _Unbelievable(f"its settings are those of {plan.name}, not what its name says")


def _name(plan: RunPlan) -> str:
    return run_name(plan.init, plan.scenario, plan.settings, plan.name.partition("-data")[2])


_STANDARD_NAME = re.compile(
    rf"(?P<init>{'|'.join(map(re.escape, (*init_names(), SCRATCH)))})"
    rf"-(?P<scenario>{'|'.join(SCENARIOS)})"
    rf"(?:-(?:{'|'.join(each.name for each in fields(Settings))})\d[0-9.]*(?:e[+-]?\d+)?)*"
    r"(?:-data(?:-by_work)?(?:-seed\d+)?)?"
    r"(?P<own>[-._+].*)?"
)


def _check_layers(record: dict[str, Any], plan: RunPlan) -> None:
    """What really was frozen and copied is what the scenario and the init say."""
    layers = record.get("layers")
    if layers is None:
        return
    try:
        frozen = {each["name"] for each in layers if each["frozen"]}
        copied = {each["name"] for each in layers if each["transferred"]}
    except (TypeError, KeyError):
        raise _Unbelievable("not a run's record: its layers") from None
    wanted = set(SCENARIOS[plan.scenario])
    if frozen != wanted:
        raise _Unbelievable(
            f"scenario {plan.scenario}, but what was frozen is: {', '.join(sorted(frozen)) or '-'}"
        )
    lost = set() if plan.init == SCRATCH else set(COPIED_LAYERS) - copied
    if lost:
        raise _Unbelievable(f"init {plan.init}, but not copied were {', '.join(sorted(lost))}")


def _check_end(record: dict[str, Any]) -> None:
    if record["state"] != states.TRAINED:
        return
    done, wanted = record.get("iteration"), record.get("max_iter")
    if (
        not isinstance(done, int)
        or not isinstance(wanted, int)
        # Without validation ("best") the record's iteration is that of the last line of the log.
        or (record.get("best") and done < wanted)
    ):
        raise _Unbelievable(f"it says trained, but came to iteration {done} of {wanted}")


def _read_results(run: Run) -> dict[str, Any] | None:
    path = run.folder.results
    if not path.exists():
        return None
    results = _json(path, "its results.json")
    if run.state != states.TRAINED:
        raise _Unbelievable(f"test results of a run that is {run.state}, not trained")
    for name in ("images", "classes"):
        if type(results.get(name)) is not int or results[name] < 1:
            raise _Unbelievable(f"{name} is {results.get(name)!r}")
    for name in _SHARES:
        if not _is_share(results.get(name)):
            raise _Unbelievable(f"{name} is {results.get(name)!r}, no share of 1")
    _check_per_class(results)
    tested = results.get("tested")
    if not isinstance(tested, dict):
        raise _Unbelievable("it doesn't say what was tested")
    if tested.get("list") != run.record["inputs"].get("test"):
        raise _Unbelievable("tested on another test list than the one of its training")
    when, finished = results.get("when"), run.record.get("finished")
    if isinstance(when, str) and isinstance(finished, str) and when < finished:
        raise _Unbelievable(f"tested at {when}, before its training ended at {finished}")
    return results


def _check_per_class(results: dict[str, Any]) -> None:
    of_classes = results.get("per_class")
    if not isinstance(of_classes, list) or not all(map(_is_of_class, of_classes)):
        raise _Unbelievable("its per_class can't be read")
    images = sum(each["images"] for each in of_classes)
    right = sum(each["right"] for each in of_classes)
    count = len(of_classes)
    if count != results["classes"] or images != results["images"]:
        raise _Unbelievable(
            f"{results['classes']} classes and {results['images']} images, but per class "
            f"{count} and {images}"
        )
    if not math.isclose(right / images, results["top1"], abs_tol=1e-9):
        raise _Unbelievable(
            f"top1 is {results['top1']:.4f}, but per class {right} of {images} are right"
        )


def _is_of_class(said: object) -> bool:
    """Whether this is what a test says of one class."""
    if not isinstance(said, dict) or not isinstance(said.get("class"), str):
        return False
    images, right, accuracy = said.get("images"), said.get("right"), said.get("accuracy")
    if type(images) is not int or type(right) is not int or not 0 <= right <= images:
        return False
    return accuracy is None or _is_share(accuracy)


def _without_strangers(runs: list[Run]) -> tuple[list[Run], list[Fault]]:
    """Of the seeds of one experiment, those count that were tested on the newest one's test list.

    A split has one list; where it was made anew since, old and new accuracies have no mean.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        if run.results is not None:
            groups.setdefault(run.but_seed, []).append(run)
    dropped: dict[Path, Fault] = {}
    for seeds in groups.values():
        newest = max(seeds, key=lambda run: run.record.get("finished") or "")
        for run in seeds:
            if run.test_list != newest.test_list:
                why = f"tested on another test list than {newest.name}, which is newer"
                dropped[run.folder.path] = Fault(run.folder.results, why)
    return _without_results(runs, dropped), list(dropped.values())


def _without_results(runs: list[Run], dropped: Container[Path]) -> list[Run]:
    return [replace(run, results=None) if run.folder.path in dropped else run for run in runs]


def _without_twins(runs: list[Run]) -> tuple[list[Run], list[Fault]]:
    """Of runs of one and the same experiment, seed and all, only one counts.

    The one with the standard name; where no twin has it, one of them, if all say the same.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        if run.results is not None:
            groups.setdefault(run.experiment, []).append(run)
    dropped: dict[Path, Fault] = {}
    for twins in groups.values():
        if len(twins) == 1:
            continue
        standard = [run for run in twins if run.name == run.plan.name]
        agree = len({run.right for run in twins}) == 1
        kept = standard[0] if standard else twins[0] if agree else None
        for run in twins:
            if run is kept:
                continue
            others = ", ".join(each.name for each in twins if each is not run)
            why = f"the same experiment, with the same seed, as {others}"
            why += f"; {kept.name} is counted" if kept else ", and they don't agree"
            dropped[run.folder.path] = Fault(run.folder.results, why)
    return _without_results(runs, dropped), list(dropped.values())
