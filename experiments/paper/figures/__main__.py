"""Draw a figure of the paper from our runs: `python -m experiments.paper.figures 5`.

With --task (and the settings) it is drawn of one's own runs instead. A figure that lacks some of
its runs says which, and how to make them; one that lacks all is an error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from datasets.tasks import get_task
from experiments.paper.counted import counted
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.every import NUMBERS, plot
from experiments.paper.figures.plot import Plot, save
from experiments.paper.places import REPORT
from experiments.paper.valid_runs import bare_name, read_runs
from lib.cli import Parser, run
from lib.errors import UserError, unknown
from prototxt.settings import add_settings_flags, settings_from

_NAMED = 2  # make lines in a message; the report has them all


def main() -> None:
    """Command line: see --help."""
    arguments = _flags().parse_args()
    if arguments.number not in NUMBERS:
        raise unknown("figure", arguments.number, NUMBERS)
    task = arguments.task or arguments.run.rpartition("/")[0]
    if task:
        get_task(task)
    choice = Choice(
        task=task or None,
        init=arguments.init,
        run=bare_name(arguments.run, task) if arguments.run else None,
        settings=settings_from(vars(arguments)),
    )
    figure = plot(arguments.number, choice, read_runs())
    if figure.draw is None:
        raise UserError(f"{figure.name} not drawn: {'; '.join([*lacks(figure), *figure.remarks])}")
    print("wrote " + ", ".join(map(str, save(figure, arguments.report))))
    for lack in lacks(figure):
        print(f"{figure.name} is not complete: {lack}")
    for remark in figure.remarks:
        print(f"{figure.name}: {remark}")


def lacks(figure: Plot) -> list[str]:
    """Which runs a figure lacks, in a line; none where it has all."""
    if not figure.missing:
        return []
    count = len(figure.missing)
    named = [f"`{line}`" for line in figure.missing[:_NAMED]]
    more = [f"{count - _NAMED} more like these (`make status`)"] if count > _NAMED else []
    return [f"it lacks {counted(count, 'run')}: " + ", ".join(named + more)]


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("number", help=f"figure: {', '.join(NUMBERS)}")
    parser.add_argument("--task", help="another task than the paper's")
    parser.add_argument("--init", default="hybrid", help="init of figures 7, 8, 9 (%(default)s)")
    parser.add_argument(
        "--run",
        default="",
        help="run of figures 10 to 14, <run> or <task>/<run> (default: the best of the task)",
    )
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    add_settings_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
