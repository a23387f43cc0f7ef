"""The pictures of one run: its curve and its confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from base.files import whole_file
from tools.curve import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAIN, _VAL = "#0072b2", "#d55e00"  # told apart by colour-blind readers too (Okabe and Ito)
_NUMBERED = 15  # up to so many classes the cells of a confusion matrix carry their numbers


def draw_curve(points: list[Point], path: Path, title: str) -> None:
    """Draw training loss, validation loss and validation accuracy over the epochs, as PNG."""
    trained = [point for point in points if point.train_loss is not None]
    validated = [point for point in points if point.val_accuracy is not None]
    figure = _figure((7, 6))
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot([p.epoch for p in trained], [p.train_loss for p in trained], color=_TRAIN)
    above.plot([p.epoch for p in validated], [p.val_loss for p in validated], color=_VAL)
    above.legend(["training", "validation"], frameon=False)
    above.set_ylabel("loss")
    above.set_title(title)
    below.plot([p.epoch for p in validated], [p.val_accuracy for p in validated], color=_VAL)
    below.set_ylabel("validation accuracy")
    below.set_xlabel("epoch")
    below.set_ylim(0, 1)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    _save(figure, path)


def draw_confusion(matrix: np.ndarray, classes: list[str], path: Path, title: str) -> None:
    """Draw a confusion matrix (classes, classes), true by predicted counts, row-normalised, as PNG.

    The paper's form (Figures 10 and 12 to 14): shares of each true class.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(5.0, min(0.35 * len(classes) + 3, 30.0))
    figure = _figure((side, side))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    font = 9 if len(classes) <= 30 else 5
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=font)
    axes.set_yticks(range(len(classes)), classes, fontsize=font)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    if len(classes) <= _NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    _save(figure, path)


def _figure(size: tuple[float, float]) -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.figure import Figure  # here: it takes a second, and few calls of make draw

    return Figure(figsize=size, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=150, format="png")
