"""Reads a task's LMDBs again and checks them against the lists, the classes and the mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from datasets.checksums import Checksums, crc32, read_checksums, write_checksums
from datasets.decode import BrokenImageError, planes, read_picture
from datasets.folders import PARTS, DataFolder
from datasets.imagelist import Entry, read_classes, read_list
from datasets.lmdb_pages import DamagedLmdbError, LmdbFile
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

    Every record's checksum, key, label and size is compared with its list, and the mean with the
    train records, byte for byte. `images` of each part, evenly spread, are also decoded again from
    `root` and compared. LMDBs that have no checksums yet get them when nothing is wrong.
    Raises UserError if there is nothing to check.
    """
    classes = read_classes(folder.classes)
    record = read_lmdb_record(folder)
    problems = []
    if record.classes != sha256(folder.classes):
        problems.append(
            f"{folder.classes} has changed since the LMDBs were built: their labels may "
            "no longer mean these classes"
        )
    known = read_checksums(folder)
    mean = MeanSum()
    made = {}
    for part in PARTS:
        path = folder.list(part)
        expected = read_list(path, len(classes))
        if record.lists.get(part) != sha256(path):
            problems.append(f"{path} has changed since {folder.lmdb(part)} was built from it")
        expected = [entry for entry in expected if entry.path not in record.left_out[part]]
        step = max(1, len(expected) // images) if images else 0
        reading = _Part(folder.lmdb(part), expected, known.get(part))
        problems += reading.check(root, step, mean if part == "train" else None)
        made[part] = Checksums(reading.size, "".join(reading.sums))
    if not folder.mean.exists():
        problems.append(f"{folder.mean} is missing")
    elif mean.count and folder.mean.read_bytes() != mean_bytes(mean.mean()):
        problems.append(f"{folder.mean} is not the mean of {folder.lmdb('train')}")
    if not problems and not known:
        write_checksums(folder, made, sha256(folder.lmdb_record))
    return problems


class _Part:
    """The reading of one LMDB. It goes on behind what is wrong, as far as the file can be read."""

    def __init__(self, path: Path, expected: list[Entry], known: Checksums | None) -> None:
        self.size = 0
        self.sums: list[str] = []
        self._path = path
        self._expected = expected
        self._known = known

    def check(self, root: Path | None, step: int, mean: MeanSum | None) -> Iterator[str]:
        """What is wrong, a line each; the train records are added to `mean`."""
        path, expected, known = self._path, self._expected, self._known
        try:
            with LmdbFile(path / "data.mdb") as file:
                self.size = file.size
                if known and known.size != file.size:
                    yield f"{path} has {file.size:,} bytes, {known.size:,} were written"
                if file.records != len(expected):
                    yield f"{path} has {file.records:,} records, its list gives {len(expected):,}"
                rows = zip(file.scan(), expected, strict=False)
                total = min(file.records, len(expected))
                for found, (record, entry) in enumerate(
                    bar(what=path.name, unit="image", total=total, items=rows)
                ):
                    value = file.value(record)
                    self.sums.append(crc32(value))
                    if known and self.sums[-1] != known.of(found):
                        yield (
                            f"{path} record {found}: its checksum is not that of what was written "
                            f"({escaped(entry.path)})"
                        )
                    try:
                        datum = Datum.FromString(value)
                    except DecodeError:
                        yield f"{path} record {found}: is no Datum"
                        continue
                    if problem := _check_record(record.key, datum, entry):
                        yield f"{path} record {found}: {problem}"
                        continue
                    if mean is not None:
                        mean.add(datum.data)
                    if root is not None and step and found % step == 0:
                        problem = _check_picture(f"{root}/{entry.path}", datum.data)
                        if problem:
                            yield f"{path} record {found}: {problem}"
        except DamagedLmdbError as error:
            yield f"{path} is damaged: {error}"


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
