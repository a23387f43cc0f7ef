"""Make a table of the paper from the runs there are: printed, ours, difference.

table1 counts classes and images in the catalogues; table2, table3 and table4 show accuracies.
`table` is the table of a grid of your own. Each is printed, and written as Markdown, LaTeX and CSV.
"""

from __future__ import annotations

from pathlib import Path

from datasets.catalogue import RAW
from datasets.tasks import load_tasks
from experiments.grid.definition import GRIDS, find_grid, grid_names
from experiments.paper import table1
from experiments.paper.places import REPORT
from experiments.paper.table_files import terminal, write
from experiments.paper.tables import grid_table, make
from experiments.paper.valid_runs import read_runs
from lib.cli import Parser, run
from lib.errors import UserError


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("table", choices=("table1", "table2", "table3", "table4", "table"))
    parser.add_argument(
        "--grid",
        help=f"for `table`: a TOML file, or one of {GRIDS}/: {' '.join(grid_names())}",
    )
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw material (default {RAW}/)")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    arguments = parser.parse_args()
    if arguments.table == "table1":
        counted = table1.table1(load_tasks(), arguments.raw)
        files = table1.write(counted, arguments.report)
        print(table1.terminal(counted))
    else:
        if (arguments.table == "table") != bool(arguments.grid):
            raise UserError("--grid goes with `table`, and `table` needs it: table --grid table2")
        records = read_runs()
        if arguments.grid:
            table = grid_table(find_grid(arguments.grid), records)
        else:
            table = make(arguments.table.removeprefix("table"), records)
        files = write(table, arguments.report)
        print(terminal(table))
        print("".join(f"\n{each}" for each in records.invalid))
    print("wrote " + ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
