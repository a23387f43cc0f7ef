"""Are runs of one task really different? McNemar's test and a bootstrap interval for each pair.

All runs were asked about the same test images, so they are compared image by image: that tells more
than two intervals that overlap. The runs are those of each init, or those that --runs names.
"""

from __future__ import annotations

from pathlib import Path

from datasets.tasks import get_task
from experiments.paper.places import REPORT
from experiments.paper.significance import choose_runs, compare, terminal, write
from experiments.paper.valid_runs import read_runs
from lib.cli import Parser, run
from prototxt.settings import add_settings_flags, settings_from


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("--task", required=True, help="task of the runs")
    parser.add_argument("--scenario", default="all", help="scenario of the runs (%(default)s)")
    parser.add_argument(
        "--runs",
        nargs="*",
        default=[],
        metavar="RUN",
        help="runs, each by <run> or a part of it that no other run of the task has",
    )
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    add_settings_flags(parser)
    arguments = parser.parse_args()
    get_task(arguments.task)
    chosen = choose_runs(
        read_runs(),
        arguments.task,
        arguments.scenario,
        settings_from(vars(arguments)),
        arguments.runs,
    )
    pairs = compare(chosen.runs)
    file = write(chosen, pairs, arguments.report)
    print(terminal(chosen, pairs))
    print(f"wrote {file}")


if __name__ == "__main__":
    run(main)
