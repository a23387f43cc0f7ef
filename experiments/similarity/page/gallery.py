"""What the page shows: one collection, its catalogue, and an index for each model."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.artworks import Artwork, known_columns
from experiments.similarity.collection import Collection
from experiments.similarity.feature_models import Model
from experiments.similarity.feature_set import same_images
from experiments.similarity.index import Index
from experiments.similarity.neighbours import collapsed, distance_text
from lib.errors import UserError, unknown

_LISTED = 500  # images that one list shows at most
# Columns that tell works apart, or say little to choose by.
_NO_FILTERS = ("title", "date", "inventory", "record")
_MOST_VALUES = 5000  # of a filter

Card = dict[str, Any]


def shown_name(text: str) -> str:
    """A name as a page can show and ask for it: bytes that are not UTF-8 are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def folded(text: str) -> str:
    """A text without accents and capitals, to be searched: 'Cézanne' is 'cezanne'."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(each for each in parts if not unicodedata.combining(each)).casefold()


@dataclass(frozen=True)
class Cell:
    """The test images of one true and one predicted class."""

    images: list[Card]
    total: int


class _Column:
    """One column that can be filtered by: the values there are, and each row's."""

    def __init__(self, texts: list[str]) -> None:
        values, codes = np.unique(texts, return_inverse=True)
        self.values: list[str] = values.tolist()
        self.codes: NDArray[np.int32] = codes.astype(np.int32)

    @property
    def useful(self) -> bool:
        """Whether it groups the works: more than one value, and fewer than works."""
        there = len([value for value in self.values if value])
        return 1 < there <= _MOST_VALUES and there < 0.7 * int((self.codes >= 0).sum())

    def counted(self) -> list[tuple[str, int]]:
        """The values with their counts."""
        counts = np.bincount(self.codes, minlength=len(self.values)).tolist()
        return [(v, n) for v, n in zip(self.values, counts, strict=True) if v]

    def mask(self, value: str) -> NDArray[np.bool_]:
        """The rows with this value."""
        place = int(np.searchsorted(self.values, value))
        if place == len(self.values) or self.values[place] != value:
            return np.zeros(len(self.codes), bool)
        return self.codes == place


class Gallery:
    """The images of one collection, their labels, and each model's index over them."""

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
        self.name = shown_name(collection.name)
        self.models = {model.name: model for model in models}
        self.indexes = dict(zip(self.models, indexes, strict=True))
        self.items = sets[0].items
        self.known = known
        self.row_of = {item.image: row for row, item in enumerate(self.items)}
        self._named = {shown_name(item.image): row for row, item in enumerate(self.items)}
        self._collection_row = {item.image: row for row, item in enumerate(collection.items)}
        self._columns = self._find_columns()
        self._texts = [folded(" ".join(self._words(row))) for row in range(len(self.items))]
        self.notes = [note for each in sets if (note := collapsed(each))]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def short_names(self) -> dict[str, str]:
        """Model -> the part of its name that tells it apart: the run's, where it is enough."""
        runs = {name: name.rpartition("/")[2] for name in self.models}
        counts = Counter(runs.values())
        return {name: run if counts[run] == 1 else name for name, run in runs.items()}

    @property
    def filters(self) -> dict[str, list[tuple[str, int]]]:
        """For each column that can be filtered by, its values with their counts."""
        return {name: column.counted() for name, column in self._columns.items()}

    def row_named(self, name: str) -> int | None:
        """The row of the image that is shown under this name."""
        return self._named.get(name)

    def card(self, row: int) -> Card:
        """What is shown of one image."""
        item = self.items[row]
        known = {column: shown_name(text) for column, text in self._known(row).items()}
        return {
            "row": row,
            "name": shown_name(item.image),
            "class": shown_name(item.label),
            "part": item.part,
            **known,
        }

    def mask(self, wanted: dict[str, str], text: str = "") -> NDArray[np.bool_] | None:
        """Which rows have the wanted values, and every word of the text; None: all.

        Raises UserError for a column that can't be filtered by.
        """
        if not any(wanted.values()) and not text.split():
            return None
        rows = np.ones(len(self), bool)
        for column, value in wanted.items():
            if column not in self._columns:
                raise unknown("filter", column, self._columns)
            if value:
                rows &= self._columns[column].mask(value)
        for word in folded(text).split():
            rows &= np.fromiter((word in each for each in self._texts), bool, len(self))
        return rows

    def similar(
        self,
        model: str,
        vector: NDArray[np.float32],
        k: int,
        only: NDArray[np.bool_] | None,
        own: int | None = None,
    ) -> list[Card]:
        """The `k` nearest images, or as many as there are, the row `own` left out."""
        if only is not None and own is not None and only[own]:
            only = only.copy()
            only[own] = False
            own = None
        there = len(self) if only is None else int(only.sum())
        more = int(only is None and own is not None)
        if there - more < 1:
            return []
        found = self.indexes[model].search(vector, min(k + more, there), only)
        pairs = zip(found.rows[0].tolist(), found.distances[0].tolist(), strict=True)
        return [
            {**self.card(row), "distance": float(distance_text(far))}
            for row, far in pairs
            if row >= 0 and row != own
        ][:k]

    def pick(self, mask: NDArray[np.bool_] | None, count: int, seed: int) -> list[Card]:
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
            card: Card = (
                {"row": None, "name": shown_name(each["image"])} if row is None else self.card(row)
            )
            images.append({**card, "probability": float(each["probability1"])})
        return Cell(images, len(found))

    def _predictions(self, model: str) -> list[dict[str, str]]:
        run = self.models[model].run
        path = run.path / "predictions.csv" if run else None
        if path is None or not path.is_file():
            raise UserError(f"{model} has no predictions: it is no run, or not tested yet")
        return _read_predictions(str(path), path.stat().st_mtime_ns)

    def _known(self, row: int) -> Artwork:
        return self.known.get(self.items[row].image, {})

    def _words(self, row: int) -> list[str]:
        item = self.items[row]
        return [item.image, item.label, *self._known(row).values()]

    def _find_columns(self) -> dict[str, _Column]:
        names = [name for name in known_columns(self.known) if name not in _NO_FILTERS]
        columns = {
            name: _Column([shown_name(self._known(row).get(name, "")) for row in range(len(self))])
            for name in names
        }
        classes = _Column([shown_name(item.label) for item in self.items])
        if not any(each.values == classes.values for each in columns.values()):
            columns["class"] = classes
        columns["part"] = _Column([item.part for item in self.items])
        return {name: column for name, column in columns.items() if column.useful}


@lru_cache(maxsize=8)
def _read_predictions(path: str, _modified: int) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:  # noqa: PTH123 - the cache's key
        return list(csv.DictReader(handle))
