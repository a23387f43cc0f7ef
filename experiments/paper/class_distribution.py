"""How many images each class has: Figures 2 and 3 of the paper, or the same of any task.

Counted from the catalogues, images or not; the bars of a figure are also written as CSV.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from datasets.catalogue import RAW, missing, read_catalogue
from datasets.select import select
from datasets.tasks import TASKS, Task, get_task
from experiments.paper.places import REPORT
from experiments.single_run.figure_style import look, save_figure
from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import write_text

FIGURES = {"fig2": ("wikiart_style", "wikiart_genre"), "fig3": ("wga_timeframe",)}

_BLUE = "#0072B2"  # of the Okabe-Ito palette; one colour is enough, the lengths speak
_LONGEST = 70  # bars in one column: 210 artists make three
_INCHES = 0.17  # a bar's height, room for a name of 8 points
_WIDTH = 5.5  # of a column, in inches


def main() -> None:
    """Draw the figure asked for, and say where it lies."""
    parser = Parser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", choices=FIGURES, help="a figure of the paper")
    what.add_argument("--task", nargs="+", help="tasks, side by side in one figure")
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw material (default {RAW}/)")
    parser.add_argument("--tasks", type=Path, default=TASKS, help="another file of tasks")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    args = parser.parse_args()
    names = FIGURES[args.figure] if args.figure else tuple(args.task)
    name = args.figure or "classes_" + "_".join(names)
    tasks = [get_task(task, args.tasks) for task in names]
    lacks = [item for task in tasks for item in missing(task, args.raw, images=False)]
    if lacks:
        items = "\n".join(f"  - {item}" for item in dict.fromkeys(lacks))
        raise UserError(f"{name} lacks:\n{items}")
    counts = [class_counts(task, args.raw) for task in tasks]
    csv = args.report / f"{name}.csv"
    write_text(csv, pd.concat(counts).to_csv(index=False))
    png = args.report / f"{name}.png"
    with mpl.rc_context(look(name for table in counts for name in table["class"])):
        save_figure(draw(tasks, counts), png, dpi=150)
    print(f"wrote {png} and {csv}")


def class_counts(task: Task, raw: Path = RAW) -> pd.DataFrame:
    """Columns task, class, images: timeframes in their order, others from the largest down."""
    sizes = select(read_catalogue(task, raw), task).counts
    table = pd.DataFrame({"task": task.name, "class": list(sizes), "images": list(sizes.values())})
    if task.label == "timeframe":
        return table
    return table.sort_values(["images", "class"], ascending=[False, True])


def draw(tasks: list[Task], counts: list[pd.DataFrame]) -> Figure:
    """Bars with their names and numbers, a panel a task, in columns when there are many classes."""
    columns = [ceil(len(table) / _LONGEST) for table in counts]
    rows = max(ceil(len(table) / n) for table, n in zip(counts, columns, strict=True))
    figure = Figure(figsize=(_WIDTH * sum(columns), rows * _INCHES + 0.9), layout="constrained")
    panels = figure.subfigures(1, len(tasks), width_ratios=columns, squeeze=False)[0]
    for panel, task, table, number in zip(panels, tasks, counts, columns, strict=True):
        total = int(table["images"].sum())
        panel.suptitle(
            f"{task.name}: {len(table)} classes with {task.rule} images, {total:,} in all",
            fontsize=10,
        )
        longest = ceil(len(table) / number)
        for place, axes in enumerate(panel.subplots(1, number, sharex=True, squeeze=False)[0]):
            part = table.iloc[place * longest : (place + 1) * longest]
            bars = axes.barh(range(len(part)), part["images"], color=_BLUE, height=0.75)
            axes.bar_label(bars, [f"{n:,}" for n in part["images"]], padding=2, fontsize=8)
            axes.set_yticks(range(len(part)), part["class"], fontsize=8)
            axes.set_ylim(longest - 0.5, -0.5)
            axes.margins(x=0.15)
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel("images", fontsize=8)
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.tick_params(axis="x", labelsize=8)
            axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


if __name__ == "__main__":
    run(main)
