"""Writes an LMDB as `convert_imageset` does: the same keys, the same Datums, in the same order."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import lmdb

from lib.caffe.messages import Datum
from lib.errors import UserError
from prototxt.caffenet import IMAGE_SIZE

# Records a transaction. Caffe's 1000 would hold 400 MB; few at a time stay in the processor's cache
# and in memory that is used again, which makes writing four times as fast.
_COMMIT = 8
_PAGE = 4096


def datum_bytes(data: bytes, label: int, size: int = IMAGE_SIZE) -> bytes:
    """A size x size colour image as a serialised Datum.

    `encoded` is written though it is false: Caffe sets it (CVMatToDatum in src/caffe/util/io.cpp).
    """
    datum = Datum(channels=3, height=size, width=size, data=data, label=label, encoded=False)
    return datum.SerializeToString(deterministic=True)


def space_needed(records: int, size: int = IMAGE_SIZE) -> int:
    """Bytes on disk of an LMDB of so many images: whole pages for each, and its tree."""
    value = 3 * size * size + 64
    pages = value // _PAGE + 1
    return (records + 1) * (pages * _PAGE + 600) + 64 * _PAGE


class LmdbWriter:
    """Fills a new LMDB in a folder that is there and empty. Use it in a `with`.

    Its map is sized for `records` images, and doubled should they need more. What is written is
    safely on the disk when the `with` ends. Raises UserError if the disk is full.
    """

    def __init__(self, folder: Path, records: int) -> None:
        self._folder = folder
        self._batch: list[tuple[bytes, bytes]] = []
        # sync=False: only the end is flushed. A folder half written is thrown away anyway.
        try:
            self._env = lmdb.open(
                str(folder), map_size=space_needed(records), sync=False, lock=False, mode=0o664
            )
        except lmdb.Error as error:
            raise self._plain(error) from error

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record."""
        self._batch.append((key, value))
        if len(self._batch) >= _COMMIT:
            self._commit()

    def _commit(self) -> None:
        try:
            while True:
                try:
                    with self._env.begin(write=True) as transaction:
                        for key, value in self._batch:
                            transaction.put(key, value)
                    break
                except lmdb.MapFullError:
                    self._env.set_mapsize(self._env.info()["map_size"] * 2)
        except lmdb.Error as error:
            raise self._plain(error) from error
        self._batch.clear()

    def _plain(self, error: lmdb.Error) -> Exception:
        words = str(error)
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if any(text in words for text in map(os.strerror, full)):
            return UserError(
                f"no space left on the disk while writing {self._folder.parent} "
                f"({words.rpartition(': ')[2]}); free some and try again"
            )
        return error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._commit()
                try:
                    self._env.sync(True)
                except lmdb.Error as failed:
                    raise self._plain(failed) from failed
        finally:
            self._env.close()
