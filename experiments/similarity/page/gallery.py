"""What the page shows: one collection, its catalogue, and an index for each model."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.artworks import Artwork
from experiments.similarity.collection import Collection
from experiments.similarity.feature_models import Model
from experiments.similarity.feature_set import same_images
from experiments.similarity.index import Index
from experiments.similarity.neighbours import distance_text
from lib.errors import UserError

FILTERS = ("artist", "genre", "style")
_LISTED = 500  # images that one list shows at most


@dataclass(frozen=True)
class Cell:
    """The test images of one true and one predicted class."""

    images: list[dict[str, Any]]
    total: int


class Gallery:
    """The images by their rows: the only way in which a request can name one."""

    def __init__(
        self,
        collection: Collection,
        models: Sequence[Model],
        indexes: Sequence[Index],
        known: dict[str, Artwork],
    ) -> None:
        """Raises UserError when the models' features are not of the very same images."""
        sets = [index.features for index in indexes]
        same_images(sets)
        if any(each.items != sets[0].items for each in sets[1:]):
            raise UserError("the models' features leave out different images; extract them again")
        self.collection = collection
        self.models = {model.name: model for model in models}
        self.indexes = dict(zip(self.models, indexes, strict=True))
        self.items = sets[0].items
        self.known = known
        self.row_of = {item.image: row for row, item in enumerate(self.items)}
        self._collection_row = {item.image: row for row, item in enumerate(collection.items)}
        self._codes: dict[str, NDArray[np.int32]] = {}
        self._values: dict[str, list[str]] = {}
        for column in FILTERS:
            texts = [known.get(item.image, {}).get(column, "") for item in self.items]
            values, codes = np.unique(texts, return_inverse=True)
            self._values[column] = values.tolist()
            self._codes[column] = codes.astype(np.int32)
        self._texts = [" ".join(self._words(row)).casefold() for row in range(len(self.items))]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def filters(self) -> dict[str, list[tuple[str, int]]]:
        """For each column the values there are, with their counts."""
        found = {}
        for column in FILTERS:
            counts = np.bincount(self._codes[column], minlength=len(self._values[column]))
            pairs = zip(self._values[column], counts.tolist(), strict=True)
            found[column] = [(value, count) for value, count in pairs if value]
        return found

    def card(self, row: int) -> dict[str, Any]:
        """What is shown of one image."""
        item = self.items[row]
        known = self.known.get(item.image, {})
        return {"row": row, "name": item.image, "class": item.label, "part": item.part, **known}

    def mask(self, wanted: dict[str, str], text: str = "") -> NDArray[np.bool_] | None:
        """Which rows have the wanted values, and every word of the text; None: all."""
        if not any(wanted.values()) and not text.split():
            return None
        rows = np.ones(len(self), bool)
        for column, value in wanted.items():
            if value:
                values = self._values[column]
                place = int(np.searchsorted(values, value))
                if place == len(values) or values[place] != value:
                    return np.zeros(len(self), bool)
                rows &= self._codes[column] == place
        for word in text.casefold().split():
            rows &= np.fromiter((word in each for each in self._texts), bool, len(self))
        return rows

    def similar(
        self, model: str, vector: NDArray[np.float32], k: int, only: NDArray[np.bool_] | None
    ) -> list[dict[str, Any]]:
        """The `k` nearest images, or as many as there are."""
        there = len(self) if only is None else int(only.sum())
        if not there:
            return []
        found = self.indexes[model].search(vector, min(k, there), only)
        pairs = zip(found.rows[0].tolist(), found.distances[0].tolist(), strict=True)
        return [
            {**self.card(row), "distance": float(distance_text(far))}
            for row, far in pairs
            if row >= 0
        ]

    def pick(self, mask: NDArray[np.bool_] | None, count: int, seed: int) -> list[dict[str, Any]]:
        """Some images of those in the mask, chosen by a seed."""
        rows = np.arange(len(self)) if mask is None else np.flatnonzero(mask)
        random = np.random.default_rng(seed)
        chosen = random.choice(rows, min(count, len(rows)), replace=False)
        return [self.card(int(row)) for row in chosen]

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """The net's pixels (1, 3, 256, 256) of an image; UserError when it can't be read."""
        place = self._collection_row[self.items[row].image]
        batch = next(iter(self.collection.subset([place]).batches([0], 1, 1)))
        for why in batch.broken.values():
            raise UserError(f"{self.items[row].image}: {why}")
        return batch.pixels

    # ---- Test images by true and predicted class -------------------------------------------------

    @property
    def tested(self) -> list[str]:
        """The models that are runs with predictions."""
        return [
            name
            for name, model in self.models.items()
            if model.run and (model.run.path / "predictions.csv").is_file()
        ]

    def confusion(self, model: str) -> tuple[list[str], list[list[int]]]:
        """Classes and counts, true by predicted; UserError when the run is not tested."""
        rows = self._predictions(model)
        classes = sorted({row["true"] for row in rows} | {row["class1"] for row in rows})
        number = {name: place for place, name in enumerate(classes)}
        counts = np.zeros((len(classes), len(classes)), int)
        for row in rows:
            counts[number[row["true"]], number[row["class1"]]] += 1
        return classes, counts.tolist()

    def cell(self, model: str, true: str, predicted: str) -> Cell:
        """The test images of one cell; an image outside the collection has no row."""
        found = [
            row
            for row in self._predictions(model)
            if row["true"] == true and row["class1"] == predicted
        ]
        images = []
        for each in found[:_LISTED]:
            row = self.row_of.get(each["image"])
            card = {"row": None, "name": each["image"]} if row is None else self.card(row)
            images.append({**card, "probability": float(each["probability1"])})
        return Cell(images, len(found))

    def _predictions(self, model: str) -> list[dict[str, str]]:
        run = self.models[model].run
        path = run.path / "predictions.csv" if run else None
        if path is None or not path.is_file():
            raise UserError(f"{model} has no predictions: it is no run, or not tested yet")
        return _read_predictions(str(path), path.stat().st_mtime_ns)

    def _words(self, row: int) -> list[str]:
        item = self.items[row]
        return [item.image, item.label, *self.known.get(item.image, {}).values()]


@lru_cache(maxsize=8)
def _read_predictions(path: str, _modified: int) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:  # noqa: PTH123 - the cache's key
        return list(csv.DictReader(handle))
