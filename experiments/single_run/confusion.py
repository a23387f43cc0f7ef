"""Confusion matrices in the paper's form (Figures 10 and 12 to 14), for print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.single_run.figure_style import WIDTH, look, save_figure, shortened
from experiments.single_run.metrics import shares

# matplotlib is imported where it is needed: few calls of make draw.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERED = 30  # up to so many classes each cell carries its per cent
_SIDE_BY_SIDE = 12  # classes; larger matrices stand one above the other
_PAGE = 10.6  # inches: the height of a printed page
_POSTER_CELL = 7.5  # points: a line of 6-point letters each, where a page is too small
_LONGEST = 40  # letters of a name that are shown


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix, and what stands above it."""

    counts: np.ndarray  # (classes, classes), true by predicted
    classes: list[str]
    title: str


def draw(matrices: list[Matrix]) -> Figure:
    """The matrices side by side, or one above the other where their names need the width.

    Each row in per cent of its true class; at the right the accuracy of the class.
    """
    from matplotlib.figure import Figure

    largest = max(len(matrix.classes) for matrix in matrices)
    beside = largest <= _SIDE_BY_SIDE and len(matrices) > 1
    columns = len(matrices) if beside else 1
    highest = _PAGE / (1 if beside else len(matrices))
    boxes = [_Box(matrix, WIDTH / columns, highest) for matrix in matrices]
    width = sum(box.width for box in boxes) if beside else max(box.width for box in boxes)
    height = max(box.height for box in boxes) if beside else sum(box.height for box in boxes)
    figure = Figure(figsize=(width, height))
    left, top = 0.0, height
    for box in boxes:
        x = left + box.left
        y = top - box.top - box.side
        axes = figure.add_axes((x / width, y / height, box.side / width, box.side / height))
        _fill(axes, box)
        if beside:
            left += box.width
        else:
            top -= box.height
    return figure


def draw_confusion(matrix: np.ndarray, classes: list[str], path: Path, title: str) -> None:
    """Draw a confusion matrix (classes, classes), true by predicted counts, row-normalised, as PNG.

    The paper's form (Figures 10 and 12 to 14): per cent of each true class.
    """
    import matplotlib as mpl

    with mpl.rc_context(look([title, *classes])):
        save_figure(draw([Matrix(matrix, classes, title)]), path)


class _Box:
    """Where a matrix and its names find room, in inches; computed, since measuring is slow."""

    def __init__(self, matrix: Matrix, width: float, highest: float) -> None:
        self.matrix = matrix
        count = len(matrix.classes)
        longest = max(len(name) for name in matrix.classes)
        self.right, self.top = 0.5, 0.35 + 0.15 * matrix.title.count("\n")
        for self.font in (8.0, 7.5, 7.0, 6.5, 6.0):
            names = min(longest, _LONGEST) * self.font * 0.6 / 72 + 0.1
            self.left = names + 0.25
            self.side = min(width - self.left - self.right, highest - self.top - names - 0.35)
            if self.side * 72 / count >= self.font + 4:
                break
        self.side = max(self.side, count * _POSTER_CELL / 72)
        self.cell = self.side * 72 / count  # points
        self.width = self.left + self.side + self.right
        self.height = self.top + self.side + names + 0.35


def _fill(axes: Axes, box: _Box) -> None:
    matrix, count = box.matrix, len(box.matrix.classes)
    part = shares(matrix.counts)
    axes.imshow(part, cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    names = [shortened(name, _LONGEST) for name in matrix.classes]
    axes.set_xticks(range(count), names, rotation=90, fontsize=box.font)
    axes.set_yticks(range(count), names, fontsize=box.font)
    axes.tick_params(length=1.5, width=0.4, pad=1.5)
    of_class = axes.secondary_yaxis("right")
    images = matrix.counts.sum(axis=1)
    accuracies = [f"{part[n, n]:.0%}" if images[n] else "" for n in range(count)]
    of_class.set_yticks(range(count), accuracies, fontsize=box.font)
    of_class.tick_params(length=0, pad=2)
    of_class.spines["right"].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(matrix.title)
    if count <= _NUMBERED:
        size = min(box.cell * 0.55, 8)
        for (row, column), share in np.ndenumerate(part):
            if round(share * 100):
                axes.text(
                    column,
                    row,
                    f"{share * 100:.0f}",
                    ha="center",
                    va="center_baseline",
                    fontsize=size,
                    color="white" if share > 0.55 else "black",
                )
