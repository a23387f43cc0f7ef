"""The records of a data folder, `lists.json` and `lmdb.json`: one schema, reader and writer each.

Both hold paths of images. In a path that is not UTF-8 the very bytes of the file's name are
written; in Python they are surrogates. A record once written is never changed: its hash is part of
every run's inputs, and new facts go into files beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from datasets.folders import PARTS, DataFolder, lists_command
from lib.errors import UserError
from lib.files import sha256, whole_file

_PROJECT = Path(__file__).resolve().parents[1]

T = TypeVar("T")


class ListsRecord(msgspec.Struct):
    """How the lists were made. Reading needs the first two only."""

    images_root: str  # what the lists' paths start from; relative to the project where it is inside
    sha256: dict[str, str]  # of classes.txt and the lists, by file name
    task: str = ""
    source: str = ""
    label: str = ""
    rule: dict[str, Any] = {}
    seed: int = 1
    split: str = "by_image"
    counts: dict[str, int] = {}  # images of each part
    classes: dict[str, dict[str, int]] = {}  # class -> part -> images
    left_out: dict[str, int] = {}  # reason -> rows of the catalogue
    warnings: list[dict[str, Any]] = []


_LISTS_ORDER = (
    *("task", "source", "label", "rule", "seed", "split", "images_root", "counts", "classes"),
    *("left_out", "warnings", "sha256"),
)


class LmdbRecord(msgspec.Struct):
    """What the LMDBs and the mean were built from."""

    lists: dict[str, str]  # part -> SHA-256 of its list
    classes: str  # SHA-256 of classes.txt
    images: dict[str, int]  # part -> records
    left_out: dict[str, dict[str, str]]  # part -> path of a broken image -> why
    mean: str  # SHA-256 of mean.binaryproto
    opencv: str = ""  # its version
    decoder_warnings: dict[str, str] = {}  # path -> what the decoder said
    size: list[int] = []


_LMDB_ORDER = (
    *("lists", "classes", "images", "left_out", "decoder_warnings", "mean", "size", "opencv"),
)


def read_lists_record(folder: DataFolder) -> ListsRecord:
    """`lists.json`. Raises UserError when it is missing or damaged."""
    if not folder.record.exists():
        raise UserError(f"no lists in {folder.path}; make them with: {lists_command(folder.path)}")
    try:
        return _read(folder.record, ListsRecord)
    except ValueError as error:
        raise UserError(
            f"{folder.record} is damaged ({error}); make the lists again with: "
            f"{lists_command(folder.path)}"
        ) from None


def check_lists(folder: DataFolder, record: ListsRecord) -> None:
    """Raise UserError unless every list is the one that the record was written with."""
    for name, known in record.sha256.items():
        path = folder.path / name
        if not path.exists() or sha256(path) != known:
            raise UserError(
                f"{path} is not the list that {folder.record} describes; make the lists again "
                f"with: {lists_command(folder.path)} FORCE=1"
            )


def images_root(folder: DataFolder) -> Path:
    """The folder that the paths in the lists start from. Raises UserError as `check_lists`."""
    record = read_lists_record(folder)
    check_lists(folder, record)
    return root_of(record)


def root_of(record: ListsRecord) -> Path:
    """The folder that the paths in a record's lists start from."""
    return _PROJECT / record.images_root


def written_root(images: Path) -> str:
    """How a record names the folder of images: relative to the project where it is inside."""
    whole = images.resolve() if images.exists() else images.absolute()
    return whole.relative_to(_PROJECT).as_posix() if whole.is_relative_to(_PROJECT) else str(whole)


def lists_bytes(record: ListsRecord) -> bytes:
    """The bytes of `lists.json`."""
    return _bytes(record, _LISTS_ORDER)


def read_lmdb_record(folder: DataFolder) -> LmdbRecord:
    """`lmdb.json`, whether the LMDBs are those of today's lists or not.

    Raises UserError when it is missing or damaged.
    """
    try:
        record = _read(folder.lmdb_record, LmdbRecord)
        if not all(part in each for each in (record.images, record.left_out) for part in PARTS):
            raise ValueError("a part is missing")
        return record
    except FileNotFoundError:
        raise UserError(
            f"no whole set of LMDBs in {folder.path} (lmdb.json is missing); `make lmdb` builds it"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{folder.lmdb_record} is damaged ({error}); `make lmdb` builds the LMDBs again"
        ) from None


def write_lmdb_record(folder: DataFolder, record: LmdbRecord) -> None:
    """Write `lmdb.json`, whole or not at all."""
    with whole_file(folder.lmdb_record) as aside:
        aside.write_bytes(lmdb_bytes(record))


def lmdb_bytes(record: LmdbRecord) -> bytes:
    """The bytes of `lmdb.json`."""
    return _bytes(record, _LMDB_ORDER)


def _read(path: Path, kind: type[T]) -> T:
    """A record of a JSON file. Raises ValueError with what is wrong."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        return msgspec.convert(json.loads(text), kind)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror) from None


def _bytes(record: msgspec.Struct, order: tuple[str, ...]) -> bytes:
    held = {name: getattr(record, name) for name in order}
    text = json.dumps(held, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogateescape")
