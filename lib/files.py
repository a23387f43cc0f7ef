"""Files and folders that are there whole or not at all, however the writer ends."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import UserError

_BLOCK = 1 << 20


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed and renamed to `path`.

    If the body raises, the half-written file is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        with aside.open("rb+") as handle:
            os.fsync(handle.fileno())
        aside.replace(path)
    except OSError as error:
        raise _no_space(error, path) from error
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(path: Path, *, is_ours: bool = True) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; on success it takes the place of `path`.

    What is at `path` then is deleted; with `is_ours=False` it is backed up, and that is said.
    Leftovers of killed writers are removed first. If the body raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers([path])
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        if path.exists() and not is_ours:
            print(f"{path}: not made by this program as it is; it is now {back_up(path)}")
        _replace_folder(aside, path)
    except OSError as error:
        raise _no_space(error, path) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def back_up(path: Path) -> Path:
    """Rename a file or folder to the next free `<name>.backup-<n>` beside it; return that."""
    number = 1
    while os.path.lexists(backup := path.with_name(f"{path.name}.backup-{number}")):
        number += 1
    return path.rename(backup)


def whole_name(path: Path) -> str | None:
    """The name of the file or folder that `path` is a half-written part of; None if not ours."""
    match = _PART.fullmatch(path.name)
    return match["name"] if match else None


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what killed writers left of these files and folders; other files are left alone.

    A writer that still lives keeps its part: one of this machine by its process, one of another
    machine as long as it was written to within a day.
    """
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_short(path.name))
    for folder, wanted in names.items():
        for part in folder.glob(".*.part"):
            if whole_name(part) in wanted and _is_left(part):
                if part.is_dir() and not part.is_symlink():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise UserError unless the disk of `folder` (made yet or not) has `needed` bytes free."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"not enough disk space for {what}: {readable(needed)} needed, "
            f"{readable(free)} free on the disk of {folder}; free some, or move the project"
        )


def readable(size: float) -> str:
    """A number of bytes in words: '1.5 GB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _aside(path: Path) -> Path:
    """A hidden name beside `path` that no other machine, process or thread uses."""
    who = f"{_machine()}-{os.getpid()}-{threading.get_native_id()}-{secrets.token_hex(4)}"
    return path.with_name(f".{_short(path.name)}.{who}.part")


# What `_aside` makes, or what versions of before made: a process's number, or eight letters.
_PART = re.compile(
    r"\.(?P<name>.+)\."
    r"(?:(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-\d+-[0-9a-f]{8}|\d+|[a-z0-9_]{8})"
    r"(?:\.old)?\.part",
    re.DOTALL,
)
_LONGEST_NAME = 180  # bytes: with what `_aside` adds, a file system's 255 are not passed
_DAY = 86_400  # seconds


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])


@functools.cache
def _machine() -> str:
    """This machine since it started, and the container's own numbers of processes, in 8 letters."""
    words = [socket.gethostname()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            words.append(
                str(Path(place).readlink())
                if Path(place).is_symlink()
                else Path(place).read_text(encoding="ascii")
            )
        except OSError:
            words.append("")
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _is_left(path: Path) -> bool:
    """Whether the writer of a `.part` is gone."""
    match = _PART.fullmatch(path.name)
    if match is None or match["machine"] is None:
        return match is not None  # named by a version of before
    if match["machine"] == _machine():
        return not Path("/proc", match["process"]).exists()
    try:
        newest = max(one.stat().st_mtime for one in (path, *path.glob("*")))
    except OSError:
        return False
    return time.time() - newest > _DAY


def _replace_folder(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`, though others may do the same at this moment."""
    while True:
        try:
            new.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        old = new.with_name(new.name.removesuffix(".part") + ".old.part")
        try:
            path.rename(old)
        except FileNotFoundError:
            continue  # another writer has just moved it away
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()


def _no_space(error: OSError, path: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"no space left on the disk while writing {path}; free some and try again")
    return error
