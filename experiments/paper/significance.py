"""Are runs of one task really different? McNemar's test and a bootstrap interval for each pair.

All runs were asked about the same test images, so they are compared image by image: that tells more
than two intervals that overlap. The runs are those of each init, or those that RUNS= names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from experiments.paper.counted import counted
from experiments.paper.intervals import CONFIDENCE
from experiments.paper.places import REPORT
from experiments.paper.predictions import read_predictions
from experiments.paper.printed import INITS
from experiments.paper.seed_groups import SeedGroup, group_by_seed, in_words
from experiments.paper.tables import signed
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run.find_run import find_run
from experiments.single_run.plan import RunPlan, without_seed
from lib import text_tables
from lib.errors import UserError, unknown
from lib.files import write_text
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings

RESAMPLES = 10_000
DIFFERENT = " ≠"
_BOOTSTRAP_SEED = 1
IN_WORDS = (
    "Differences in accuracy over the same test images, with their 95 % bootstrap intervals "
    f"({RESAMPLES} resamples); p of McNemar's exact test, and p corrected after Holm for the "
    "number of pairs: below 0.05 the two are different."
)


@dataclass(frozen=True)
class Pair:
    """Two runs on the same test images."""

    one: str
    other: str
    images: int
    only_one: int  # images that only `one` got right
    only_other: int
    low: float  # 95 % bootstrap interval of the difference in accuracy
    high: float
    p: float  # McNemar's exact test, two-sided

    @property
    def difference(self) -> float:
        """Accuracy of `one` minus accuracy of `other`."""
        return (self.only_one - self.only_other) / self.images


@dataclass(frozen=True)
class Chosen:
    """The runs of one task that are compared."""

    task: str
    what: str  # in words: their scenario and settings, or their names
    runs: dict[str, RecordedRun]  # by init, or by name


def choose_runs(
    records: Records, task: str, scenario: str, settings: Settings, names: Sequence[str] = ()
) -> Chosen:
    """The tested runs of these names, or without names one of each init.

    Raises UserError for an unknown scenario or name, and where there are less than two.
    """
    if scenario not in SCENARIOS:
        raise unknown("scenario", scenario, SCENARIOS)
    runs = named(records, task, names) if names else by_init(records, task, scenario, settings)
    what = ", ".join(names) or in_words(scenario, settings)
    if len(runs) < 2:
        lines = [
            RunPlan(task, init, scenario, settings).make_line for init in INITS if init not in runs
        ]
        raise UserError(
            f"{task} ({what}): tested runs: {len(runs)}; two are needed to compare; "
            f"`{lines[0]}` makes one"
        )
    return Chosen(task, what, runs)


def write(chosen: Chosen, pairs: Sequence[Pair], report: Path = REPORT) -> Path:
    """Write the pairs, number by number, as CSV; the file."""
    file = report / f"significance-{chosen.task}.csv"
    write_text(file, table(pairs, chosen.runs).to_csv(index=False))
    return file


def terminal(chosen: Chosen, pairs: Sequence[Pair], width: int | None = None) -> str:
    """The comparison for a terminal: the matrix of pairs, and what its cells say."""
    columns, rows = matrix(pairs, list(chosen.runs))
    legend = (
        "Difference in accuracy, row minus column, over the same "
        f"{counted(pairs[0].images, 'test image')}; in brackets its 95 % bootstrap interval "
        f"({RESAMPLES} resamples); p of McNemar's exact test, corrected after Holm for "
        f"{counted(len(pairs), 'pair')}; {DIFFERENT.strip()} where that is below 0.05."
    )
    edited = [f"{run.folder.path}: {run.edits}" for run in chosen.runs.values() if run.edits]
    parts = [
        text_tables.wrapped(f"{chosen.task}: is it different? ({chosen.what})", width),
        text_tables.aligned(columns, rows, width),
        text_tables.wrapped(legend, width),
        *edited,
    ]
    return "\n\n".join(parts)


def by_init(
    records: Records, task: str, scenario: str, settings: Settings
) -> dict[str, RecordedRun]:
    """Init -> its tested run (of the lowest seed), the paper's inits first."""
    found: dict[str, SeedGroup] = {
        cell.init: cell
        for cell in group_by_seed(records.tested)
        if (cell.task, cell.scenario, cell.split) == (task, scenario, "by_image")
        and cell.settings == without_seed(settings)
    }
    order = [*INITS, *sorted(set(found) - set(INITS))]
    return {init: found[init].first for init in order if init in found}


def named(records: Records, task: str, names: Sequence[str]) -> dict[str, RecordedRun]:
    """Name -> the tested run that each word means (find_run); UserError for one not there."""
    tested = {run.name: run for run in records.tested if run.task == task}
    found = {}
    for word in names:
        name = find_run(word, task, "RUNS").path.name
        if name not in tested:
            raise unknown(f"tested run of {task}", name, tested)
        found[name] = tested[name]
    return found


def compare(runs: dict[str, RecordedRun]) -> list[Pair]:
    """Every pair of the runs.

    Raises UserError when two were not tested on the same images, or predictions can't be read.
    """
    said = {label: read_predictions(run) for label, run in runs.items()}
    (first, expected), *others = said.items()
    for label, table in others:
        if not (
            table["image"].equals(expected["image"]) and table["true"].equals(expected["true"])
        ):
            raise UserError(
                f"{runs[label].folder.path} and {runs[first].folder.path} were not tested on the "
                "same images (another split or list): they can't be compared image by image"
            )
    return [
        pair(one, other, said[one]["right"].to_numpy(), said[other]["right"].to_numpy())
        for one, other in combinations(said, 2)
    ]


def pair(one: str, other: str, one_right: np.ndarray, other_right: np.ndarray) -> Pair:
    """Compare two runs by which images (bool, same order) each got right."""
    images = len(one_right)
    only_one = int((one_right & ~other_right).sum())
    only_other = int((other_right & ~one_right).sum())
    discordant = only_one + only_other
    # Resampling the images draws how many of three kinds there are: that is multinomial.
    kinds = np.array([only_one, only_other, images - discordant]) / images
    drawn = np.random.default_rng(_BOOTSTRAP_SEED).multinomial(images, kinds, RESAMPLES)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / images, [tail, 100 - tail])
    p = float(binomtest(only_one, discordant, 0.5).pvalue) if discordant else 1.0
    return Pair(one, other, images, only_one, only_other, float(low), float(high), p)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number after Holm (1979), in the given order."""
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(np.argsort(values)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def table(pairs: Sequence[Pair], runs: dict[str, RecordedRun]) -> pd.DataFrame:
    """A row a pair, number by number."""
    return pd.DataFrame(
        {
            "one": pair.one,
            "other": pair.other,
            "run of one": runs[pair.one].name,
            "run of other": runs[pair.other].name,
            "images": pair.images,
            "only one right": pair.only_one,
            "only other right": pair.only_other,
            "difference": round(pair.difference, 6),
            "low": round(pair.low, 6),
            "high": round(pair.high, 6),
            "p": f"{pair.p:.3g}",
            "p after Holm": f"{corrected:.3g}",
        }
        for pair, corrected in zip(pairs, holm([pair.p for pair in pairs]), strict=True)
    )


def matrix(
    pairs: Sequence[Pair], labels: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The pairs as columns and rows of a matrix: row minus column."""
    corrected = dict(
        zip(
            ((pair.one, pair.other) for pair in pairs),
            zip(pairs, holm([pair.p for pair in pairs]), strict=True),
            strict=True,
        )
    )
    rows = []
    for row in labels[:-1]:
        line = [row]
        for column in labels[1:]:
            if (row, column) not in corrected:
                line.append("")
                continue
            found, p = corrected[row, column]
            mark = DIFFERENT if p < 1 - CONFIDENCE else ""
            interval = f"({signed(found.low)} to {signed(found.high)})"
            line.append(f"{signed(found.difference)} {interval}, p {p:.2g}{mark}")
        rows.append(tuple(line))
    return ("", *labels[1:]), rows
