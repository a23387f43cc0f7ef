"""Precision and average precision of retrieval: how often neighbours are of one kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from experiments.similarity.index import unit
from lib.errors import UserError

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Retrieval:
    """How well the neighbours of images are of their own kind. Means over the queries."""

    queries: int  # images with a label that at least one other image shares
    precision: dict[int, float]  # k -> precision@k
    mean_average_precision: float  # over the full ranking
    chance: float  # expected precision of a random ranking


def require(labels: NDArray[np.object_], ks: tuple[int, ...]) -> None:
    """Raise UserError for labels and ks that can't be scored: known before there are vectors."""
    counts = Counter(label for label in labels if label is not None)
    if max(counts.values(), default=0) < 2:
        raise UserError("no two images share a label: there is nothing to retrieve")
    if max(ks) >= counts.total():
        raise UserError(f"K={max(ks)}: only {counts.total()} images have a label")


def retrieval(vectors: Vectors, labels: NDArray[np.object_], ks: tuple[int, ...]) -> Retrieval:
    """Each labelled image asks for its neighbours among the other labelled ones.

    `labels` holds a text, or None where the label is unknown: such images take no part. Raises
    UserError when no two images share a label, or a k is as large as the collection.
    """
    require(labels, ks)
    known = np.array([label is not None for label in labels], bool)
    units = unit(vectors[known])
    _, numbers = np.unique(labels[known].astype(str), return_inverse=True)
    asking = np.flatnonzero(np.bincount(numbers)[numbers] > 1)
    hits = dict.fromkeys(ks, 0.0)
    averages = chances = 0.0
    for query in asking:
        scores = units @ units[query]
        scores = np.delete(scores, query)
        same = np.delete(numbers == numbers[query], query)
        order = np.argsort(-scores, kind="stable")[: max(ks)]
        for k in ks:
            hits[k] += same[order[:k]].mean()
        averages += average_precision_score(same, scores)
        chances += same.mean()
    return Retrieval(
        queries=len(asking),
        precision={k: float(hits[k] / len(asking)) for k in ks},
        mean_average_precision=float(averages / len(asking)),
        chance=float(chances / len(asking)),
    )
