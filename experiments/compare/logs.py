"""Lay somebody's Caffe log over a run of ours: loss, accuracy, learning rate; picture and table.

Ours: loss and learning rate as Caffe itself logged them, accuracy and test loss over every
validation image exactly once (Caffe's own is a mean over test_iter batches).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from experiments.compare.caffe_log import Log, read_log
from experiments.paper.figures.plot import COLOURS, Plot, bare, save
from experiments.paper.places import REPORT
from experiments.paper.tables import BLANK
from experiments.single_run.curve import read
from experiments.single_run.figure_style import TITLE_SIZE, WIDTH, wrapped_title
from experiments.single_run.find_run import find_run
from experiments.single_run.folder import RunFolder
from lib import text_tables
from lib.errors import UserError

_ROWS = 20  # at most so many lines of the table are printed; the CSV has all
_SAME_RATE = 1e-6  # relative; Caffe prints six digits and computes in float


@dataclass(frozen=True)
class Comparison:
    """Somebody's log and a run of ours, iteration by iteration."""

    table: pd.DataFrame  # as overlay() makes it
    files: list[Path]
    notes: list[str]  # what of their log was not read, or how it was understood


def compare_logs(theirs: Path, run: str, report: Path = REPORT) -> Comparison:
    """Read a log and RUN=<task>/<run>; write the numbers (CSV) and the picture (PNG, PDF).

    Raises UserError when one of the two can't be read.
    """
    folder = run_with_curve(run)
    log = read_log(theirs)
    table = overlay(log, ours(folder))
    name = f"{folder.path.parent.name}-{folder.path.name}-{theirs.stem}"
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    title = f"{theirs} over {folder.path.parent.name}/{folder.path.name}"
    plot = Plot(
        name=f"compare/{name}",
        title=title,
        caption="Theirs: dashed. Ours: accuracy and loss over all validation images.",
        table=table,
        draw=lambda width: draw(table, title, width),
    )
    return Comparison(table, save(plot, report), log.notes)


def run_with_curve(word: str) -> RunFolder:
    """The folder that RUN= names, or a path to it; UserError when nothing ran there."""
    path = Path(word)
    folder = RunFolder(path) if (path / "curve.csv").is_file() else find_run(word)
    if not folder.curve.is_file():
        raise UserError(f"RUN={word}: no curve in {folder.path}/")
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


def terminal(table: pd.DataFrame, width: int | None = None) -> str:
    """The table, thinned to a screenful: best of all the rows with accuracies of both."""
    accuracies = ["accuracy, theirs", "accuracy, ours"]
    choices = [table.dropna(subset=accuracies, how=how) for how in ("any", "all")]
    shown = next((choice for choice in choices if len(choice) > 1), table)
    shown = shown.iloc[:: max(1, -(-len(shown) // _ROWS))]
    rows = [
        [str(iteration), *(BLANK if pd.isna(value) else f"{value:.5g}" for value in values)]
        for iteration, *values in shown.itertuples(index=False)
    ]
    return text_tables.aligned(list(table.columns), rows, width)


def draw(table: pd.DataFrame, title: str, width: float = WIDTH) -> Figure:
    """Loss, accuracy and learning rate over the iterations, theirs and ours."""
    figure = Figure(figsize=(width, 7.5), layout="constrained")
    figure.suptitle(wrapped_title(title, width), fontsize=TITLE_SIZE)
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
