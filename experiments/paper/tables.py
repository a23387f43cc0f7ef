"""Tables 2, 3 and 4 of the paper: printed, ours, difference. Or the table of a grid of one's own.

A cell holds the accuracies over the whole test set. What has no run yet stays blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import pvariance
from typing import Any

from experiments.grid.definition import load_grid
from experiments.paper import printed
from experiments.paper.intervals import beyond_chance
from experiments.paper.seed_groups import (
    SeedGroup,
    best,
    best_validated,
    find,
    group_by_seed,
    in_words,
)
from experiments.paper.valid_runs import Records
from experiments.single_run.plan import RunPlan, without_seed
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings

BLANK = "\u2013"  # a dash
HIGHER, LOWER = "▲", "▼"
WINNER = "*"
SHORT_SCHEDULE = Settings(epochs=20, lr=1e-3, lr_step_epochs=5, lr_gamma=0.1)
READ_ME = (
    f"{WINNER} the highest accuracy of a task in this table: of the printed ones, and of ours.",
    f"{HIGHER} {LOWER}: ours is higher or lower than chance allows, by a two-proportion z-test at "
    "95 % over our test images and the paper's (20 % of Table 1); of a whole table of equal "
    "accuracies about one cell in twenty would be marked.",
    "95 % interval: Wilson's, over the test images. Several seeds: mean ± sample standard "
    "deviation.",
)


@dataclass(frozen=True)
class Entry:
    """A printed accuracy beside ours. Either may be None."""

    printed: float | None
    cell: SeedGroup | None
    printed_images: int = 0  # test images of the paper
    digits: int = 3
    is_highest_printed: bool = False
    is_highest_of_ours: bool = False

    @property
    def difference(self) -> float | None:
        """Ours minus the printed one."""
        if self.cell is None or self.printed is None:
            return None
        return self.cell.accuracy - self.printed

    @property
    def mark(self) -> str:
        """HIGHER or LOWER where chance doesn't explain the difference, else ''."""
        if self.cell is None or self.printed is None or self.difference is None:
            return ""
        marked = beyond_chance(
            self.cell.accuracy,
            self.cell.images,
            self.printed,
            self.printed_images,
            runs=len(self.cell.runs),
            std=self.cell.std,
            rounding=0.5 * 10.0**-self.digits,
        )
        return "" if not marked else HIGHER if self.difference > 0 else LOWER

    @property
    def texts(self) -> tuple[str, str, str]:
        """Printed, ours, difference."""
        ours = self.cell.accuracy if self.cell else None
        return (
            number(self.printed, self.digits) + WINNER * self.is_highest_printed,
            number(ours, self.digits) + _plus_minus(self.cell) + WINNER * self.is_highest_of_ours,
            signed(self.difference, self.digits),
        )

    def __str__(self) -> str:
        return " · ".join(self.texts) + (f" {self.mark}" if self.mark else "")


@dataclass(frozen=True)
class Table:
    """A table as it is shown, and the same number by number for the CSV."""

    name: str  # of its files
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Entry, ...], ...]
    notes: tuple[str, ...]
    records: tuple[dict[str, Any], ...]  # a line an accuracy

    @property
    def details(self) -> tuple[tuple[str, ...], ...]:
        """What the shown cells rest on: a line for each that has a run."""
        return tuple(
            (
                each["task"],
                each["init"],
                each["scenario"],
                number(each["accuracy"], 4),
                each["spread"],
                str(each["images"]),
                each["runs"],
            )
            for each in self.records
            if each["accuracy"] is not None
        )


DETAILS = ("task", "init", "scenario", "ours", "95 % interval", "test images", "runs")


def mark_highest(entries: Sequence[Entry]) -> list[Entry]:
    """The entries of one task, with the highest printed accuracy and the highest of ours marked.

    Of ours only where two or more are there.
    """
    theirs = [entry.printed for entry in entries if entry.printed is not None]
    mine = [entry.cell.accuracy for entry in entries if entry.cell]
    return [
        replace(
            entry,
            is_highest_printed=len(theirs) > 1 and entry.printed == max(theirs),
            is_highest_of_ours=len(mine) > 1
            and entry.cell is not None
            and entry.cell.accuracy == max(mine),
        )
        for entry in entries
    ]


def make(number: str, records: Records) -> Table:
    """Table 2, 3 or 4 from the tested runs among `records`."""
    maker = {"2": table2, "3": table3, "4": table4}[number]
    return maker(group_by_seed(records.tested))


def table2(every: Sequence[SeedGroup]) -> Table:
    """Which init is best: all layers, 100 epochs, 1e-4; with the variance over the inits."""
    rows: list[tuple[str | Entry, ...]] = []
    lines = []
    for task in printed.tasks():
        entries = []
        for init in printed.INITS:
            entry = Entry(
                printed.by_init()[task, init],
                find(every, task, init, "all"),
                printed.sizes()[task].test_images,
            )
            entries.append(entry)
            lines.append(_line(entry, task, init, "all"))
        rows.append((task, *mark_highest(entries), *_variances(task, entries)))
    return Table(
        "table2",
        "Table 2: test accuracy from each initialisation",
        (
            "task",
            *printed.INITS,
            "variance, printed",
            "variance of the printed accuracies",
            "variance, ours",
        ),
        tuple(rows),
        (
            "Variances are population variances (÷ 5) over the five inits; ours needs all five.",
            _variance_note(),
            *_notes(printed.tasks(), rows),
        ),
        tuple(lines),
    )


def table3(every: Sequence[SeedGroup]) -> Table:
    """Which layers should learn: from Hybrid-CNN, 100 epochs, 1e-4."""
    by_task: dict[str, list[Entry]] = {task: [] for task in printed.tasks()}
    lines = []
    for scenario in SCENARIOS:
        for task in printed.tasks():
            entry = Entry(
                printed.by_scenario()[task, scenario],
                find(every, task, "hybrid", scenario),
                printed.sizes()[task].test_images,
            )
            by_task[task].append(entry)
            lines.append(_line(entry, task, "hybrid", scenario))
    marked = [mark_highest(entries) for entries in by_task.values()]
    rows: list[tuple[str | Entry, ...]] = [
        (scenario, *(entries[place] for entries in marked))
        for place, scenario in enumerate(SCENARIOS)
    ]
    return Table(
        "table3",
        "Table 3: test accuracy of each fine-tuning scenario, from Hybrid-CNN",
        ("scenario", *printed.tasks()),
        tuple(rows),
        tuple(_notes(printed.tasks(), rows)),
        tuple(lines),
    )


def table4(every: Sequence[SeedGroup]) -> Table:
    """The best of each task, beside the paper's and earlier works'; and the short schedule."""
    rows: list[tuple[str | Entry, ...]] = []
    lines, lines_of_short = [], []
    for each in printed.best():
        if not each.is_ours_in_paper:
            continue
        cell, chosen = best(every, each.task), best_validated(every, each.task)
        entry = Entry(each.accuracy, cell, printed.sizes()[each.task].test_images, digits=4)
        note = each.note
        if cell and each.task == "ticc_artist":
            macro, weighted = cell.mean_of("macro_f1"), cell.mean_of("weighted_f1")
            note += f"; ours: macro F {macro:.2%}, weighted F {weighted:.2%}"
        rows.append(
            (
                each.task,
                f"{each.classes} · {cell.classes if cell else BLANK}",
                entry,
                _how(cell),
                f"{chosen.accuracy:.4f}: {_how(chosen)}" if chosen else BLANK,
                _earlier_works(each.task),
                note,
            )
        )
        lines.append(_line(entry, each.task, "", "", "best"))
        more_rows, more_lines = _short_schedule(every, each.task)
        rows += more_rows
        lines_of_short += more_lines
    return Table(
        "table4",
        "Table 4: the best of each task, and the short schedule",
        (
            "task",
            "classes (printed · ours)",
            "accuracy",
            "ours was",
            "chosen by validation",
            "earlier works",
            "note",
        ),
        tuple(rows),
        (
            "Ours is the best on the test images, as the paper seems to have chosen; choosing on "
            "the test images flatters. The column after it chooses on the validation images.",
            *printed.disagreements_about_the_best(),
            *_notes(printed.tasks(), rows),
        ),
        (*lines, *lines_of_short),
    )


def _short_schedule(
    every: Sequence[SeedGroup], task: str
) -> tuple[list[tuple[str | Entry, ...]], list[dict[str, Any]]]:
    """Row and line of the short schedule of section 5.3, for a task that has it."""
    of_task = [cell for cell in every if cell.task == task and cell.settings == SHORT_SCHEDULE]
    cell = best(of_task, task)
    is_printed = task == printed.SHORT_SCHEDULE_TASK
    if cell is None and not is_printed:
        return [], []
    entry = Entry(
        printed.SHORT_SCHEDULE_ACCURACY if is_printed else None,
        cell,
        printed.sizes()[task].test_images,
        digits=4,
    )
    row = (
        f"{task}, short schedule",
        f"{BLANK} · {cell.classes if cell else BLANK}",
        entry,
        _how(cell),
        BLANK,
        "",
        "20 epochs from 1e-3, ÷ 10 every 5"
        + (' (section 5.3; its "after 5 epochs" taken as every 5)' if is_printed else ""),
    )
    return [row], [_line(entry, task, "", "", "short schedule")]


def _earlier_works(task: str) -> str:
    """What earlier works reached on a task, as Table 4 has it."""
    return "; ".join(
        f"{each.reference} {each.accuracy:.4f}"
        f"{f' {each.note}' if each.note else ''} ({each.method}, {each.classes} classes)"
        for each in printed.best()
        if each.task == task and not each.is_ours_in_paper
    )


def grid_table(grid: Path, records: Records) -> Table:
    """The runs of a grid file: a row a task, scenario and settings, a column an init."""
    planned = load_grid(grid)
    every = group_by_seed(records.tested)
    inits = list(dict.fromkeys(plan.init for plan in planned))
    kinds: dict[tuple[str, str, str], dict[str, RunPlan]] = {}
    for each in planned:
        words = in_words(each.scenario, each.settings, each.split)
        kinds.setdefault((each.task, words, each.split), {})[each.init] = each
    rows: list[tuple[str | Entry, ...]] = []
    lines = []
    for (task, words, split), plans in kinds.items():
        row: list[str | Entry] = [task, words]
        for init in inits:
            if init not in plans:
                row.append("")
                continue
            plan = plans[init]
            cell = find(every, task, init, plan.scenario, plan.settings, split)
            entry = Entry(_printed(plan), cell, _printed_images(task))
            row.append(entry)
            lines.append(_line(entry, task, init, words))
        rows.append(tuple(row))
    return Table(
        f"grid-{grid.stem}",
        f"The grid {grid.name}",
        ("task", "scenario and settings", *inits),
        tuple(rows),
        tuple(_notes(dict.fromkeys(plan.task for plan in planned), rows)),
        tuple(lines),
    )


def number(value: float | None, digits: int = 3) -> str:
    """A share as the paper writes it, or the blank."""
    return BLANK if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, with its sign."""
    # Plus 0, because what rounds to a negative zero would show as -0.000.
    return (
        BLANK if value is None else f"{round(value, digits) + 0:+.{digits}f}".replace("-", "\u2212")
    )


def _variances(task: str, entries: Sequence[Entry]) -> tuple[str, str, str]:
    recomputed, agrees = printed.variance_of_printed(task)
    ours = [entry.cell.accuracy for entry in entries if entry.cell]
    return (
        printed.variances()[task],
        printed.scientific(recomputed) + ("" if agrees else " ≠"),
        printed.scientific(pvariance(ours)) if len(ours) == len(entries) else BLANK,
    )


def _variance_note() -> str:
    """Whether the paper's variances are those of its accuracies."""
    wrong = [
        f"{task}: the printed variance {printed.variances()[task]} is not that of the printed "
        f"accuracies, {printed.scientific(recomputed)}, however these were rounded"
        for task in printed.tasks()
        for recomputed, agrees in [printed.variance_of_printed(task)]
        if not agrees
    ]
    right = "The printed variances are those of the printed accuracies, as far as digits tell."
    return "; ".join(wrong) or right


def _notes(tasks: Iterable[str], rows: Iterable[Sequence[str | Entry]]) -> list[str]:
    """Where the paper contradicts itself, ours has other numbers, or was edited or tested apart."""
    notes = [note for task in tasks for note in printed.disagreements().get(task, ())]
    found = [entry.cell for row in rows for entry in row if isinstance(entry, Entry) and entry.cell]
    for task in dict.fromkeys(cell.task for cell in found):
        runs = [run for cell in found if cell.task == task for run in cell.runs]
        lists = {(run.plan.split, run.plan.split_seed, run.test_list) for run in runs}
        if len(lists) > len({each[:2] for each in lists}):
            notes.append(f"{task}: its runs were not all tested on the same list of images")
        classes = {cell.classes for cell in found if cell.task == task}
        size = printed.sizes().get(task)
        if size and classes != {size.classes}:
            mine = " or ".join(map(str, sorted(classes)))
            notes.append(f"{task}: Table 1 has {size.classes} classes, ours {mine}")
    for cell in found:
        notes += [f"{each.folder.path}: {each.edits}" for each in cell.runs if each.edits]
        notes += [f"{each.folder.path}: {each.edits}; not counted" for each in cell.not_counted]
    return list(dict.fromkeys(notes))


def _line(entry: Entry, task: str, init: str, scenario: str, what: str = "") -> dict[str, Any]:
    """One accuracy, number by number; init and scenario '' stand for those of the best."""
    cell = entry.cell
    low, high = (cell.interval or (None, None)) if cell else (None, None)
    return {
        "task": task,
        "init": init or (cell.init if cell else None),
        "scenario": scenario or (cell.scenario if cell else None),
        "what": what,
        "printed": entry.printed,
        "accuracy": _rounded(cell.accuracy if cell else None),
        "difference": _rounded(entry.difference),
        "beyond_chance": entry.mark,
        "low": _rounded(low),
        "high": _rounded(high),
        "std": _rounded(cell.std if cell else None),
        "spread": cell.spread if cell else None,
        "images": cell.images if cell else None,
        "classes": cell.classes if cell else None,
        "runs": ", ".join(each.name for each in cell.runs) if cell else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _printed(plan: RunPlan) -> float | None:
    """What the paper prints for a planned run, if it is one of its."""
    if plan.split != "by_image" or without_seed(plan.settings) != PAPER:
        return None
    if plan.scenario == "all":
        return printed.by_init().get((plan.task, plan.init))
    return printed.by_scenario().get((plan.task, plan.scenario)) if plan.init == "hybrid" else None


def _printed_images(task: str) -> int:
    return printed.sizes()[task].test_images if task in printed.sizes() else 0


def _how(cell: SeedGroup | None) -> str:
    """With what an accuracy was reached."""
    return f"{cell.init}, {in_words(cell.scenario, cell.settings)}" if cell else BLANK


def _plus_minus(cell: SeedGroup | None) -> str:
    return f" ± {cell.std:.3f}" if cell and cell.std is not None else ""
