"""What every figure has in common: its look, its numbers beside it, its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.paper.counted import counted
from experiments.single_run import confusion, figure_style
from experiments.single_run.figure_style import COLUMN, WIDTH, look, save_figure
from lib.files import write_text

# Told apart by colour-blind readers too (Okabe and Ito), and by line and marker in grey print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PRINTED_COLOUR = "#999999"

_NAMED = 2  # make lines in a message; the report has them all


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn, or one that lacks its runs (`draw` is None)."""

    name: str  # of its files: fig5
    title: str
    caption: str
    table: pd.DataFrame  # its numbers
    draw: Callable[[float], Figure] | None  # takes its width in inches: WIDTH or COLUMN
    missing: tuple[str, ...] = ()  # make lines of the runs that it lacks
    remarks: tuple[str, ...] = field(default=())  # what the reader must know of its runs
    pairs: tuple[tuple[str, ...], ...] = ()  # task, true, predicted, images, share: most confused
    has_column: bool = True  # whether it can be drawn in a column of 9 cm


def save(plot: Plot, report: Path, *, column: bool = True) -> list[Path]:
    """Write a figure for a page (PNG, PDF) and for a column of 9 cm (PDF), and its numbers as CSV.

    Without `column` only those for a page are wanted. Nothing is drawn again while its numbers and
    the code that draws it are the same.
    """
    assert plot.draw is not None
    numbers = report / f"{plot.name}.csv"
    every = {report / f"{plot.name}.png": WIDTH, report / f"{plot.name}.pdf": WIDTH}
    narrow = report / f"{plot.name}-9cm.pdf"
    if plot.has_column:
        every[narrow] = COLUMN
    wanted = [path for path in every if column or path != narrow]
    text = plot.table.to_csv(index=False, lineterminator="\n")
    if not _up_to_date(text, numbers, wanted):
        for path in (numbers, narrow, *every):
            path.unlink(missing_ok=True)
        with mpl.rc_context(look([text, plot.title])):
            figures = {width: plot.draw(width) for width in {every[path] for path in wanted}}
            for path in wanted:
                save_figure(figures[every[path]], path)
        write_text(numbers, text)  # last: it says that the pictures are of these numbers
    return [*wanted, numbers]


def lacks(plot: Plot) -> list[str]:
    """Which runs or lists a figure lacks, in a line; none where it has all."""
    if not plot.missing:
        return []
    count = len(plot.missing)
    what = "list" if plot.missing[0].startswith("make lists ") else "run"
    named = [f"`{line}`" for line in plot.missing[:_NAMED]]
    more = [f"{count - _NAMED} more like these (`make status`)"] if count > _NAMED else []
    return [f"it lacks {counted(count, what)}: " + ", ".join(named + more)]


def bare(axes: Axes) -> None:
    """Take the upper and right lines from `axes`, and put a faint grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)


def _up_to_date(text: str, numbers: Path, pictures: list[Path]) -> bool:
    if not all(path.is_file() for path in (numbers, *pictures)):
        return False
    tools = [Path(str(module.__file__)) for module in (confusion, figure_style)]
    code = max(path.stat().st_mtime for path in (*Path(__file__).parent.glob("*.py"), *tools))
    drawn = min(path.stat().st_mtime for path in pictures)
    return drawn > code and numbers.read_text(encoding="utf-8") == text
