"""The numbers that the paper prints. They live in experiments/paper/*.csv, typed out as printed.

Tables and inits go by our names here: `TICC_artist` is ticc_artist, `caffe` is caffenet.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, pvariance

from prototxt.caffenet import SCENARIOS

PAPER = Path(__file__).parent
INITS = ("hybrid", "memnet", "sentiment", "caffenet", "flickr")  # in the order of Table 2
TEST_SHARE = 0.2  # of the images of Table 1 (section 3)
HALF_DIGIT = 0.0005  # accuracies in Tables 2 and 3 are rounded to three digits

# Said in the text, in no table (section 5.3): 20 epochs from 1e-3, divided by 10 "after 5 epochs".
SHORT_SCHEDULE_TASK = "wikiart_style"
SHORT_SCHEDULE_ACCURACY = 0.5302

_INIT_COLUMNS = {"caffe": "caffenet"}


@dataclass(frozen=True)
class Size:
    """A row of Table 1."""

    classes: int
    images: int

    @property
    def test_images(self) -> int:
        """How many images the paper's test set has, as near as it can be told."""
        return round(TEST_SHARE * self.images)


@dataclass(frozen=True)
class Best:
    """A cell of Table 4. `accuracy` is a share, not the printed per cent."""

    reference: str
    method: str
    task: str
    classes: int
    accuracy: float
    note: str

    @property
    def is_ours_in_paper(self) -> bool:
        """Whether it is the paper's own result, and not an earlier work's."""
        return self.reference == "Our results"


@cache
def sizes() -> dict[str, Size]:
    """Table 1 by task."""
    return {
        f"{row['source']}_{row['task']}".lower(): Size(int(row["classes"]), int(row["images"]))
        for row in _rows("table1.csv")
    }


@cache
def by_init() -> dict[tuple[str, str], float]:
    """Table 2: (task, init) -> test accuracy; all layers learn."""
    return {
        (_task(row["task"]), _INIT_COLUMNS.get(column, column)): float(value)
        for row in _rows("table2.csv")
        for column, value in row.items()
        if column not in ("task", "variance_printed")
    }


@cache
def variances() -> dict[str, str]:
    """Table 2's last column by task, as it is printed: '12.9e-4'."""
    return {_task(row["task"]): row["variance_printed"] for row in _rows("table2.csv")}


@cache
def by_scenario() -> dict[tuple[str, str], float]:
    """Table 3: (task, scenario) -> test accuracy; from Hybrid-CNN."""
    return {
        (_task(column), row["scenario"]): float(value)
        for row in _rows("table3.csv")
        for column, value in row.items()
        if column != "scenario"
    }


@cache
def best() -> tuple[Best, ...]:
    """Table 4, the paper's rows and those of the works before it."""
    return tuple(
        Best(
            reference=row["reference"],
            method=row["method"],
            task=f"{row['dataset']}_{row['task']}".lower(),
            classes=int(row["classes"]),
            accuracy=float(row["accuracy_percent"]) / 100,
            note=row["note"],
        )
        for row in _rows("table4.csv")
    )


@cache
def tasks() -> tuple[str, ...]:
    """The nine tasks in the order of Tables 2 and 3."""
    return tuple(variances())


def variance_of_printed(task: str) -> tuple[float, bool]:
    """The population variance of Table 2's accuracies, and whether the printed one can be it.

    Each accuracy is known to half a digit, so the variance is known to a range; the printed value
    agrees when its own rounding meets that range.
    """
    accuracies = [by_init()[task, init] for init in INITS]
    mean = fmean(accuracies)
    variance = pvariance(accuracies)
    # How far the variance moves when each accuracy moves by half a digit the worst way.
    slack = sum(2 / len(accuracies) * abs(each - mean) for each in accuracies) * HALF_DIGIT
    text = variances()[task]
    digits, _, power = text.partition("e")
    half = 0.5 * 10.0 ** (int(power) - len(digits.partition(".")[2]))
    return variance, abs(float(text) - variance) <= slack + half + HALF_DIGIT**2


@cache
def disagreements() -> dict[str, tuple[str, ...]]:
    """Where the paper says two things about a task, as sentences."""
    found: dict[str, list[str]] = {}
    for task in tasks():
        two, three = by_init()[task, "hybrid"], by_scenario()[task, "all"]
        if two != three:
            found.setdefault(task, []).append(
                f"{task} from hybrid, all layers: Table 2 prints {two:.3f}, Table 3 {three:.3f}"
            )
    for each in _own_best():
        size = sizes()[each.task]
        if each.classes != size.classes:
            found.setdefault(each.task, []).append(
                f"{each.task}: Table 1 says {size.classes} classes, Table 4 (and the text) "
                f"{each.classes}"
            )
    return {task: tuple(words) for task, words in found.items()}


@cache
def disagreements_about_the_best() -> tuple[str, ...]:
    """Where Table 4's best is less than what Table 2 or 3 prints, as sentences."""
    found = []
    for each in _own_best():
        table, top = _highest(each.task)
        if top - HALF_DIGIT > each.accuracy:
            found.append(
                f"{each.task}: Table 4 gives {each.accuracy:.2%} as the best, "
                f"Table {table} has {top:.3f}"
            )
    return tuple(found)


def _own_best() -> list[Best]:
    return [each for each in best() if each.is_ours_in_paper]


def scientific(variance: float) -> str:
    """A variance as Table 2 writes it: '12.9e-4'."""
    return f"{variance * 1e4:#.3g}e-4"


def _highest(task: str) -> tuple[int, float]:
    """The table, 2 or 3, with a task's highest accuracy, and that accuracy."""
    two = max(by_init()[task, init] for init in INITS)
    three = max(by_scenario()[task, scenario] for scenario in SCENARIOS)
    return (2, two) if two >= three else (3, three)


def _task(column: str) -> str:
    return column.lower()


def _rows(name: str) -> list[dict[str, str]]:
    with (PAPER / name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
