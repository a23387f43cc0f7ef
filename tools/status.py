"""Say how the runs of the paper, or of a grid, stand, what is left will cost, and the disk used."""

from __future__ import annotations

from experiments.grid.definition import GRIDS
from experiments.grid.overview import PAPER, show
from lib.cli import Parser, run


def main() -> None:
    """Print the state of each grid's runs, then times and disk."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--grid",
        nargs="+",
        default=PAPER,
        metavar="FILE",
        help=f"TOML files, or names of those in {GRIDS} (default: {' '.join(PAPER)})",
    )
    parser.add_argument("--all", action="store_true", help="also name each run that is missing")
    arguments = parser.parse_args()
    show(arguments.grid, missing_too=arguments.all)


if __name__ == "__main__":
    run(main)
