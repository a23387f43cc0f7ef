"""Check the words of a make line, say what is missing, and name the files that it works on.

Prints NAME=value words for make, quoted for the shell. Nothing is made yet: what cannot be done is
said before any work.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

from datasets.catalogue import missing as missing_material
from datasets.tasks import Task, get_task
from experiments.single_run.plan import RunPlan
from experiments.single_run.plan_flags import add_plan_flags, plan_from
from experiments.single_run.start import find_start
from lib.caffe.device import add_device_flags, check_device
from lib.cli import Parser, positive, run
from lib.errors import UserError

_TRAINS = ("prototxt", "train", "evaluate")
_READS_MATERIAL = ("lists", "lmdb")
_STEPS = ("verify-lmdb", *_READS_MATERIAL, *_TRAINS)


def main() -> None:
    """Print the plan, or fail with one error that names all that is missing."""
    arguments = _flags().parse_args()
    if not arguments.task:
        raise UserError("no task named: make lists TASK=wga_artist (`make` lists the tasks)")
    task = get_task(arguments.task)
    plan = plan_from(vars(arguments))
    words = {"TASK": task.name, "DATA": plan.data.path}
    if arguments.step in _TRAINS:
        words |= _plan_run(arguments, task, plan)
    elif arguments.step in _READS_MATERIAL:
        _require([], missing_material(task, arguments.raw), task)
    print(*(shlex.quote(f"{word}={value}") for word, value in words.items()))


def _plan_run(arguments: argparse.Namespace, task: Task, plan: RunPlan) -> dict[str, str | Path]:
    """The words for the steps that belong to a run."""
    start = find_start(plan.init, task.name, plan.data)
    plan = replace(plan, init=start.init)
    weights = [f"{path}: make weights INIT={start.init}" for path in start.missing]
    _require(weights, missing_material(task, arguments.raw), task)
    check_device(arguments.gpu, arguments.threads)
    return {
        "RUN_NAME": plan.name,
        "MEAN_FILE": start.mean,
        **({"FETCH": start.init} if start.missing else {}),
    }


def _require(weights: list[str], material: list[str], task: Task) -> None:
    """Raise UserError naming all that is missing, if the paintings are; weights can be fetched."""
    if material:
        raise UserError("\n  ".join([f"{task.name} can't be made yet:", *material, *weights]))


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--step", choices=_STEPS, default="evaluate", help="last step to be done")
    add_plan_flags(parser)
    parser.add_argument("--raw", type=Path, default=Path("datasets/raw"), help="raw material")
    parser.add_argument("--workers", type=positive, help="checked, and not needed here")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
