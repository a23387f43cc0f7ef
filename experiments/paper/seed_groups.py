"""From runs to the cells of a table: one experiment, with all its seeds.

A run whose prototxts were edited by hand is another experiment than its settings say. It has no
part in a cell that has unedited runs; where there are none, it stands for them, and it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

from experiments.paper.intervals import mean_and_std, wilson
from experiments.paper.valid_runs import RecordedRun
from experiments.single_run.plan import without_seed
from prototxt.settings import PAPER, Settings
from prototxt.settings import in_words as setting_in_words


@dataclass(frozen=True)
class SeedGroup:
    """One task, init, scenario and settings: the tested runs that differ in nothing but seeds."""

    task: str
    init: str
    scenario: str
    settings: Settings  # with the seed of the paper's settings, whatever the runs' seeds
    split: str
    runs: tuple[
        RecordedRun, ...
    ]  # by seed, one or more; all unedited, or all edited in the same way
    not_counted: tuple[RecordedRun, ...] = ()  # edited by hand in another way than `runs`

    @cached_property
    def accuracy(self) -> float:
        """Test accuracy: the mean over the seeds."""
        return mean_and_std([run.accuracy for run in self.runs])[0]

    @cached_property
    def std(self) -> float | None:
        """Sample standard deviation over the seeds; None for one run."""
        return mean_and_std([run.accuracy for run in self.runs])[1]

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % Wilson interval of one run; None where several say it better."""
        return wilson(self.runs[0].right, self.images) if len(self.runs) == 1 else None

    @property
    def images(self) -> int:
        """Test images of one run (of the first, should other splits have others)."""
        return self.runs[0].images

    @property
    def classes(self) -> int:
        """Classes of the task as it was learnt."""
        return self.runs[0].results.classes if self.runs[0].results else 0

    @property
    def first(self) -> RecordedRun:
        """The run that stands for all: the one with the lowest seed."""
        return self.runs[0]

    def mean_of(self, name: str) -> float:
        """The mean over the seeds of one of the numbers in results.json."""
        return mean_and_std([float(getattr(run.results, name)) for run in self.runs])[0]

    @property
    def validation(self) -> float | None:
        """Mean of the best validation accuracies; None when a run had none."""
        found = [run.best_validation for run in self.runs]
        known = [each for each in found if each is not None]
        return mean_and_std(known)[0] if found and len(known) == len(found) else None

    @property
    def spread(self) -> str:
        """The 95 % interval, or the standard deviation over the seeds, in words."""
        if self.interval:
            return f"{self.interval[0]:.3f} to {self.interval[1]:.3f}"
        return f"± {self.std:.3f} over {len(self.runs)} seeds"


def group_by_seed(runs: Iterable[RecordedRun]) -> list[SeedGroup]:
    """All cells of the tested runs among `runs`."""
    groups: dict[tuple[str, str, str, Settings, str], dict[tuple[str, ...], list[RecordedRun]]] = {}
    for run in runs:
        if run.results is not None:
            plan = run.plan
            key = (plan.task, plan.init, plan.scenario, without_seed(plan.settings), plan.split)
            groups.setdefault(key, {}).setdefault(run.edits.contents, []).append(run)
    found = []
    for key, variants in groups.items():
        chosen, *others = sorted(variants.values(), key=_rank)
        not_counted = tuple(run for other in others for run in other)
        found.append(SeedGroup(*key, tuple(sorted(chosen, key=_seeds)), not_counted))
    return found


def find(
    every: Iterable[SeedGroup],
    task: str,
    init: str,
    scenario: str,
    settings: Settings = PAPER,
    split: str = "by_image",
) -> SeedGroup | None:
    """The cell of these, if there is a tested run of it."""
    wanted = (task, init, scenario, without_seed(settings), split)
    for cell in every:
        if (cell.task, cell.init, cell.scenario, cell.settings, cell.split) == wanted:
            return cell
    return None


def best(every: Iterable[SeedGroup], task: str) -> SeedGroup | None:
    """The cell of a task with the highest test accuracy, as the paper chose (its Table 4).

    On splits by image only, as the paper's.
    """
    of_task = [cell for cell in every if cell.task == task and cell.split == "by_image"]
    return max(of_task, key=lambda cell: cell.accuracy, default=None)


def best_validated(every: Iterable[SeedGroup], task: str) -> SeedGroup | None:
    """The cell of a task with the highest validation accuracy: chosen without the test images."""
    of_task = [cell for cell in every if cell.task == task and cell.split == "by_image"]
    known = [cell for cell in of_task if cell.validation is not None]
    return max(known, key=lambda cell: cell.validation or 0, default=None)


def in_words(scenario: str, settings: Settings, split: str = "by_image") -> str:
    """A scenario and what differs from the paper's settings: 'all, epochs 20, lr 0.001'."""
    said = [scenario]
    for each in fields(Settings):
        value = getattr(settings, each.name)
        if value != getattr(PAPER, each.name) and each.name not in ("seed", "device_batch"):
            said.append(f"{each.name.replace('_', ' ')} {setting_in_words(value)}")
    return ", ".join(said + ([split] if split != "by_image" else []))


def _rank(variant: list[RecordedRun]) -> tuple[bool, bool, str]:
    """Unedited runs first, then those edited under their standard name."""
    is_standard = any(run.plan.has_standard_name for run in variant)
    return (bool(variant[0].edits), not is_standard, min(run.name for run in variant))


def _seeds(run: RecordedRun) -> tuple[int, int]:
    return (run.plan.split_seed, run.plan.settings.seed)
