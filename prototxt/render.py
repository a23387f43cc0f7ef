"""Makes the three prototxts of a run from the CaffeNet templates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2

from lib.errors import UserError, unknown
from prototxt.caffenet import COPIED_LAYERS, CROP_SIZE, IMAGE_SIZE, SCENARIOS, last_layer
from prototxt.iterations import count
from prototxt.settings import PAPER, Settings

NAMES = ("train_val.prototxt", "deploy.prototxt", "solver.prototxt")
SCRATCH = "scratch"  # the init that copies nothing: CaffeNet's own fillers


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
    mean: str  # the init's own mean.binaryproto
    net: str  # where train_val.prototxt will lie
    snapshot_prefix: str
    init: str = SCRATCH
    scenario: str = "all"
    gpu: int | None = None  # number of the GPU; None: the CPU
    settings: Settings = PAPER


def render(run: Run) -> dict[str, str]:
    """The text of each of NAMES. The same `run` always gives the same text.

    Raises UserError for a scenario, task name or number of classes that CaffeNet can't have.
    """
    check_task(run.task)
    if run.scenario not in SCENARIOS:
        raise unknown("scenario", run.scenario, SCENARIOS)
    if run.classes < 2:
        raise UserError(f"task {run.task} has {run.classes} class(es): a classifier needs two")
    if not run.init or not run.init.isprintable():
        raise UserError(f"the init's name {run.init!r} must be plain characters on one line")
    frozen = SCENARIOS[run.scenario]
    last = last_layer(run.task)
    lr: dict[str, float] = {layer: 0 if layer in frozen else 1 for layer in COPIED_LAYERS}
    lr[last] = 1 if run.init == SCRATCH else run.settings.new_layer_lr
    known = {
        "run": run,
        "settings": run.settings,
        "counts": count(run.settings, train=run.train, val=run.val),
        "last": last,
        "frozen": frozen,
        "scratch": run.init == SCRATCH,
        "lr": lr,
        # A frozen layer is not decayed either. Caffe would not touch it anyway; this says so.
        "decay": {layer: 0 if layer in frozen else 1 for layer in lr},
        "image_size": IMAGE_SIZE,
        "crop_size": CROP_SIZE,
    }
    return {name: _TEMPLATES.get_template(name).render(known) for name in NAMES}


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


def _quoted(text: str) -> str:
    """A string of protobuf's text format. UTF-8 stands as it is."""
    if not text.isprintable():
        raise UserError(f"{text!r} can't be written to a prototxt: rename it without line breaks")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters.update(number=_number, quoted=_quoted)
