"""How far features lie apart: between models, and within one (Figure 16)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.feature_set import Vectors
from experiments.similarity.index import unit


def distance_between(first: Vectors, second: Vectors) -> float:
    """The mean cosine distance between two models' features, image by image (Figure 16)."""
    return float(1 - (unit(first).astype(float) * unit(second)).sum(axis=1).mean())


def distance_within(vectors: Vectors) -> float:
    """The mean cosine distance between every two different images of one model."""
    units = unit(vectors).astype(float)
    count = len(units)
    products = units @ units.T
    return float(1 - (products.sum() - np.trace(products)) / (count * (count - 1)))


def neighbours_within(
    vectors: Vectors, queries: NDArray[np.int64], most: int
) -> NDArray[np.float64]:
    """The distances of each query row to its `most` nearest other rows, ascending."""
    units = unit(vectors)
    found = []
    for row in queries:
        distances = np.delete(1 - (units @ units[row]).astype(float), row)
        found.append(np.sort(np.partition(distances, most - 1)[:most]))
    return np.array(found)
