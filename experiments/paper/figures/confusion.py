"""Figures 10, 12, 13 and 14: confusion matrices, row-normalised, with per-class accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.paper.figures.choice import Choice, edited
from experiments.paper.figures.plot import Plot
from experiments.paper.predictions import read_confusion
from experiments.paper.seed_groups import best, group_by_seed
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run.confusion import Matrix, draw, fits_column, most_confused
from experiments.single_run.metrics import shares
from experiments.single_run.plan import RunPlan
from lib.errors import UserError

_TASKS = {
    "10": ("wikiart_style",),
    "12": ("wikiart_genre", "wga_genre"),
    "13": ("wikiart_artist", "wga_artist"),
    "14": ("wikiart_nationality", "wga_nationality"),
}


@dataclass(frozen=True)
class _Found:
    """A confusion matrix of one run."""

    run: RecordedRun
    counts: np.ndarray  # (classes, classes), true by predicted
    classes: list[str]

    @property
    def drawn(self) -> Matrix:
        """As it is drawn."""
        run = self.run
        title = f"{run.task}\n{run.accuracy:.1%} of {run.images:,} test images"
        return Matrix(self.counts, self.classes, title)

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        """Its most confused pairs: task, true, predicted, images, share."""
        return [
            (self.run.task, true, predicted, f"{images:,}", f"{share:.0%}")
            for true, predicted, images, share in most_confused(
                self.counts, self.classes, _MOST_PAIRS
            )
        ]


_MOST_PAIRS = 10  # confused pairs of each matrix that are listed


def plot(number: str, choice: Choice, records: Records) -> Plot:
    """A panel a task: its best run (the one of Table 4), or the one that was asked for."""
    found, missing, remarks = [], [], []
    for task in (choice.task,) if choice.task else _TASKS[number]:
        run = chosen_run(task, choice, records)
        if run is None:
            missing.append(RunPlan(task, choice.init, "all", choice.settings).make_line)
            continue
        try:
            found.append(_Found(run, *read_confusion(run)))
        except UserError as error:
            remarks.append(str(error))
    return Plot(
        name=choice.name(number),
        title=f"{choice.heading(number)}: confusion matrix" + (" each" if len(found) > 1 else ""),
        caption="Per cent of each true class (rows); at the right, the class's accuracy and its "
        "number of test images. Runs: "
        + (", ".join(f"{each.run.task}/{each.run.name}" for each in found) or "none yet")
        + ".",
        table=pd.concat([_numbers(each) for each in found]) if found else pd.DataFrame(),
        draw=(lambda width: draw([each.drawn for each in found], width)) if found else None,
        pairs=tuple(pair for each in found for pair in each.pairs),
        has_column=fits_column([each.drawn for each in found]),
        missing=tuple(missing),
        remarks=(*remarks, *edited(each.run for each in found)),
    )


def chosen_run(task: str, choice: Choice, records: Records) -> RecordedRun | None:
    """The run asked for, else the best of the task on the test images.

    Raises UserError for a run that is asked for and not there, or not tested.
    """
    if choice.run:
        run = records.find(task, choice.run)
        if run is None or run.results is None:
            raise UserError(f"RUN={choice.run}: no tested run of {task} of that name")
        return run
    cell = best(group_by_seed(records.tested), task)
    return cell.first if cell else None


def _numbers(matrix: _Found) -> pd.DataFrame:
    part = shares(matrix.counts)
    count = len(matrix.classes)
    return pd.DataFrame(
        {
            "task": matrix.run.task,
            "run": matrix.run.name,
            "true": np.repeat(matrix.classes, count),
            "predicted": np.tile(matrix.classes, count),
            "images": matrix.counts.ravel(),
            "share": part.ravel().round(6),
        }
    )
