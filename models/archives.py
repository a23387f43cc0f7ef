"""Takes one file out of a .tar.gz that somebody else made, trusting nothing in it."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from lib.errors import UserError
from lib.files import readable, require_space

MOST_BYTES = 2**32  # unpacked; protobuf itself stops at 2 GB a message
MOST_MEMBERS = 10_000
_MOST_AT_ONCE = 2**26  # one read; a forged header can ask for terabytes


def is_archive(path: Path) -> bool:
    """Whether the file begins as gzip does."""
    with path.open("rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def extract(
    archive: Path, names: Sequence[str], folder: Path, *, most_bytes: int = MOST_BYTES
) -> Path:
    """Write the first of `names` that the archive holds, in whatever subfolder, to `folder`.

    Only this one file is ever written, under its plain name: whatever paths, links or devices the
    other members are, they are passed over. The whole archive is read first. Raises UserError where
    it has too many members or bytes, is cut short or no .tar.gz, or where none of `names` is a
    plain file in it.

    tarfile's own `data` filter is not used: Python 3.11.2, which Debian 12 has, is without it.
    """
    seen: dict[str, str] = {}
    try:
        with _opened(archive, most_bytes) as tar:
            for count, member in enumerate(tar, 1):
                if count > MOST_MEMBERS:
                    raise UserError(f"{archive} holds more than {MOST_MEMBERS} files; not unpacked")
                if member.isreg() and not member.issparse():
                    seen.setdefault(PurePosixPath(member.name).name, member.name)
            while tar.fileobj and tar.fileobj.read(1 << 20):
                pass  # to the end of the gzip stream, where its own checksum stands
            wanted = next((name for name in names if name in seen), None)
            if wanted is None:
                inside = ", ".join(sorted(seen)[:10]) or "no files"
                raise UserError(f"{archive} holds no {' or '.join(names)}; it holds {inside}")
            member = tar.getmember(seen[wanted])
            require_space(folder, member.size, f"unpacking {wanted}")
            source = tar.extractfile(member)
            assert source is not None  # it is a regular file
            with (folder / wanted).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{archive} is cut short or broken: {error}") from None
    except tarfile.TarError as error:
        raise UserError(f"{archive} is no whole .tar.gz: {error}") from None
    return folder / wanted


@contextmanager
def _opened(archive: Path, most_bytes: int) -> Iterator[tarfile.TarFile]:
    with (
        gzip.open(archive) as stream,
        tarfile.open(fileobj=_Limited(archive, stream, most_bytes), mode="r:") as tar,
    ):
        yield tar


class _Limited(io.RawIOBase):
    """The unpacked bytes of a gzip file, that refuses to be a bomb."""

    def __init__(self, archive: Path, stream: IO[bytes] | gzip.GzipFile, most: int) -> None:
        self._archive = archive
        self._stream = stream
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._allow(offset if whence == io.SEEK_SET else self.tell() + offset)
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MOST_AT_ONCE:
            raise UserError(f"{self._archive} has a forged header; not unpacked")
        self._allow(self.tell() + size)
        return self._stream.read(size)

    def _allow(self, end: int) -> None:
        if end > self._most:
            raise UserError(
                f"{self._archive} unpacks to more than {readable(self._most)}; not unpacked"
            )
