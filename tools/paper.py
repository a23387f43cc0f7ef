"""Everything of the paper that can be made: all runs, tables, figures, the report.

What fails is said and stops nothing that can be made without it; the exit code is that of the runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from experiments.grid.run_one import plain_environment
from experiments.single_run.folder import run_folder
from lib.cli import Parser, run
from lib.parent import end_with_parent

_GENRE, _STYLE = "wikiart_genre", "wikiart_style"
_INITS = ("caffenet", "hybrid", "memnet", "sentiment", "flickr")  # Figure 16's, as Table 2 has them


def main() -> None:
    """Make all, in the order in which one needs the other."""
    parser = Parser(description=__doc__)
    parser.add_argument("--raw", type=Path, help="raw material")
    parser.add_argument("--gpu", help="GPUs to use: 0,1, none or auto")
    parser.add_argument("--threads", help="BLAS threads of each run")
    parser.add_argument("--side-by-side", help="runs at a time")
    parser.add_argument("--scheduler", help="the Dask scheduler of the runs")
    flags = vars(parser.parse_args())
    grid = _make("grid", "GRID=table2 table3 table4 figures", *_words(flags, *flags))
    for target in ("table1", "fig1", "fig2", "fig3", "fig4"):
        _make(target, *(_words(flags, "raw") if target in ("table1", "fig2", "fig3") else ()))
    if run_folder(_STYLE, "hybrid-all").results.is_file():
        of_genre = f"TASK={_GENRE}"
        two = f"{_GENRE}/hybrid-all {_STYLE}/hybrid-all"
        five = " ".join(f"{_GENRE}/{init}-all" for init in _INITS)
        _make("features", f"WEIGHTS={two}", of_genre, *_words(flags, "gpu", "threads"))
        _make("fig15", f"MODELS={two}", of_genre)
        _make("fig16", f"MODELS={five}", of_genre)
    report = _make("report")
    sys.exit(report or grid)


def _words(flags: dict[str, object], *names: str) -> list[str]:
    """Flags that were given, as variables of make."""
    return [f"{name.upper()}={flags[name]}" for name in names if flags[name] is not None]


def _make(target: str, *words: str) -> int:
    """Type a make line, as a user would, and return its exit code."""
    print(f"make {target} {' '.join(words)}".rstrip(), flush=True)
    line = ["make", "--no-print-directory", target, *words]
    return subprocess.call(line, env=plain_environment(), preexec_fn=end_with_parent)


if __name__ == "__main__":
    run(main)
