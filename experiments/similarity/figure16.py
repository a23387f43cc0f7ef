"""Figure 16: how far apart the same images lie in the features of differently trained models.

100 images are chosen at random, with a seed (paper, section 5.4); for every two models the cosine
distance between their fc7 features of an image is taken, and its mean over the images. The diagonal
is 0. The mean distance between different images within one model is written beside it. Of the
paper's remark, "for most input images, the first 1000 most similar images have a distance smaller
than 0.4", the share of neighbours nearer than 0.4 is measured, for the models whose features of the
whole collection are there.
"""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.similarity.choose_collection import CollectionChoice
from experiments.similarity.collection import Collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_distances import (
    distance_between,
    distance_within,
    neighbours_within,
)
from experiments.similarity.feature_models import BATCH, FEATURES, Model, find_model
from experiments.similarity.neighbours import distance_text, open_features
from lib.caffe.device import Device
from lib.errors import UserError
from lib.files import whole_file

_NEAR = 0.4  # the paper's
_FIRST = 1000  # the paper's


@dataclass(frozen=True)
class Remark:
    """The paper's remark, measured for one model."""

    first: int  # neighbours looked at: 1000, or all others where there are fewer
    share: float  # of them nearer than 0.4, mean over the queries
    most: float  # share of the queries whose first neighbours are all nearer than 0.4


@dataclass(frozen=True)
class Figure16:
    """What was measured, one entry per model, and the files that show it."""

    names: list[str]
    distances: NDArray[np.float64]  # models x models
    within: list[float]  # mean distance between different images of one model
    remarks: list[Remark | None]
    table: Path
    drawing: Path


def make_figure16(
    words: Sequence[str],
    choice: CollectionChoice,
    pick: Callable[[], Device],
    *,
    count: int = 100,
    seed: int = 1,
    out: Path | None = None,
) -> Figure16:
    """Measure the distances of `count` images between the models, write `out`.csv and `out`.png.

    `pick` gives the device once all else is known to be right. Raises UserError for fewer than two
    models, or images that are not there.
    """
    models = list({(each := find_model(word)).name: each for word in words}.values())
    if len(models) < 2:
        raise UserError("Figure 16 compares models: name two or more with MODELS=")
    collection = choice.open()
    rows = sample(len(collection.items), count, seed)
    chosen = collection.subset(rows)
    with Extractor(pick()) as extractor:
        vectors = [features_of(chosen, model, extractor) for model in models]
    out = out or FEATURES / collection.name / "fig16"
    made = Figure16(
        names=[model.name for model in models],
        distances=distances(vectors),
        within=[distance_within(each) for each in vectors],
        remarks=[remark(model, collection, rows) for model in models],
        table=out.with_name(out.name + ".csv"),
        drawing=out.with_name(out.name + ".png"),
    )
    _write(made, len(rows), seed)
    blobs = " and ".join(dict.fromkeys(model.blob for model in models))
    title = f"Mean cosine distance of {blobs}, {len(rows)} images of {collection.name}"
    draw(made.names, made.distances, made.drawing, title)
    return made


def sample(count: int, size: int, seed: int) -> list[int]:
    """`size` of `count` rows, each once, in order; UserError when there are not so many."""
    if not 2 <= size <= count:
        raise UserError(f"{size} images can't be chosen of {count}: 2 to {count}")
    return sorted(
        int(row) for row in np.random.default_rng(seed).choice(count, size, replace=False)
    )


def features_of(chosen: Collection, model: Model, extractor: Extractor) -> NDArray[np.float32]:
    """What the classifier sees of a few images. Raises UserError when one of them is broken."""
    found = []
    for batch in chosen.batches(range(-(-len(chosen.items) // BATCH)), BATCH, 1):
        for row, why in batch.broken.items():
            raise UserError(f"{chosen.root / chosen.items[row].image}: {why}")
        found.append(extractor.vectors(model, model.blob, batch.pixels))
    return np.concatenate(found)


def distances(vectors: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The symmetric matrix of mean distances, models x models. All must be of one size."""
    if len({each.shape for each in vectors}) > 1:
        raise UserError("the models' features differ in size: no distance between them is defined")
    matrix = np.zeros((len(vectors), len(vectors)))
    for one in range(len(vectors)):
        for other in range(one):
            matrix[one, other] = matrix[other, one] = distance_between(vectors[one], vectors[other])
    return matrix


def remark(model: Model, collection: Collection, rows: list[int]) -> Remark | None:
    """The remark, with the chosen rows as queries; None when the collection has no features."""
    try:
        features = open_features(model, collection)
    except UserError:
        return None
    first = min(_FIRST, len(features) - 1)
    queries = np.array([row for row in rows if row < len(features)], np.int64)
    near = neighbours_within(np.array(features.vectors), queries, first) < _NEAR
    return Remark(first, float(near.mean()), float(near.all(axis=1).mean()))


def draw(names: list[str], matrix: NDArray[np.float64], path: Path, title: str) -> None:
    """Draw the matrix in the paper's form, as PNG."""
    side = 2.2 + 0.75 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=max(matrix.max(), 1e-6))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title("\n".join(textwrap.wrap(title, round(9 * side))), fontsize=9)
    for (row, column), value in np.ndenumerate(matrix):
        colour = "white" if value < 0.6 * matrix.max() else "black"
        axes.text(
            column,
            row,
            distance_text(float(f"{value:.2g}")),
            ha="center",
            va="center",
            color=colour,
            fontsize=8,
        )
    figure.colorbar(image, ax=axes, shrink=0.7, label="mean cosine distance")
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=150, format="png")


def remark_words(measured: Remark | None) -> str:
    """The paper's remark in words, for a terminal."""
    if measured is None:
        return "no features of the whole collection: the paper's remark can't be checked"
    return (
        f"of the first {measured.first:,} neighbours {measured.share:.1%} lie nearer than {_NEAR}, "
        f"all of them for {measured.most:.0%} of the images"
    )


def _write(made: Figure16, images: int, seed: int) -> None:
    with whole_file(made.table) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        more = ["within the model", "first neighbours", f"share nearer than {_NEAR}"]
        writer.writerow(["model", *made.names, *more, "queries with all nearer", "images", "seed"])
        rows = zip(made.names, made.distances, made.within, made.remarks, strict=True)
        for name, row, inside, each in rows:
            tail = [each.first, f"{each.share:.6f}", f"{each.most:.6f}"] if each else ["", "", ""]
            cells = [f"{value:.6g}" for value in row]
            writer.writerow([name, *cells, f"{inside:.6g}", *tail, images, seed])
