"""The locks of a run: nobody else trains it meanwhile, and no other grid takes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from experiments.single_run.folder import RunFolder
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock

_WORKER_DIES = 3.0  # seconds at most that the worker of a killed training still holds the lock


def train_lock(folder: RunFolder) -> Path:
    """Held by a training and by its Caffe; beside the run's folder, which may be renamed."""
    return folder.path.with_name(f".{folder.path.name}.lock")


def grid_lock(folder: RunFolder) -> Path:
    """Held by a grid as long as it is at a run."""
    return folder.path.with_name(f".{folder.path.name}.grid.lock")


@contextmanager
def hold_train_lock(folder: RunFolder) -> Iterator[int]:
    """Hold the run's lock; yield its file descriptor, for the worker to hold too.

    Raises UserError when another training is at work in the folder.
    """
    give_up = time.monotonic() + _WORKER_DIES
    with ExitStack() as stack:
        held = None
        while held is None:
            try:
                held = stack.enter_context(
                    exclusive_lock(train_lock(folder), f"a training of {folder.path}", wait=False)
                )
            except UserError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
        yield held
