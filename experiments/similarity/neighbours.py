"""The images nearest to a vector, and the features and indexes that they are looked up in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.artworks import Artwork
from experiments.similarity.collection import Collection
from experiments.similarity.feature_models import Model
from experiments.similarity.feature_set import FeatureSet, Item
from experiments.similarity.index import Index, build, check_index, unit
from lib.cli import bar
from lib.errors import UserError
from lib.files import readable

# Below this mean distance between a model's images, its features hardly tell them apart. The
# paper's models have the 1,000 nearest images of most queries within 0.4 (section 5.4), and most
# pairs lie farther apart than that: the bound is an eighth of it.
COLLAPSED = 0.05
_PAIRS_OF = 500  # rows that the mean distance is measured with


@dataclass(frozen=True)
class Neighbour:
    """One image found."""

    rank: int
    distance: float
    image: str
    label: str
    part: str
    known: Artwork


def open_features(model: Model, collection: Collection, blob: str | None = None) -> FeatureSet:
    """A model's features of a collection. Raises UserError when they are missing or stale."""
    path = model.features(collection, blob)
    if not path.is_dir():
        what = f"TASK={collection.task}" if collection.task else f"IMAGES={collection.root}"
        what += "" if blob in (None, model.blob) else f" BLOB={blob}"
        raise UserError(
            f"no features of {collection.name} by {model.name} yet: "
            f"make features WEIGHTS={model.name} {what}"
        )
    features = FeatureSet(path)
    features.check(model.source(collection, blob))
    return features


def check_indexes(word: str, sets: list[FeatureSet]) -> None:
    """Raise UserError when the index does not fit one of these: before any is built."""
    for features in sets:
        check_index(word, len(features), features.dims)


def open_index(features: FeatureSet, word: str) -> Index:
    """The index of a word, with a bar while it is built; prints the recall of an inexact one."""
    with bar(what=f"{word} index", unit="image", total=len(features)) as progress:
        index = build(features, word, lambda done: _to(progress, done))
    if index.record["factory"] != "Flat":
        print(
            f"{word} index ({index.record['factory']}) of {features.source.model}: recall@10 "
            f"{index.record['recall']:.3f} against the exact search "
            f"({index.record['recall_queries']} queries), built in "
            f"{index.record['seconds']:.1f} s, {readable(index.record['bytes'])}"
        )
    if note := collapsed(features):
        print(f"warning: {note}")
    return index


def collapsed(features: FeatureSet) -> str:
    """A warning when a model's features barely differ from image to image; "" when they do."""
    count = min(_PAIRS_OF, len(features))
    if count < 2:
        return ""
    rows = np.sort(np.random.default_rng(1).choice(len(features), count, replace=False))
    units = unit(features.vectors[rows]).astype(float)
    mean = 1 - ((units.sum(axis=0) ** 2).sum() - (units**2).sum()) / (count * (count - 1))
    if mean >= COLLAPSED:
        return ""
    return (
        f"the features of {features.source.model} barely differ: the mean distance between its "
        f"images is {distance_text(mean)}, below {COLLAPSED} (a trained net has a multiple of "
        "that: the paper's nearest 1,000 reach up to 0.4); its neighbours say little, train it "
        "longer"
    )


def neighbours(
    index: Index,
    vector: NDArray[np.float32],
    k: int,
    known: dict[str, Artwork],
    without: int | None = None,
) -> list[Neighbour]:
    """The `k` nearest images to a vector, one row of the collection left out if asked for."""
    found = index.search(vector, min(len(index), k + (without is not None)))
    rows = [
        (int(row), float(distance))
        for row, distance in zip(found.rows[0], found.distances[0], strict=True)
        if row >= 0 and row != without
    ][:k]
    return [
        neighbour(rank, distance, index.features.items[row], known)
        for rank, (row, distance) in enumerate(rows, start=1)
    ]


def neighbour(rank: int, distance: float, item: Item, known: dict[str, Artwork]) -> Neighbour:
    """One image found, with what is known of it."""
    return Neighbour(rank, distance, item.image, item.label, item.part, known.get(item.image, {}))


def distance_text(distance: float) -> str:
    """A distance in three significant digits: 0.412, 0.00153."""
    if distance < 1e-6:  # the rounding of the products
        return "0"
    return np.format_float_positional(distance, precision=3, fractional=False, trim="-")


def _to(progress: object, done: int) -> None:
    progress.update(done - progress.n)  # type: ignore[attr-defined]
