"""How many iterations, tests and snapshots a training has, counted from its lists of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from lib.errors import UserError
from prototxt.read import Nets, Solver
from prototxt.settings import Settings

_DEVICE_BATCH = 32  # images at once by default
_TEST_BATCH = 50  # at most so many images at once in the test net, as in CaffeNet's own
_SNAPSHOTS = 10  # a run is saved about so many times on its way


@dataclass(frozen=True)
class Iterations:
    """The numbers of a solver and its two Data layers. One iteration is one weight update."""

    max_iter: int
    device_batch: int  # batch_size of the TRAIN layer
    iter_size: int  # device batches a weight update
    test_batch: int  # batch_size of the TEST layer
    test_iter: int
    test_interval: int
    stepsize: int  # iterations between steps of the learning rate; 0: it is fixed
    display: int
    snapshot: int


def count(settings: Settings, *, train: int, val: int) -> Iterations:
    """The numbers for `train` and `val` images (what is really in the two LMDBs)."""
    for part, images in (("train", train), ("val", val)):
        if images < 1:
            raise UserError(f"there are no {part} images to work with: the {part} list is empty")
    device_batch = settings.device_batch or max(
        d for d in range(1, _DEVICE_BATCH + 1) if settings.batch % d == 0
    )
    max_iter = updates(settings.epochs, train, settings.batch)
    test_batch = _test_batch(val)
    test_interval = max(1, round(train / settings.batch))
    step = round(Fraction(str(settings.lr_step_epochs)) * train / settings.batch)
    return Iterations(
        max_iter=max_iter,
        device_batch=device_batch,
        iter_size=settings.batch // device_batch,
        test_batch=test_batch,
        test_iter=math.ceil(val / test_batch),
        test_interval=test_interval,
        stepsize=max(1, step) if settings.lr_step_epochs else 0,
        display=min(20, test_interval),
        snapshot=test_interval * math.ceil(max_iter / test_interval / _SNAPSHOTS),
    )


def updates(epochs: float, train: int, batch: int) -> int:
    """Weight updates in so many epochs of `train` images, rounded up: 100 epochs are 100·N/256."""
    return math.ceil(Fraction(str(epochs)) * train / batch)


def check_counts(
    solver: Solver, nets: Nets, settings: Settings, *, train: int, val: int
) -> list[str]:
    """What a solver and net, perhaps edited by hand, no longer do as the lists and settings ask.

    One sentence each, meant as warnings: an edit may well be on purpose. Empty if all is well.
    """
    said = []
    if not nets.train_batch:
        said.append("no Data layer to train on: its counts can't be checked")
    else:
        batch = nets.train_batch * solver.iter_size
        if batch != settings.batch:
            said.append(
                f"a weight update sees {nets.train_batch} images x iter_size {solver.iter_size} = "
                f"{batch}, not the batch of {settings.batch}"
            )
        wanted = updates(settings.epochs, train, batch) if batch > 0 else 0
        if solver.max_iter != wanted:
            said.append(
                f"max_iter {solver.max_iter} is {solver.max_iter * batch / train:.4g} epochs of "
                f"the {train} training images; {settings.epochs:g} epochs would be {wanted}"
            )
    if not nets.test_batch:
        said.append("no Data layer to validate on: its counts can't be checked")
    else:
        tested = solver.test_iter * nets.test_batch
        what = f"test_iter {solver.test_iter} x batch {nets.test_batch}"
        if tested < val:
            said.append(f"{what} covers {tested} of the {val} validation images")
        elif tested >= val + nets.test_batch:
            said.append(f"{what} = {tested} is more than one pass over the {val} validation images")
    return said


def _test_batch(val: int) -> int:
    """The batch that counts the fewest images twice; of equals, the largest.

    10 to 50 images, so that a list of a prime length is not tested one image at a time.
    """
    if val <= _TEST_BATCH:
        return val
    return min(range(10, _TEST_BATCH + 1), key=lambda batch: (-val % batch, -batch))
