"""Locks: real files that are written to, taken by one process or thread, never silently absent."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from lib import exclusive_lock as module
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock, is_locked, require_locks

FLOCK = fcntl.flock


def as_nfs(handle: int, operation: int) -> None:
    """flock as NFS has it: no locks on folders, nor on files that are not open for writing."""
    kind = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE
    if kind == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    FLOCK(handle, operation)


def without_locks(handle: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_it_holds_on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(fcntl, "flock", as_nfs)
    path = tmp_path if kind == "folder" else tmp_path / "a.lock"
    with exclusive_lock(path, "the first"):
        with (
            pytest.raises(UserError, match=r"is at work already.*process \d+ on "),
            exclusive_lock(path, "the first", wait=False),
        ):
            pass
        assert is_locked(tmp_path / (".lock" if kind == "folder" else "a.lock"))
    with exclusive_lock(path, "the second", wait=False):
        pass
    assert not is_locked(tmp_path / (".lock" if kind == "folder" else "a.lock"))


def test_where_nothing_can_be_locked_work_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with pytest.raises(UserError, match="No locks available") as error:
        require_locks(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="has no locks"), exclusive_lock(tmp_path, "x"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]


def test_where_the_lock_cannot_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"lock file .*file/a\.lock cannot be written"),
        exclusive_lock(tmp_path / "file" / "a.lock", "x"),
    ):
        pass


def _count(place: Path, rounds: int) -> None:
    for _ in range(rounds):
        with exclusive_lock(place / "lock", "counting"):
            number = int((place / "number").read_text())
            time.sleep(0.0005)
            (place / "number").write_text(str(number + 1))


def test_processes_and_threads_take_turns(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("fork")  # before the threads: a fork copies their locks
    processes = [context.Process(target=_count, args=(tmp_path, 20)) for _ in range(3)]
    threads = [threading.Thread(target=_count, args=(tmp_path, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for thread in threads:
        thread.start()
    for worker in processes:
        worker.join()
    for thread in threads:
        thread.join()
    assert (tmp_path / "number").read_text() == "120"


def test_mounts_that_lock_on_one_machine_only(tmp_path: Path) -> None:
    require_locks(tmp_path, between_machines=True)
    mounts = tmp_path / "mounts"
    folder = str(tmp_path).replace(" ", "\\040")
    for kind, option in [("nfs", "local_lock=all"), ("nfs4", "nolock"), ("lustre", "localflock")]:
        mounts.write_text(f"x / ext4 rw 0 0\nh:/x {folder} {kind} rw,{option},vers=3 0 0\n")
        assert module._local_locks(tmp_path, mounts) == option
    mounts.write_text(f"x / ext4 rw 0 0\nh:/x {folder} nfs rw,local_lock=none 0 0\n")
    assert module._local_locks(tmp_path, mounts) == ""
