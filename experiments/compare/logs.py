"""Lay somebody's Caffe log over a run of ours: loss, accuracy, learning rate; picture and table.

Ours: loss and learning rate as Caffe itself logged them, accuracy and test loss over every
validation image exactly once (Caffe's own is a mean over test_iter batches).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from experiments.compare.caffe_log import Log, read_log
from experiments.paper.figures.plot import COLOURS, bare
from experiments.paper.places import REPORT
from experiments.paper.tables import BLANK, escaped
from experiments.single_run.curve import read
from experiments.single_run.figure_style import WIDTH, look, save_figure
from experiments.single_run.folder import RunFolder, run_folder
from lib.cli import Parser
from lib.cli import run as run_tool
from lib.errors import UserError
from lib.files import write_text

_ROWS = 20  # at most so many lines of the table are printed; the CSV has all
_SAME_RATE = 1e-6  # relative; Caffe prints six digits and computes in float


def main() -> None:
    """Command line: see --help."""
    arguments = _flags().parse_args()
    folder = find_run(arguments.run)
    table = overlay(read_log(arguments.log), ours(folder))
    name = f"{folder.path.parent.name}-{folder.path.name}-{arguments.log.stem}"
    stem = (
        arguments.report
        / "compare"
        / "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    )
    numbers, picture = stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.png")
    write_text(numbers, table.to_csv(index=False, lineterminator="\n"))
    title = f"{arguments.log} over {folder.path.parent.name}/{folder.path.name}"
    with mpl.rc_context(look([title])):
        save_figure(draw(table, title), picture)
    print(markdown(table))
    print(*verdict(table), sep="\n")
    print(f"wrote {numbers} and {picture}")


def find_run(word: str) -> RunFolder:
    """The folder of RUN=<task>/<run>, or of a path to it; UserError when nothing ran there."""
    task, slash, name = word.partition("/")
    path = run_folder(task, name).path if slash and "/" not in name else Path(word)
    folder = RunFolder(path)
    if not slash or not folder.curve.is_file():
        raise UserError(f"RUN={word}: no curve in {path}/; a run is named <task>/<run>")
    return folder


def ours(folder: RunFolder) -> Log:
    """A run of ours as a log: its caffe.log for loss and rate, its curve for the validation."""
    points = read(folder.curve)
    try:
        log = read_log(folder.log)
    except UserError:
        log = Log(
            loss={p.iteration: p.train_loss for p in points if p.train_loss is not None},
            lr={p.iteration: p.lr for p in points if p.lr is not None},
        )
    log.accuracy = {p.iteration: p.val_accuracy for p in points if p.val_accuracy is not None}
    log.test_loss = {p.iteration: p.val_loss for p in points if p.val_loss is not None}
    return log


def overlay(theirs: Log, mine: Log) -> pd.DataFrame:
    """A row an iteration that either log tells of, ascending; theirs and ours side by side."""
    columns = {}
    for name in ("loss", "test_loss", "accuracy", "lr"):
        columns[f"{name}, theirs"] = getattr(theirs, name)
        columns[f"{name}, ours"] = getattr(mine, name)
    table = pd.DataFrame({name: pd.Series(series, dtype=float) for name, series in columns.items()})
    table.index.name = "iteration"
    return table.sort_index().reset_index()


def verdict(table: pd.DataFrame) -> list[str]:
    """What the two have in common, in a few lines."""
    said = []
    rates = table.dropna(subset=["lr, theirs", "lr, ours"])
    if len(rates):
        gap = (rates["lr, theirs"] - rates["lr, ours"]).abs()
        other = rates[gap > _SAME_RATE * rates["lr, theirs"].abs()]
        said.append(
            f"learning rate: the same at all {len(rates)} common iterations"
            if other.empty
            else f"learning rate: differs at {len(other)} of {len(rates)} common iterations, first "
            f"at {int(other['iteration'].iloc[0])}: theirs {other['lr, theirs'].iloc[0]:g}, "
            f"ours {other['lr, ours'].iloc[0]:g}"
        )
    for name, words in (("loss", "training loss"), ("accuracy", "accuracy")):
        both = table.dropna(subset=[f"{name}, theirs", f"{name}, ours"])
        if len(both):
            gap = both[f"{name}, ours"] - both[f"{name}, theirs"]
            said.append(
                f"{words}: at {len(both)} common iterations ours minus theirs is "
                f"{gap.mean():+.4f} in the mean, at most {gap.abs().max():.4f}; "
                f"at the last of them ({int(both['iteration'].iloc[-1])}) {gap.iloc[-1]:+.4f}"
            )
    for side in ("theirs", "ours"):
        known = table.dropna(subset=[f"accuracy, {side}"])
        if len(known):
            top = known.iloc[int(known[f"accuracy, {side}"].to_numpy().argmax())]
            said.append(
                f"best accuracy, {side}: {top[f'accuracy, {side}']:.4f} "
                f"at iteration {int(top['iteration'])}"
            )
    return said or ["the two logs have nothing to compare"]


def markdown(table: pd.DataFrame) -> str:
    """The table, thinned to a screenful: best of all the rows with accuracies of both."""
    accuracies = ["accuracy, theirs", "accuracy, ours"]
    choices = [table.dropna(subset=accuracies, how=how) for how in ("any", "all")]
    shown = next((choice for choice in choices if len(choice) > 1), table)
    shown = shown.iloc[:: -(-len(shown) // _ROWS)]
    lines = [list(table.columns), ["---:"] * len(table.columns)]
    for row in shown.itertuples(index=False):
        iteration, *values = row
        lines.append([str(iteration), *(BLANK if pd.isna(v) else f"{v:.5g}" for v in values)])
    return "\n".join(f"| {' | '.join(map(escaped, map(str, line)))} |" for line in lines) + "\n"


def draw(table: pd.DataFrame, title: str) -> Figure:
    """Loss, accuracy and learning rate over the iterations, theirs and ours."""
    figure = Figure(figsize=(WIDTH, 7.5), layout="constrained")
    figure.suptitle(title, fontsize=9)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(2, 2, 1))
    for axes, names, label in zip(
        panels,
        (("loss", "test_loss"), ("accuracy",), ("lr",)),
        ("loss", "accuracy", "learning rate"),
        strict=True,
    ):
        for name in names:
            for side, colour in (("theirs", COLOURS[1]), ("ours", COLOURS[0])):
                known = table.dropna(subset=[f"{name}, {side}"])
                if known.empty:
                    continue
                is_test = name == "test_loss"
                axes.plot(
                    known["iteration"],
                    known[f"{name}, {side}"],
                    color=colour,
                    linestyle="--" if side == "theirs" else "-",
                    marker=("s" if side == "theirs" else "o")
                    if name in ("accuracy", "test_loss")
                    else "",
                    markersize=3,
                    alpha=0.5 if is_test else 1,
                    linewidth=1.2,
                    drawstyle="steps-post" if name == "lr" else "default",
                    label=f"{side}, test" if is_test else side,
                )
        axes.set_ylabel(label)
        axes.legend()
        bare(axes)
    panels[-1].set_yscale("log")
    # Plain numbers, since the default writes formulas, which our look does not read as such.
    panels[-1].yaxis.set_major_formatter(LogFormatter())
    panels[-1].yaxis.set_minor_formatter(LogFormatter())
    panels[-1].set_xlabel("iteration")
    return figure


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="the other Caffe's log")
    parser.add_argument("--run", required=True, help="run of ours: <task>/<run>")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    return parser


if __name__ == "__main__":
    run_tool(main)
