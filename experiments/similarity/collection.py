"""A collection of images whose features are taken: a task's LMDBs, or a folder of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from datasets.build import lmdb_record
from datasets.catalogue import images_root as raw_images
from datasets.folders import PARTS, DataFolder
from datasets.image_files import images_below
from datasets.imagelist import read_classes, read_list
from datasets.parallel import decode_all
from datasets.records import images_root
from datasets.tasks import load_tasks
from experiments.similarity.feature_set import Item, images_hash
from lib.caffe.messages import Datum
from lib.errors import UserError
from prototxt.caffenet import IMAGE_SIZE

Pixels = NDArray[np.uint8]  # images x 3 x 256 x 256, BGR, as in an LMDB


@dataclass(frozen=True)
class Batch:
    """Some consecutive images of a collection."""

    number: int
    pixels: Pixels  # black where an image is broken
    broken: dict[int, str]  # row in the collection -> why


@dataclass(frozen=True)
class Collection:
    """Images in a fixed order. `root` is what their paths start from."""

    name: str
    root: Path
    items: tuple[Item, ...]
    fingerprint: str  # changes when the images do
    task: str | None = None
    data: DataFolder | None = None  # with LMDBs; None: the files are decoded
    keys: tuple[bytes, ...] = ()  # of the LMDBs' records

    def batches(self, numbers: Sequence[int], size: int, workers: int) -> Iterator[Batch]:
        """The batches of these numbers, `size` images each. Few are in memory at a time.

        Raises UserError when an LMDB lacks a record.
        """
        rows = [range(n * size, min((n + 1) * size, len(self.items))) for n in numbers]
        if self.data:
            yield from self._from_lmdbs(numbers, rows)
        else:
            yield from self._from_files(numbers, rows, workers)

    def subset(self, rows: Sequence[int]) -> Collection:
        """Only these rows."""
        items = tuple(self.items[row] for row in rows)
        return replace(
            self,
            items=items,
            keys=tuple(self.keys[row] for row in rows) if self.keys else (),
            fingerprint=images_hash(items, self.fingerprint),
        )

    def stored_picture(self, image: str) -> NDArray[np.uint8] | None:
        """The 256 x 256 picture of an image in the LMDBs, RGB; None for a folder's images."""
        if self.data is None:
            return None
        row = self._row_of[image]
        (batch,) = self.subset([row]).batches([0], 1, 1)
        return np.ascontiguousarray(batch.pixels[0, ::-1].transpose(1, 2, 0))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item.image: row for row, item in enumerate(self.items)}

    def _from_lmdbs(self, numbers: Sequence[int], rows: Sequence[range]) -> Iterator[Batch]:
        assert self.data is not None
        with ExitStack() as stack:
            readers = {}
            for part in {item.part for item in self.items}:
                env = lmdb.open(str(self.data.lmdb(part)), readonly=True, lock=False)
                readers[part] = stack.enter_context(stack.enter_context(env).begin())
            for number, some in zip(numbers, rows, strict=True):
                pixels = np.empty((len(some), 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
                for place, row in enumerate(some):
                    part = self.items[row].part
                    value = readers[part].get(self.keys[row])
                    if value is None:
                        raise UserError(
                            f"{self.data.lmdb(part)} has no record {self.keys[row].decode()!r}: it "
                            "is not that of today's list; make the LMDBs again with FORCE=1"
                        )
                    datum = Datum()
                    datum.ParseFromString(value)
                    pixels[place] = np.frombuffer(datum.data, np.uint8).reshape(pixels.shape[1:])
                yield Batch(number, pixels, {})

    def _from_files(
        self, numbers: Sequence[int], rows: Sequence[range], workers: int
    ) -> Iterator[Batch]:
        paths = [f"{self.root}/{self.items[row].image}" for some in rows for row in some]
        images = decode_all(paths, workers)
        try:
            for number, some in zip(numbers, rows, strict=True):
                pixels = np.zeros((len(some), 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
                broken = {}
                for place, row in enumerate(some):
                    image = next(images)
                    if image.broken:
                        broken[row] = image.broken
                    else:
                        flat = np.frombuffer(image.data, np.uint8)
                        pixels[place] = flat.reshape(pixels.shape[1:])
                yield Batch(number, pixels, broken)
        finally:
            images.close()


def task_collection(
    data: DataFolder, parts: Sequence[str] = PARTS, raw: Path | None = None
) -> Collection:
    """The images in a task's LMDBs, part after part, in the order of their lists.

    `raw`: where the images are looked for when they are no longer where the lists say. Raises
    UserError when the LMDBs are not there or not those of today's lists.
    """
    record = lmdb_record(data)
    if record is None:
        raise UserError(
            f"{data.path} has no LMDBs, or not those of its lists: "
            "`make lmdb TASK=<task>` makes them"
        )
    classes = read_classes(data.classes)
    items, keys = [], []
    for part in parts:
        for entry in read_list(data.list(part), len(classes)):
            if entry.path not in record.left_out[part]:
                items.append(Item(entry.path, part, classes[entry.label]))
                keys.append(entry.key)
    root = images_root(data)
    word = data.path.name.split("-")[0]
    task = load_tasks().get(word)
    if task and raw and not root.is_dir() and (moved := raw_images(task, raw)).is_dir():
        root = moved
    name = data.path.name + ("" if tuple(parts) == PARTS else "-" + "+".join(parts))
    return Collection(
        name=name,
        root=root,
        items=tuple(items),
        # The mean is that of the train images: it changes when the LMDBs are of other pictures.
        fingerprint=images_hash(items, record.mean, record.opencv),
        task=word,
        data=data,
        keys=tuple(keys),
    )


def folder_collection(folder: Path) -> Collection:
    """All images below a folder, sorted by path.

    Raises UserError when there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: IMAGES= names a folder of images")
    items = [Item(path) for path in images_below(folder)]
    if not items:
        raise UserError(f"{folder} holds no images: there is nothing to take features of")
    stamps = []
    for item in items:
        there = (folder / item.image).stat()
        stamps.append(f"{there.st_size} {there.st_mtime_ns}")
    place = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return Collection(
        name=f"{folder.resolve().name}-{place[:8]}",
        root=folder,
        items=tuple(items),
        fingerprint=images_hash(items, *stamps),
    )
