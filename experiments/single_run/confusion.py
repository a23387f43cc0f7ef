"""Confusion matrices in the paper's form (Figures 10 and 12 to 14), for print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.single_run.figure_style import (
    COLUMN,
    SMALLEST,
    WIDTH,
    is_column,
    look,
    save_figure,
    shortened,
    wrapped_title,
)
from experiments.single_run.metrics import shares

# matplotlib is imported where it is needed: few calls of make draw.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERED = 30  # up to so many classes each cell carries its per cent
_SIDE_BY_SIDE = 12  # classes; larger matrices stand one above the other
_PAGE = 10.6  # inches: the height of a printed page
_DIGITS_CELL = 9.5  # points: two digits of 6 points and air
_LINE = 1.2  # lines of names are so many letter sizes apart, at least
_POSTER_CELL = 7.5  # points: a line of 6-point letters each, where a page is too small
_LONGEST = 40  # letters of a name that are shown
_BELOW = 0.35  # inches: room for the word "predicted"

# Shares are drawn by this power, so that 5 % and 25 % can be told from 0 and from each other.
_GAMMA = 0.45


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix, and what stands above it."""

    counts: np.ndarray  # (classes, classes), true by predicted
    classes: list[str]
    title: str


def draw(matrices: list[Matrix], width: float = WIDTH) -> Figure:
    """The matrices side by side, or one above the other where their names need the width.

    Each row in per cent of its true class; at the right the accuracy of the class and its number of
    test images. `width` in inches; more where the names of hundreds of classes need it.
    """
    from matplotlib.figure import Figure

    boxes = _boxes(matrices, width)
    beside = _is_beside(matrices, width)
    across = sum(box.width for box in boxes) if beside else max(box.width for box in boxes)
    height = max(box.height for box in boxes) if beside else sum(box.height for box in boxes)
    across = max(across, width)
    figure = Figure(figsize=(across, height))
    left, top = 0.0, height
    for box in boxes:
        x = left + box.left
        y = top - box.top - box.side
        axes = figure.add_axes((x / across, y / height, box.side / across, box.side / height))
        _fill(axes, box)
        if beside:
            left += box.width
        else:
            top -= box.height
    return figure


def fits_column(matrices: list[Matrix]) -> bool:
    """Whether the matrices can be drawn in a column of 9 cm: all names, at 6 points or more."""
    return all(box.is_readable for box in _boxes(matrices, COLUMN))


def draw_confusion(matrix: np.ndarray, classes: list[str], path: Path, title: str) -> None:
    """Draw a confusion matrix (classes, classes), true by predicted counts, as PNG and as PDF.

    The paper's form (Figures 10 and 12 to 14): per cent of each true class. The PDF lies beside
    `path`, the PNG.
    """
    import matplotlib as mpl

    with mpl.rc_context(look([title, *classes])):
        figure = draw([Matrix(matrix, classes, title)])
        save_figure(figure, path.with_suffix(".pdf"))
        save_figure(figure, path)


def most_confused(
    counts: np.ndarray, classes: list[str], most: int = 10
) -> list[tuple[str, str, int, float]]:
    """The largest numbers off the diagonal as (true, predicted, images, share of true).

    By share; of equals the one with more images comes first.
    """
    part = shares(counts)
    off = [(int(true), int(said)) for true, said in zip(*np.nonzero(counts), strict=True)]
    off = [(true, said) for true, said in off if true != said]
    off.sort(key=lambda pair: (-part[pair], -counts[pair], pair))
    return [
        (classes[true], classes[said], int(counts[true, said]), float(part[true, said]))
        for true, said in off[:most]
    ]


def _is_beside(matrices: list[Matrix], width: float) -> bool:
    largest = max(len(matrix.classes) for matrix in matrices)
    return largest <= _SIDE_BY_SIDE and len(matrices) > 1 and not is_column(width)


def _boxes(matrices: list[Matrix], width: float) -> list[_Box]:
    """A box for each matrix. Those that stand side by side have sides of the same length."""
    if not matrices:
        return []
    beside = _is_beside(matrices, width)
    room = width / len(matrices) if beside else width
    highest = _PAGE / (1 if beside else len(matrices))
    boxes = [_Box(matrix, room, highest) for matrix in matrices]
    if beside:
        side, left = min(box.side for box in boxes), max(box.left for box in boxes)
        top = max(box.top for box in boxes)
        for box in boxes:
            box.side, box.left, box.top = side, left, top
            box.left = min(left, room - side - box.right)
    return boxes


class _Box:
    """Where a matrix and its names find room, in inches; computed, since measuring is slow."""

    def __init__(self, matrix: Matrix, width: float, highest: float) -> None:
        self.matrix = matrix
        self.title = wrapped_title(matrix.title, width) if is_column(width) else matrix.title
        count = len(matrix.classes)
        longest = min(max(len(name) for name in matrix.classes), _LONGEST)
        letters = len(f"100% of {int(matrix.counts.sum(axis=1).max()):,}")
        self.top = 0.35 + 0.15 * self.title.count("\n")
        for self.font in (8.0, 7.5, 7.0, 6.5, SMALLEST):
            names = longest * self.font * 0.6 / 72 + 0.1
            self.right = letters * self.font * 0.6 / 72 + 0.15
            self.left = names + 0.25
            self.side = min(width - self.left - self.right, highest - self.top - names - _BELOW)
            if self.side * 72 / count >= self.font + 4:
                break
        self.names = names
        self.is_readable = self.side * 72 / count >= SMALLEST * _LINE
        self.side = max(self.side, count * _POSTER_CELL / 72)
        self.letters = longest

    @property
    def cell(self) -> float:
        """The side of a cell, in points."""
        return self.side * 72 / len(self.matrix.classes)

    @property
    def width(self) -> float:
        """With names and numbers."""
        return self.left + self.side + self.right

    @property
    def height(self) -> float:
        """With names and title."""
        return self.top + self.side + self.names + _BELOW


def _fill(axes: Axes, box: _Box) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    matrix, count = box.matrix, len(box.matrix.classes)
    part = shares(matrix.counts)
    norm, colours = PowerNorm(_GAMMA, vmin=0, vmax=1), colormaps["Blues"]
    axes.imshow(part, cmap=colours, norm=norm, aspect="equal", interpolation="nearest")
    names = [shortened(name, box.letters) for name in matrix.classes]
    axes.set_xticks(range(count), names, rotation=90, fontsize=box.font)
    axes.set_yticks(range(count), names, fontsize=box.font)
    axes.tick_params(length=1.5, width=0.4, pad=1.5)
    of_class = axes.secondary_yaxis("right")
    images = matrix.counts.sum(axis=1)
    accuracies = [
        f"{part[n, n]:.0%} of {images[n]:,}" if images[n] else "none" for n in range(count)
    ]
    of_class.set_yticks(range(count), accuracies, fontsize=box.font)
    of_class.tick_params(length=0, pad=2)
    of_class.spines["right"].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(box.title)
    if count <= _NUMBERED and box.cell >= _DIGITS_CELL:
        size = min(max(box.cell * 0.55, SMALLEST), 8)
        for (row, column), share in np.ndenumerate(part):
            if round(share * 100):
                axes.text(
                    column,
                    row,
                    f"{share * 100:.0f}",
                    ha="center",
                    va="center_baseline",
                    fontsize=size,
                    color=readable_on(colours(norm(share))),
                )


def readable_on(ground: Sequence[float]) -> str:
    """Black or white, whichever stands out more from an sRGB colour: 4.5 to 1 or more (WCAG 2)."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in ground[:3]
    ]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "black"
