"""Feature vectors on the disk: one .npy that is mapped, not loaded, and what it was made from.

A folder of features holds
- features.npy   float32, images x dims, row by row in the order of images.csv
- images.csv     image (path below the image root), part, class
- record.json    written last: weights, mean, deploy net, blob, collection, hashes of all of them
While it is being made it lies beside its place as `<name>.part`, with progress.json, and a killed
extraction goes on from there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lib.errors import UserError
from lib.files import back_up, require_space, write_text

Vectors = NDArray[np.float32]

VECTORS, IMAGES, RECORD, PROGRESS = "features.npy", "images.csv", "record.json", "progress.json"
_OWN = {VECTORS, IMAGES, RECORD, PROGRESS, "kept.npy"}


class Item(NamedTuple):
    """One image of a collection. `part` (train, val, test) and `label` are empty where unknown."""

    image: str  # path below the collection's image root
    part: str = ""
    label: str = ""


@dataclass(frozen=True)
class Source:
    """What features are made from: a change of any of it makes them stale."""

    collection: str
    images_root: str
    images: str  # SHA-256 of the collection's images.csv and whatever its pixels depend on
    model: str
    weights: str  # SHA-256 of the .caffemodel
    deploy: str  # SHA-256 of the deploy.prototxt
    mean: str  # SHA-256 of the mean
    blob: str
    batch: int  # images a forward pass: other batches change the last bits
    transformation: str = ""  # how pixels become the input, where not by crop and mean alone


# Features stay good when their images move; other batches change the last bits only.
_EITHER = ("batch", "images_root")


class FeatureSet:
    """Features that are whole. `vectors` are mapped: reading a row touches that row alone."""

    def __init__(self, path: Path) -> None:
        """Open the features in folder `path`; UserError when there are none, or no whole ones."""
        self.path = path
        if not (path / RECORD).is_file():
            raise UserError(f"no features in {path}; `make features` makes them")
        try:
            self.record: dict[str, Any] = json.loads((path / RECORD).read_text(encoding="utf-8"))
            self.source = Source(**self.record["source"])
            with (path / IMAGES).open(encoding="utf-8", errors="surrogateescape", newline="") as f:
                self.items = [Item(**row) for row in csv.DictReader(f)]
            self.vectors: Vectors = np.load(path / VECTORS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"the features in {path} are damaged ({error}); delete it") from None
        if self.vectors.shape != (len(self.items), self.record["dims"]):
            raise UserError(f"the features in {path} do not fit their list of images; delete it")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def dims(self) -> int:
        """Numbers a vector."""
        return int(self.vectors.shape[1])

    @property
    def identity(self) -> str:
        """One word for what these features were made from."""
        return hashlib.sha256(json.dumps(asdict(self.source), sort_keys=True).encode()).hexdigest()

    def rows(self, part: str | None = None) -> NDArray[np.int64]:
        """The rows of a part, or all."""
        return np.array(
            [row for row, item in enumerate(self.items) if part is None or item.part == part],
            np.int64,
        )

    def check(self, now: Source) -> None:
        """Raise UserError, naming what differs, unless these features are those of `now`."""
        old, new = asdict(self.source), asdict(now)
        differing = [name for name in new if name not in _EITHER and old[name] != new[name]]
        if differing:
            words = {"images": "its images", "weights": "the weights", "mean": "the mean"}
            names = ", ".join(words.get(name, f"the {name}") for name in differing)
            raise UserError(
                f"{self.path} is stale: {names} changed since it was made; make the features again"
            )


def same_images(sets: Sequence[FeatureSet]) -> None:
    """Raise UserError unless all sets are of the same images, in the same order."""
    for other in sets[1:]:
        if other.source.images != sets[0].source.images:
            raise UserError(
                f"{sets[0].path} and {other.path} are features of different images; make both of "
                "one collection"
            )


def up_to_date(path: Path, source: Source) -> bool:
    """Whether `path` holds whole features made from `source`."""
    try:
        old, new = asdict(FeatureSet(path).source), asdict(source)
        return all(old[name] == new[name] for name in new if name != "images_root")
    except UserError:
        return False


class Writer:
    """Makes a folder of features, in whatever order its batches come; goes on after a kill."""

    def __init__(self, path: Path, source: Source, items: Sequence[Item], dims: int) -> None:
        """Begin at `path`, or go on where an extraction of the same `source` was left.

        Raises UserError when the disk has no room for it.
        """
        self.path = path
        self.source = source
        self.dims = dims
        self.batch = source.batch
        self._items = items
        self.batches = -(-len(items) // source.batch)
        self._aside = path.with_name(f".{path.name}.part")
        self._done: set[int] = set()  # batches in the file
        self.broken: dict[int, str] = {}  # rows of images that can't be read -> why
        file = self._aside / VECTORS
        if not self._resume():
            shutil.rmtree(self._aside, ignore_errors=True)
            self._aside.mkdir(parents=True)
            require_space(
                self._aside, len(items) * dims * 4, f"{len(items):,} vectors of {dims:,} numbers"
            )
            write_images(self._aside / IMAGES, items)
            empty = np.lib.format.open_memmap(
                file, mode="w+", dtype=np.float32, shape=(len(items), dims)
            )
            with file.open("r+b") as handle:  # claim the room now: a full disk kills a mapping
                os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
            del empty
            self._save_progress()
        self._vectors = np.lib.format.open_memmap(file, mode="r+")

    @property
    def missing(self) -> list[int]:
        """The batches that are not there yet."""
        return [number for number in range(self.batches) if number not in self._done]

    def put(self, number: int, values: Vectors, broken: dict[int, str] | None = None) -> None:
        """Write one batch: rows `number` x batch and the following, some of them `broken`."""
        self.broken.update(broken or {})
        start = number * self.batch
        self._vectors[start : start + len(values)] = values
        self._done.add(number)

    def save(self) -> None:
        """Bring what is there to the disk, so that a kill no longer loses it."""
        self._vectors.flush()
        self._save_progress()

    def finish(self, *, drop: Sequence[int] = (), **more: Any) -> FeatureSet:
        """Write the record and put the folder in its place, once every batch is there.

        The rows in `drop` are left out of it.
        """
        assert not self.missing
        if drop:
            self._drop(set(drop))
        self._vectors.flush()
        record = {"source": asdict(self.source), "dims": self.dims, **more}
        (self._aside / PROGRESS).unlink(missing_ok=True)
        write_text(self._aside / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        old = self.path.with_name(f".{self.path.name}.old")
        if self.path.exists():
            if old.exists():  # a call was killed in what follows
                _discard(old, self.path)
            self.path.rename(old)
        self._aside.rename(self.path)
        if old.exists():
            _discard(old, self.path)
        return FeatureSet(self.path)

    def _drop(self, rows: set[int]) -> None:
        """Close the gaps: once begun, a kill means beginning anew."""
        (self._aside / PROGRESS).unlink()
        kept = [row for row in range(len(self._items)) if row not in rows]
        if not kept:
            raise UserError(f"every image of {self.source.images_root} is broken")
        whole = self._aside / "kept.npy"
        vectors = np.lib.format.open_memmap(
            whole, mode="w+", dtype=np.float32, shape=(len(kept), self.dims)
        )
        for place, row in enumerate(kept):
            vectors[place] = self._vectors[row]
        self._vectors = vectors
        whole.replace(self._aside / VECTORS)
        write_images(self._aside / IMAGES, [self._items[row] for row in kept])

    def _resume(self) -> bool:
        try:
            progress = json.loads((self._aside / PROGRESS).read_text(encoding="utf-8"))
            if progress["source"] != asdict(self.source) or progress["dims"] != self.dims:
                return False
            self._done = set(progress["done"])
            self.broken = {int(row): why for row, why in progress["broken"].items()}
            return (self._aside / VECTORS).is_file()
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _save_progress(self) -> None:
        progress = {
            "source": asdict(self.source),
            "dims": self.dims,
            "done": sorted(self._done),
            "broken": self.broken,
        }
        write_text(self._aside / PROGRESS, json.dumps(progress))


def _discard(old: Path, new: Path) -> None:
    """Delete the features in `old`; whatever else lies there is moved to `new`."""
    for path in list(old.iterdir()):
        if path.name in _OWN or (path.name.startswith("index-") and path.is_dir()):
            continue
        if (new / path.name).exists():
            back_up(new / path.name)
        path.rename(new / path.name)
    shutil.rmtree(old)


def write_images(path: Path, items: Sequence[Item]) -> None:
    """Write images.csv; names that are not UTF-8 keep their bytes."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(Item._fields)
        writer.writerows(items)


def images_hash(items: Sequence[Item], *more: str) -> str:
    """One word for a list of images and whatever else (`more`) their pixels depend on."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(tuple(item)).encode("utf-8", "surrogateescape"))
    for word in more:
        digest.update(word.encode())
    return digest.hexdigest()
