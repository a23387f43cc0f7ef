"""Makes the three prototxts of a run: its net, changed for the task, in our templates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2

from lib.errors import UserError, unknown
from prototxt.caffenet import IMAGE_SIZE, SCENARIOS
from prototxt.description import Description
from prototxt.finetune import Change, FineTuned, fine_tune
from prototxt.iterations import Iterations, count
from prototxt.own_nets import own_net
from prototxt.settings import PAPER, Settings
from prototxt.syntax import quoted

NAMES = ("train_val.prototxt", "deploy.prototxt", "solver.prototxt")
SCRATCH = "scratch"  # the init that copies nothing: the net's own fillers
_SMALL_BATCH = 16  # below it, a batch's own statistics are a poor guess


@dataclass(frozen=True)
class Run:
    """All that the prototxts of one run depend on.

    Paths are written as they are given, so give them relative to the project's root: Caffe is
    started there.
    """

    task: str
    classes: int
    train: int  # images in the train LMDB
    val: int  # images in the val LMDB
    train_lmdb: str
    val_lmdb: str
    mean: str  # the init's own mean.binaryproto; empty where there is none
    net: str  # where train_val.prototxt will lie
    snapshot_prefix: str
    init: str = SCRATCH
    scenario: str = "all"
    gpu: int | None = None  # number of the GPU; None: the CPU
    settings: Settings = PAPER
    architecture: Description | None = None  # the init's net; None: the one that settings name
    scale: float = 1  # of the pixels, after the mean is taken off
    crop: int | None = None  # None: the net's own input


def render(run: Run) -> dict[str, str]:
    """The text of each of NAMES. The same `run` always gives the same text.

    Raises UserError for a scenario, task name, layer or number of classes that the net can't have.
    """
    _check(run)
    settings = run.settings
    net = changed_net(run)
    counts = count(settings, train=run.train, val=run.val)
    known = {
        "run": run,
        "settings": settings,
        "counts": counts,
        "net": net,
        "frozen": net.frozen_blocks,
        "scratch": run.init == SCRATCH,
        "feed": _feed(run),
        "image_size": IMAGE_SIZE,
    }
    return {name: _TEMPLATES.get_template(name).render(known) for name in NAMES}


def changed_net(run: Run) -> FineTuned:
    """The net of a run, changed for its task; UserError as in `render`."""
    settings = run.settings
    architecture = run.architecture or own_net(settings.net or "caffenet")
    scratch = run.init == SCRATCH
    if scratch and settings.bn == "fixed":
        raise UserError(
            "BN=fixed with INIT=scratch: there are no statistics yet, and zeros end in NaN; "
            "leave BN= out"
        )
    return fine_tune(
        architecture,
        Change(
            task=run.task,
            classes=run.classes,
            scenario=run.scenario,
            freeze=settings.freeze,
            scratch=scratch,
            batch_statistics=scratch or settings.bn == "batch",
            new_layer_lr=settings.new_layer_lr,
            dropout=None if settings.dropout == PAPER.dropout else settings.dropout,
            crop=run.crop,
        ),
    )


def warnings(run: Run) -> list[str]:
    """What may go wrong in training by these settings, a sentence each."""
    counts: Iterations = count(run.settings, train=run.train, val=run.val)
    if changed_net(run).moving and counts.device_batch < _SMALL_BATCH:
        return [
            f"BatchNorm takes its statistics from {counts.device_batch} images at once, which is "
            "few: each forward pass has its own, and iter_size adds up gradients, not statistics; "
            f"DEVICE_BATCH={_SMALL_BATCH} or more, or BN=fixed"
        ]
    return []


def _feed(run: Run) -> str:
    """How the pixels are prepared, for the head of the deploy net."""
    mean = f"the mean\n# {run.mean}\n# subtracted, " if run.mean else ""
    return mean + (f"times {_number(run.scale)}, " if run.scale != 1 else "")


def _check(run: Run) -> None:
    check_task(run.task)
    if run.scenario not in SCENARIOS:
        raise unknown("scenario", run.scenario, SCENARIOS)
    if run.classes < 2:
        raise UserError(f"task {run.task} has {run.classes} class(es): a classifier needs two")
    if not run.init or not run.init.isprintable():
        raise UserError(f"the init's name {run.init!r} must be plain characters on one line")


def check_task(task: str) -> None:
    """UserError unless the task's name may be part of the name of a layer and its blob."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", task, flags=re.ASCII):
        raise UserError(
            f"task name {task!r} can't name a layer (fc8_<task>): "
            "use only the letters a-z, digits and underscores"
        )


def _number(value: float) -> str:
    """The shortest text that reads back as the same number: 0.0001, 10, 1e-05."""
    return repr(float(value)).removesuffix(".0")


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters.update(number=_number, quoted=quoted)
