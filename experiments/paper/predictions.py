"""What a tested run said of each test image: confusion.csv and predictions.csv, checked."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.folders import DataFolder
from datasets.records import read_lists_record, root_of
from experiments.paper.valid_runs import RecordedRun
from lib.errors import UserError


def read_confusion(run: RecordedRun) -> tuple[np.ndarray, list[str]]:
    """Counts (classes, classes), true by predicted, and the class names.

    Raises UserError when the file is missing or broken, or disagrees with results.json.
    """
    path = run.folder.path / "confusion.csv"
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            head, *lines = csv.reader(handle)
        counts = np.array([[int(count) for count in line[1:]] for line in lines])
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({error}); {_again(run)}") from None
    classes = head[1:]
    said = run.results.per_class if run.results else []
    if (
        counts.shape != (len(classes), len(classes))
        or [line[0] for line in lines] != classes
        or [each.name for each in said] != classes
        or [each.images for each in said] != counts.sum(axis=1).tolist()
        or [each.right for each in said] != np.diag(counts).tolist()
    ):
        raise UserError(f"{path} and {run.folder.results} disagree; {_again(run)}")
    return counts, classes


def read_predictions(run: RecordedRun) -> pd.DataFrame:
    """A row a test image: image, true, right (bool), predicted, probability.

    Raises UserError when the file is missing or broken, or disagrees with results.json.
    """
    path = run.folder.path / "predictions.csv"
    columns = {
        "image": str,
        "true": str,
        "right": int,
        "class1": str,
        "probability1": float,
    }
    try:
        table = pd.read_csv(
            path, usecols=list(columns), dtype=columns, encoding="utf-8", keep_default_na=False
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({error}); {_again(run)}") from None
    if len(table) != run.images or int(table["right"].sum()) != run.right:
        raise UserError(f"{path} and {run.folder.results} disagree; {_again(run)}")
    table["right"] = table["right"].astype(bool)
    return table.rename(columns={"class1": "predicted", "probability1": "probability"})


def _again(run: RecordedRun) -> str:
    return f"`{run.make_line} FORCE=1` makes it again"


def images_root(run: RecordedRun) -> Path | None:
    """Where the images of a run's lists lie; None when the lists are not there."""
    try:
        return root_of(read_lists_record(DataFolder(Path(run.record.data))))
    except UserError:
        return None
