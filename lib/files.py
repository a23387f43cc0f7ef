"""Files and folders that are there whole or not at all, however the writer ends."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
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
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
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


def whole_name(path: Path) -> str | None:
    """The name of the file that a killed `whole_file` left `path` of; None for other names."""
    match = re.fullmatch(r"\.(?P<name>.+)\.\d+\.part", path.name, re.DOTALL)
    return match["name"] if match else None


def folder_leftovers(path: Path) -> list[Path]:
    """What killed calls of `whole_folder(path)` left: by the names that tempfile makes, only."""
    made = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}(\.old)?\.part")
    return [each for each in path.parent.iterdir() if made.fullmatch(each.name)]


@contextmanager
def whole_folder(path: Path, *, is_ours: bool = True) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; on success it takes the place of `path`.

    What is at `path` then is deleted; with `is_ours=False` it is backed up, and that is said.
    Leftovers of killed writers are removed first. If the body raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder_leftovers(path):
        shutil.rmtree(leftover)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    aside.chmod(0o777 & ~_umask())
    try:
        yield aside
        if path.exists() and not is_ours:
            print(f"{path}: not made by this program as it is; it is now {back_up(path)}")
        if path.exists():
            old = aside.with_suffix(".old.part")
            path.rename(old)
            aside.rename(path)
            shutil.rmtree(old)
        else:
            aside.rename(path)
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


def _no_space(error: OSError, path: Path) -> Exception:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return UserError(f"no space left on the disk while writing {path}; free some and try again")
    return error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
