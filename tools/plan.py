"""Check the words of a make line, say what is missing, and name the files that it works on.

Prints NAME=value words for make, quoted for the shell. Nothing is made yet: what cannot be done is
said before any work.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from datasets.catalogue import missing as missing_material
from datasets.folders import SPLITS, DataFolder, data_folder
from datasets.tasks import Task, get_task
from experiments.single_run.folder import check_run_name, run_name
from experiments.single_run.start import find_start
from lib.caffe.device import add_device_flags, check_device
from lib.cli import Parser, positive, run
from lib.errors import UserError, unknown
from prototxt.caffenet import SCENARIOS
from prototxt.settings import add_settings_flags, settings_from

_TRAINS = ("prototxt", "train", "evaluate")
_READS_MATERIAL = ("lists", "lmdb")
_STEPS = ("verify-lmdb", *_READS_MATERIAL, *_TRAINS)


def main() -> None:
    """Print the plan, or fail with one error that names all that is missing."""
    arguments = _flags().parse_args()
    if not arguments.task:
        raise UserError("no task named: make lists TASK=wga_artist (`make` lists the tasks)")
    task = get_task(arguments.task)
    if arguments.split not in SPLITS:
        raise unknown("split", arguments.split, SPLITS)
    data = data_folder(task.name, seed=arguments.split_seed, split=arguments.split)
    words = {"TASK": task.name, "DATA": data.path}
    if arguments.step in _TRAINS:
        words |= _plan_run(arguments, task, data)
    elif arguments.step in _READS_MATERIAL:
        _require([], missing_material(task, arguments.raw), task)
    print(*(shlex.quote(f"{word}={value}") for word, value in words.items()))


def _plan_run(arguments: argparse.Namespace, task: Task, data: DataFolder) -> dict[str, str | Path]:
    """The words for the steps that belong to a run."""
    if arguments.scenario not in SCENARIOS:
        raise unknown("scenario", arguments.scenario, SCENARIOS)
    settings = settings_from(vars(arguments))
    start = find_start(arguments.init, task.name, data)
    suffix = data.path.name.removeprefix(task.name)
    name = arguments.run or run_name(start.init, arguments.scenario, settings, suffix)
    check_run_name(name)
    weights = [f"{path}: make weights INIT={start.init}" for path in start.missing]
    _require(weights, missing_material(task, arguments.raw), task)
    check_device(arguments)
    return {
        "RUN_NAME": name,
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
    parser.add_argument("--task", required=True, help="task to work on")
    parser.add_argument("--init", default="hybrid", help="weights that training starts from")
    parser.add_argument(
        "--scenario", default="all", help=f"layers that learn: {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--split", default="by_image", help=f"{' or '.join(SPLITS)} (by_image)")
    parser.add_argument("--split-seed", type=int, default=1, help="the split follows from it (1)")
    parser.add_argument("--raw", type=Path, default=Path("datasets/raw"), help="raw material")
    parser.add_argument("--run", default="", help="name of the run (default: from its settings)")
    parser.add_argument("--workers", type=positive, help="checked, and not needed here")
    add_device_flags(parser)
    add_settings_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
