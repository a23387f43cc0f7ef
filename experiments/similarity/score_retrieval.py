"""Score retrieval: are the neighbours of a test image of its own genre, style, artist ...?"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.folders import PARTS
from experiments.similarity.artworks import Artwork, artworks
from experiments.similarity.choose_collection import CollectionChoice
from experiments.similarity.feature_models import FEATURES, find_model
from experiments.similarity.feature_set import Item
from experiments.similarity.make_features import make_features
from experiments.similarity.retrieval_metrics import Retrieval, require, retrieval
from lib.caffe.device import Device
from lib.errors import UserError, unknown
from lib.files import whole_file

_COLUMNS = ("genre", "style", "artist", "timeframe", "nationality")

Labels = NDArray[np.object_]  # one an image: a text, or None where it is not known


@dataclass(frozen=True)
class Score:
    """How well one model retrieves by one label, which several columns may say alike."""

    model: str
    columns: list[str]
    retrieval: Retrieval


def score_retrieval(
    words: Sequence[str],
    choice: CollectionChoice,
    pick: Callable[[], Device],
    *,
    ks: Sequence[int] = (1, 5, 10),
    part: str = "test",
    out: Path | None = None,
) -> tuple[list[Score], Path]:
    """Score every model by every column that is known of the works, and write a CSV.

    `part`: whose images ask and answer: train, val, test or all. `pick` gives the device once all
    else is known to be right. Raises UserError for what can't be scored.
    """
    if part not in (*PARTS, "all"):
        raise unknown("part", part, (*PARTS, "all"))
    ordered = tuple(sorted(set(ks)))
    if ordered[0] < 1:
        raise UserError(f"K={ordered[0]}: must be 1 or more")
    models = [find_model(word) for word in words]
    collection = choice.open()
    known = artworks(collection, choice.raw)
    only = None if part == "all" else part
    groups = _groups([item for item in collection.items if only in (None, item.part)], known)
    if not groups:
        raise UserError(f"nothing is known of the images of {collection.name}: no labels to score")
    for _, labels in groups:
        require(labels, ordered)
    device = pick()
    scores: list[Score] = []
    for model in models:
        features = make_features(collection, model, device)
        rows = features.rows(only)
        vectors = np.array(features.vectors[rows])
        items = [features.items[row] for row in rows]
        for columns, _ in groups:
            labels = _labels(items, known, columns[0])
            scores.append(Score(model.name, columns, retrieval(vectors, labels, ordered)))
    out = out or FEATURES / collection.name / "retrieval.csv"
    _write(out, scores, ordered)
    return scores, out


def _groups(items: Sequence[Item], known: dict[str, Artwork]) -> list[tuple[list[str], Labels]]:
    """The columns that can be scored, and their labels; those that say the same are one group.

    The column that a task's classes are from says the same as "class".
    """
    groups: list[tuple[list[str], Labels]] = []
    for column in ("class", *_COLUMNS):
        labels = _labels(items, known, column)
        there = [label for label in labels if label is not None]
        if not 1 < len(set(there)) < len(there):
            continue
        for columns, others in groups:
            if _alike(labels, others):
                columns.append(column)
                break
        else:
            groups.append(([column], labels))
    return groups


def _labels(items: Sequence[Item], known: dict[str, Artwork], column: str) -> Labels:
    return np.array(
        [
            item.label or None if column == "class" else known.get(item.image, {}).get(column)
            for item in items
        ],
        object,
    )


def _alike(first: Labels, second: Labels) -> bool:
    """Whether two columns label the same images, and tell the same of them apart."""
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second)) and all(
        (one is None) == (other is None) for one, other in pairs
    )


def _write(path: Path, scores: list[Score], ks: tuple[int, ...]) -> None:
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        header = [f"precision@{k}" for k in ks]
        writer.writerow(["model", "same", "queries", *header, "mAP", "chance"])
        for each in scores:
            said = each.retrieval
            precision = [f"{said.precision[k]:.6f}" for k in ks]
            tail = [f"{said.mean_average_precision:.6f}", f"{said.chance:.6f}"]
            for column in each.columns:  # each a row of its own, for whoever looks for it
                writer.writerow([each.model, column, said.queries, *precision, *tail])
