"""Reads a task's LMDBs again and checks them against the lists, the classes and the mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
from google.protobuf.message import DecodeError

from datasets.decode import BrokenImageError, planes, read_picture
from datasets.folders import PARTS, DataFolder
from datasets.imagelist import Entry, read_classes, read_list
from datasets.mean import MeanSum, mean_bytes
from datasets.records import read_lmdb_record
from lib.caffe.messages import Datum
from lib.cli import bar
from lib.display import escaped
from lib.files import sha256
from prototxt.caffenet import IMAGE_SIZE

_BYTES = 3 * IMAGE_SIZE * IMAGE_SIZE


def verify_lmdbs(folder: DataFolder, root: Path | None = None, images: int = 0) -> list[str]:
    """What is wrong with a task's LMDBs and mean, a line each; an empty list if nothing is.

    Every record's key, label and size is compared with its list, and the mean with the train
    records, byte for byte. `images` of each part, evenly spread, are also decoded again from
    `root` and compared. Raises UserError if there is nothing to check.
    """
    classes = read_classes(folder.classes)
    record = read_lmdb_record(folder)
    hashes, left_out = record.lists, record.left_out
    problems = []
    if record.classes != sha256(folder.classes):
        problems.append(
            f"{folder.classes} has changed since the LMDBs were built: their labels may "
            "no longer mean these classes"
        )
    mean = MeanSum()
    for part in PARTS:
        path = folder.list(part)
        expected = read_list(path, len(classes))
        if hashes.get(part) != sha256(path):
            problems.append(f"{path} has changed since {folder.lmdb(part)} was built from it")
        expected = [entry for entry in expected if entry.path not in left_out.get(part, {})]
        step = max(1, len(expected) // images) if images else 0
        problems += _check_part(
            folder.lmdb(part), expected, root, step, mean if part == "train" else None
        )
    if not folder.mean.exists():
        problems.append(f"{folder.mean} is missing")
    elif mean.count and folder.mean.read_bytes() != mean_bytes(mean.mean()):
        problems.append(f"{folder.mean} is not the mean of {folder.lmdb('train')}")
    return problems


def _check_part(
    path: Path, expected: list[Entry], root: Path | None, step: int, mean: MeanSum | None
) -> Iterator[str]:
    try:
        env = lmdb.open(str(path), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        yield f"{path} cannot be opened: {str(error).rpartition(': ')[2]}"
        return
    wanted = iter(expected)
    found = 0
    with env, env.begin(buffers=True) as transaction:
        if transaction.stat()["entries"] != len(expected):
            yield (
                f"{path} has {transaction.stat()['entries']:,} records, its list gives "
                f"{len(expected):,}"
            )
        for key, value in bar(
            what=path.name,
            unit="image",
            total=transaction.stat()["entries"],
            items=transaction.cursor(),
        ):
            entry = next(wanted, None)
            if entry is None:
                break
            try:
                datum = Datum.FromString(value)
            except DecodeError:
                yield f"{path} record {found}: is no Datum"
                return
            problem = _check_record(bytes(key), datum, entry)
            if problem:
                yield f"{path} record {found}: {problem}"
                return
            if mean is not None:
                mean.add(datum.data)
            if root is not None and step and found % step == 0:
                problem = _check_picture(f"{root}/{entry.path}", datum.data)
                if problem:
                    yield f"{path} record {found}: {problem}"
            found += 1


def _check_record(key: bytes, datum: Any, entry: Entry) -> str:
    if key != entry.key:
        return f"key is {key!r}, the list gives {entry.key!r}"
    shape = (datum.channels, datum.height, datum.width)
    if shape != (3, IMAGE_SIZE, IMAGE_SIZE) or len(datum.data) != _BYTES or datum.encoded:
        return (
            f"holds {shape[0]} x {shape[1]} x {shape[2]} in {len(datum.data)} bytes, not 3 x "
            f"{IMAGE_SIZE} x {IMAGE_SIZE} in {_BYTES}"
        )
    if datum.label != entry.label:
        return f"label is {datum.label}, the list gives {entry.label} ({escaped(entry.path)})"
    return ""


def _check_picture(path: str, data: bytes) -> str:
    try:
        same = planes(read_picture(path)) == data
    except BrokenImageError as error:
        return f"{escaped(path)} can no longer be read: {error}"
    return "" if same else f"differs from what {escaped(path)} gives today"
