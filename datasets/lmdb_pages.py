"""Reads an LMDB page by page, without mapping it: damage is an error here, not a SIGBUS.

The form is that of LMDB 0.9, which Caffe reads (mdb.c: MDB_page, MDB_node, MDB_meta), on machines
of 64 bits and little endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_HEADER = struct.Struct("<QHHHH")  # number, pad, flags, lower, upper
_NODE = struct.Struct("<HHHH")  # low and high half of the size, flags, size of the key
_META = struct.Struct("<IIQQ")  # magic, version, address, map size
_TREE = struct.Struct("<IHHQQQQQ")  # pad, flags, depth, branches, leaves, overflow, entries, root
_NUMBER = struct.Struct("<Q")

_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_BIG = 1  # a node's data lies in pages of its own
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NONE = 2**64 - 1


class DamagedLmdbError(Exception):
    """The file is no whole LMDB; the message says why, without the path."""


class Record(NamedTuple):
    """Where a record is."""

    key: bytes
    offset: int  # of its value in the file
    size: int  # bytes of its value


class LmdbFile:
    """A data.mdb, open for reading. Use it in a `with`. Raises DamagedLmdbError.

    `records` says how many there are; `size` is the file's, in bytes.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DamagedLmdbError(f"cannot be opened: {error.strerror}") from None
        try:
            self.size = os.fstat(self._file).st_size
            self._read_meta()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def scan(self) -> Iterator[Record]:
        """Every record in the order of the keys. The tree's pages are checked, values not read."""
        if self._root == _NONE:
            return
        found = 0
        last = b""
        for record in self._below(self._root, self._depth):
            if found and record.key <= last:
                raise DamagedLmdbError(f"the keys are not in order at record {found}")
            last = record.key
            found += 1
            yield record
        if found != self.records:
            raise DamagedLmdbError(f"{found:,} records are there, {self.records:,} were written")

    def value(self, record: Record) -> bytes:
        """The bytes of a record's value."""
        return self._bytes(record.offset, record.size, "a value")

    def _read_meta(self) -> None:
        newest = -1
        page_size = 4096
        for number in range(2):
            page = self._bytes(number * page_size, 16 + _META.size + 2 * _TREE.size + 16, "page 0")
            flags = _HEADER.unpack_from(page)[2]
            magic, version, _, _ = _META.unpack_from(page, 16)
            if not flags & _META_PAGE or magic != _MAGIC or version != _VERSION:
                if not any(page):
                    continue  # zeroed, or never written: the other may be whole
                raise DamagedLmdbError(
                    "not an LMDB of this machine's kind, or its start is damaged"
                )
            free = _TREE.unpack_from(page, 16 + _META.size)
            page_size = free[0]
            main = _TREE.unpack_from(page, 16 + _META.size + _TREE.size)
            last, transaction = struct.unpack_from("<QQ", page, 16 + _META.size + 2 * _TREE.size)
            if transaction > newest:
                newest = transaction
                self._page_size, self._last = page_size, last
                self._depth, self.records, self._root = main[2], main[6], main[7]
        if newest < 0:
            raise DamagedLmdbError("its first pages are zeroed")
        if self._page_size < 512 or self._page_size & (self._page_size - 1):
            raise DamagedLmdbError("its start is damaged")
        needed = (self._last + 1) * self._page_size
        if self.size < needed:
            raise DamagedLmdbError(f"cut short: it has {self.size:,} bytes of {needed:,}")

    def _below(self, number: int, depth: int) -> Iterator[Record]:
        """The records below a page; `depth` is 1 for a leaf."""
        page, flags, count = self._page(number)
        if depth < 1 or flags & (_BRANCH | _LEAF) != (_LEAF if depth == 1 else _BRANCH):
            raise DamagedLmdbError(f"page {number} is not what the tree says")
        start = number * self._page_size
        for place in struct.unpack_from(f"<{count}H", page, _HEADER.size):
            if place + _NODE.size > len(page):
                raise DamagedLmdbError(f"page {number} is damaged")
            low, high, node_flags, key_size = _NODE.unpack_from(page, place)
            data = place + _NODE.size + key_size
            if depth > 1:
                yield from self._below(low | high << 16 | node_flags << 32, depth - 1)
                continue
            size = low | high << 16
            if data + (8 if node_flags & _BIG else size) > len(page):
                raise DamagedLmdbError(f"page {number} is damaged")
            key = page[place + _NODE.size : data]
            if not node_flags & _BIG:
                yield Record(key, start + data, size)
                continue
            first = _NUMBER.unpack_from(page, data)[0]
            offset = first * self._page_size + _HEADER.size
            if not 1 < first <= self._last or offset + size > (self._last + 1) * self._page_size:
                raise DamagedLmdbError(f"page {number} leads out of the file")
            yield Record(key, offset, size)

    def _page(self, number: int) -> tuple[bytes, int, int]:
        """A page of the tree, its flags and the number of its nodes."""
        if not 1 < number <= self._last:
            raise DamagedLmdbError(f"the tree leads to page {number}, which is not in the file")
        page = self._bytes(number * self._page_size, self._page_size, f"page {number}")
        own, _, flags, lower, upper = _HEADER.unpack_from(page)
        if not any(page):
            raise DamagedLmdbError(f"page {number} is zeroed")
        if own != number or not _HEADER.size <= lower <= upper <= self._page_size or lower % 2:
            raise DamagedLmdbError(f"page {number} is damaged")
        return page, flags, (lower - _HEADER.size) // 2

    def _bytes(self, offset: int, size: int, what: str) -> bytes:
        try:
            data = os.pread(self._file, size, offset)
        except (OSError, OverflowError) as error:
            raise DamagedLmdbError(f"{what} cannot be read: {error}") from None
        if len(data) != size:
            raise DamagedLmdbError(f"cut short: {what} is not whole")
        return data
