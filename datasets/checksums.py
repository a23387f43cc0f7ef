"""Whether a task's LMDBs are still what was written: size, page structure, and every pixel.

`lmdb_checksums.json` lies beside `lmdb.json` and holds the CRC-32 of each record and the size of
each LMDB. LMDBs of before have none: `make verify-lmdb` makes it, after checking them.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from datasets.folders import PARTS, DataFolder
from datasets.lmdb_pages import DamagedLmdbError, LmdbFile
from datasets.records import read_lmdb_record
from lib.display import escaped
from lib.errors import UserError
from lib.files import sha256, write_text

_SAMPLE = 16  # records of each LMDB whose pixels are checked at each use


class Checksums(msgspec.Struct):
    """The checksums of one LMDB."""

    size: int  # bytes of data.mdb
    crc32: str  # of the records' values in the order of their keys, 8 hexadecimal digits each

    def of(self, row: int) -> str:
        """The checksum of a record, counted from 0."""
        return self.crc32[8 * row : 8 * row + 8]


class _File(msgspec.Struct):
    lmdb_json: str  # SHA-256 of the lmdb.json that these belong to
    parts: dict[str, Checksums]


def crc32(value: bytes | memoryview) -> str:
    """The checksum of a record's value."""
    return f"{zlib.crc32(value):08x}"


def write_checksums(folder: DataFolder, parts: dict[str, Checksums], lmdb_json: str) -> None:
    """Write `lmdb_checksums.json`; `lmdb_json` is the SHA-256 of the record it belongs to."""
    held = {"lmdb_json": lmdb_json, "parts": msgspec.to_builtins(parts)}
    write_text(folder.checksums, json.dumps(held, indent=1) + "\n")


def read_checksums(folder: DataFolder) -> dict[str, Checksums]:
    """The checksums of each part; empty where there are none, or none of today's LMDBs."""
    try:
        held = msgspec.json.decode(folder.checksums.read_bytes(), type=_File)
        return held.parts if held.lmdb_json == sha256(folder.lmdb_record) else {}
    except (OSError, ValueError):
        return {}


def quick_check(folder: DataFolder, part: str) -> str:
    """What is wrong with an LMDB, looked at in less than a second; "" if nothing is found.

    Size, the pages of the tree, the number of records, and the pixels of a few.
    """
    try:
        expected = read_lmdb_record(folder).images.get(part)
        sums = read_checksums(folder).get(part)
        with LmdbFile(folder.lmdb(part) / "data.mdb") as file:
            if sums and file.size != sums.size:
                return f"it has {file.size:,} bytes, {sums.size:,} were written"
            if expected != file.records:
                return f"it has {file.records:,} records, {expected} were written"
            step = max(1, file.records // _SAMPLE)
            for row, record in enumerate(file.scan()):
                if sums and row % step == 0 and crc32(file.value(record)) != sums.of(row):
                    return _changed(row, record.key)
    except DamagedLmdbError as error:
        return str(error)
    return ""


def full_check(folder: DataFolder, part: str, stop: threading.Event | None = None) -> str:
    """As `quick_check`, with every pixel of every record, until `stop` is set.

    Without checksums only the structure can be checked.
    """
    if problem := quick_check(folder, part):
        return problem
    sums = read_checksums(folder).get(part)
    if not sums:
        return ""
    try:
        with LmdbFile(folder.lmdb(part) / "data.mdb") as file:
            for row, record in enumerate(file.scan()):
                if stop and stop.is_set():
                    return ""
                if crc32(file.value(record)) != sums.of(row):
                    return _changed(row, record.key)
    except DamagedLmdbError as error:
        return str(error)
    return ""


def require_whole(folder: DataFolder, parts: Sequence[str] = PARTS) -> None:
    """Raise UserError, in one line, where the quick check finds an LMDB damaged or replaced."""
    for part in parts:
        if problem := quick_check(folder, part):
            raise _damaged(folder.lmdb(part), problem)


class BackgroundCheck:
    """Every pixel of some LMDBs, checked by a thread while somebody else reads them."""

    def __init__(self, folder: DataFolder, parts: Sequence[str]) -> None:
        self._folder = folder
        self._parts = parts
        self._error: UserError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def raise_if_damaged(self) -> None:
        """Raise UserError if damage was found so far."""
        if self._error:
            raise self._error

    def finish(self) -> None:
        """Wait until all is checked; raise UserError if damage was found."""
        self._thread.join()
        self.raise_if_damaged()

    def stop(self) -> None:
        """End it, whatever it is at."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        for part in self._parts:
            try:
                problem = full_check(self._folder, part, self._stop)
            except UserError as error:
                self._error = error
                return
            if problem:
                self._error = _damaged(self._folder.lmdb(part), problem)
                return


@contextmanager
def checked_meanwhile(folder: DataFolder, parts: Sequence[str]) -> Iterator[BackgroundCheck]:
    """Check LMDBs while the body reads them.

    A damage that the quick check finds is raised before the body begins, any other when it ends;
    the body may ask before, with `raise_if_damaged`. Raises UserError.
    """
    require_whole(folder, parts)
    check = BackgroundCheck(folder, parts)
    try:
        yield check
        check.finish()
    finally:
        check.stop()


def _changed(row: int, key: bytes) -> str:
    name = escaped(bytes(key)[9:].decode("utf-8", "surrogateescape"))
    return f"record {row} ({name}) is not what was written"


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path} is damaged or was replaced: {problem}; build it again with: make lmdb "
        "TASK=<task> FORCE=1"
    )
