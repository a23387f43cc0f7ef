"""Run one run of a grid by the make line that a user would type; its words go beside the run.

Prints one line of JSON: state (done, failed, interrupted), reason, seconds. While another process
is at the run it waits: that may be what a dead worker left behind, and what is there by then is
gone on with. With --guarded the training ends in good order, with a snapshot, as soon as standard
input closes: so a run does not outlive the grid, or the Dask worker, that began it.
"""

from __future__ import annotations

from experiments.grid.run_one import run_one
from lib.cli import Parser, run


def main() -> None:
    """Parse the words, run, and say what became of it."""
    parser = Parser(description=__doc__)
    parser.add_argument("task", help="task of the run")
    parser.add_argument("run", help="name of the run")
    parser.add_argument("words", nargs="*", metavar="NAME=value", help="variables of the make line")
    parser.add_argument("--guarded", action="store_true", help="stop when standard input closes")
    arguments = parser.parse_args()
    run_one(arguments.task, arguments.run, arguments.words, guarded=arguments.guarded)


if __name__ == "__main__":
    run(main)
