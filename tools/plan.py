"""Check the words of a make line, say what is missing, and name the files that it works on.

Prints NAME=value words for make, quoted for the shell. Nothing is made yet: what cannot be done is
said before any work.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from base.cli import Parser, run
from base.errors import UserError, unknown
from datasets.catalogue import missing as missing_material
from datasets.folders import SPLITS, data_folder
from datasets.tasks import get_task
from prototxt.caffenet import SCENARIOS
from prototxt.settings import add_settings_flags, settings_from
from tools.inits import find_start
from tools.runs import check_run_name, run_name


def main() -> None:
    """Print the plan, or fail with one error that names all that is missing."""
    arguments = _flags().parse_args()
    if not arguments.task:
        raise UserError("no task named: make lists TASK=wga_artist (`make` lists the tasks)")
    task = get_task(arguments.task)
    if arguments.scenario not in SCENARIOS:
        raise unknown("scenario", arguments.scenario, SCENARIOS)
    if arguments.split not in SPLITS:
        raise unknown("split", arguments.split, SPLITS)
    data = data_folder(task.name, seed=arguments.split_seed, split=arguments.split)
    start = find_start(arguments.init, task.name, data)
    suffix = data.path.name.removeprefix(task.name)
    name = arguments.run or run_name(
        start.init, arguments.scenario, settings_from(arguments), suffix
    )
    check_run_name(name)
    if material := missing_material(task, arguments.raw):
        weights = [f"{path}: make weights INIT={start.init}" for path in start.missing]
        raise UserError("\n  ".join([f"{task.name} can't be made yet:", *material, *weights]))
    words = {
        "TASK": task.name,
        "RUN_NAME": name,
        "DATA": data.path,
        "SOURCE_FOLDER": task.folder(arguments.raw),
        "MEAN_FILE": start.mean,
        **({"FETCH": start.init} if start.missing else {}),
    }
    print(*(shlex.quote(f"{word}={value}") for word, value in words.items()))


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--task", required=True, help="task to work on")
    parser.add_argument("--init", default="hybrid", help="weights that training starts from")
    parser.add_argument(
        "--scenario", default="all", help=f"layers that learn: {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--split", default="by_image", help=f"{' or '.join(SPLITS)} (by_image)")
    parser.add_argument("--split-seed", type=int, default=1, help="the split follows from it (1)")
    parser.add_argument("--raw", type=Path, default=Path("datasets/raw"), help="raw material")
    parser.add_argument("--run", default="", help="name of the run (default: from its settings)")
    add_settings_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
