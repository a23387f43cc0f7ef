"""One process at a time: a lock that goes with its process, however that ends.

A lock is a file of its own, opened for writing: NFS locks neither folders nor files that are open
for reading only.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import UserError


@contextmanager
def exclusive_lock(path: Path, what: str, *, wait: bool = True) -> Iterator[int]:
    """Hold the lock file `path`, or, where `path` is a folder, the file `.lock` in it.

    While another process or thread has it, wait and say so; with `wait=False` raise UserError
    saying that `what` is at work. Yields the lock's file descriptor, for a child that shall hold it
    too. The file stays: removing it would let two processes lock two files of one name.

    Raises UserError where the file cannot be written, or the file system cannot lock files.
    """
    handle = _open(path)
    try:
        if not _try(handle, path):
            holder = _holder(handle)
            if not wait:
                raise UserError(f"{what} is at work already, in another process{holder}")
            print(f"waiting for another process{holder}: {what}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        _sign(handle)
        yield handle
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock file. A file system that cannot lock has none held."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # never taken, or not ours to take
    try:
        return not _try(handle, path)
    except UserError:
        return False
    finally:
        os.close(handle)


def require_locks(folder: Path, *, between_machines: bool = False) -> None:
    """Raise UserError unless files in `folder`, which is there, can be locked.

    With `between_machines`, also where its file system is known to lock on one machine only: NFS
    mounted with `nolock` or `local_lock`, Lustre with `localflock` or `noflock`.
    """
    probe = folder / f".locks-{socket.gethostname()}-{os.getpid()}"
    try:
        with exclusive_lock(probe, "a trial of the file system's locks"):
            pass
    finally:
        probe.unlink(missing_ok=True)
    if between_machines and (option := _local_locks(folder)):
        raise UserError(
            f"{folder} is mounted with {option}: its locks do not reach other machines, and two of "
            "them could train the same run; mount it without that option"
        )


def _open(path: Path) -> int:
    if path.is_dir():
        path = path / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UserError(f"the lock file {path} cannot be written: {error.strerror}") from None


def _try(handle: int, path: Path) -> bool:
    """Take the lock unless it is taken. Raises UserError where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{path} cannot be locked ({error.strerror}): its file system has no locks, and two "
            "processes could spoil each other's work; mount it with locks, or move the project"
        ) from None
    return True


def _sign(handle: int) -> None:
    """Write into the lock who holds it. Where the disk is full it says nothing."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError:
        pass


def _holder(handle: int) -> str:
    try:
        name = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return f" ({name})" if name else ""


def _local_locks(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The mount option that keeps a folder's locks on this machine; "" where none is known."""
    found = ("", "", "")
    for line in mounts.read_text("utf-8", "surrogateescape").split("\n"):
        fields = line.split(" ")
        if len(fields) < 4:
            continue
        place = fields[1].encode("utf-8", "surrogateescape").decode("unicode_escape")
        if folder.resolve().is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, fields[2], fields[3])
    _, kind, options = found
    bad = {
        "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
        "nfs4": ("nolock", "local_lock=all", "local_lock=flock"),
        "lustre": ("localflock", "noflock"),
    }
    return next((option for option in options.split(",") if option in bad.get(kind, ())), "")
