"""One process at a time: a lock that goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import UserError


@contextmanager
def alone(path: Path, what: str, *, wait: bool = True) -> Iterator[int]:
    """Hold the lock of `path`: a folder that is there, or else a file made for the purpose.

    While another process has it, wait and say so; with `wait=False` raise UserError saying that
    `what` is at work. Yields the lock's file descriptor, for a child that shall hold it too. A file
    system without locks has none.
    """
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise UserError(f"{what} is at work already, in another process") from None
            print(f"waiting for another process: {what}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            print(f"warning: {path} can't be locked: {error}", file=sys.stderr)
        yield handle
    finally:
        os.close(handle)
