"""Draw a figure of the paper, fig1 to fig14, from our runs and images.

With --task (and the settings) it is drawn of one's own runs instead. A figure that lacks some of
its runs says which, and how to make them; one that lacks all is an error. Each is written as PNG,
as PDF for a page and, where it fits, for a column of 9 cm, with its numbers as CSV.
"""

from __future__ import annotations

from pathlib import Path

from datasets.catalogue import RAW
from datasets.tasks import get_task
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.every import NUMBERS, plot
from experiments.paper.figures.plot import lacks, save
from experiments.paper.places import REPORT
from experiments.paper.valid_runs import read_runs
from experiments.single_run.find_run import find_run
from lib.cli import Parser
from lib.cli import run as run_program
from lib.errors import UserError, unknown
from prototxt.settings import add_settings_flags, settings_from


def main() -> None:
    """Command line: see --help."""
    names = [f"fig{number}" for number in NUMBERS]
    parser = Parser(description=__doc__)
    parser.add_argument("figure", help=f"{names[0]} to {names[-1]}")
    parser.add_argument("--task", help="another task than the paper's")
    parser.add_argument("--init", default="hybrid", help="init of figures 7, 8, 9 (%(default)s)")
    parser.add_argument(
        "--run",
        default="",
        help="run of figures 10 to 14: <task>/<run>, a part of it that no other run has, or last "
        "(default: the best of the task)",
    )
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw material (default {RAW}/)")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    add_settings_flags(parser)
    arguments = parser.parse_args()
    if arguments.figure not in names:
        raise unknown("figure", arguments.figure, names)
    run = find_run(arguments.run, arguments.task).path if arguments.run else None
    task = arguments.task or (run.parent.name if run else None)
    if task:
        get_task(task)
    choice = Choice(
        task=task,
        init=arguments.init,
        run=run.name if run else None,
        settings=settings_from(vars(arguments)),
        raw=arguments.raw,
    )
    figure = plot(arguments.figure.removeprefix("fig"), choice, read_runs())
    if figure.draw is None:
        raise UserError(f"{figure.name} not drawn: {'; '.join([*lacks(figure), *figure.remarks])}")
    print("wrote " + ", ".join(map(str, save(figure, arguments.report))))
    for lack in lacks(figure):
        print(f"{figure.name} is not complete: {lack}")
    for remark in figure.remarks:
        print(f"{figure.name}: {remark}")


if __name__ == "__main__":
    run_program(main)
