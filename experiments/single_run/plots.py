"""The pictures of one run, its curve and its confusion matrix; and the look of all pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.single_run.curve import Point
from lib.files import whole_file

# matplotlib is imported where it is needed: it takes a second, and few calls of make draw.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches: the text of a page; letters of 8 points stay 8 points in print
DPI = 200

_FONT = "DejaVu Sans"  # matplotlib's own
_TRAIN, _VAL = "#0072b2", "#d55e00"  # told apart by colour-blind readers too (Okabe and Ito)


def look(names: Iterable[str] = ()) -> dict[Any, Any]:
    """The settings of matplotlib under which to draw a picture that shows these names.

    A class may be called $5$: that is no formula. And it may be called 浮世絵: letters that
    matplotlib's own font lacks are taken from a font of the system that has them, if there is one.
    """
    return {
        "font.size": 8,
        "font.family": [_FONT, *_more_fonts(set("".join(names)))],
        "axes.titlesize": 9,
        "axes.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "pdf.fonttype": 42,  # letters stay letters, not outlines
        "text.parse_math": False,
    }


def draw_curve(points: list[Point], path: Path, title: str) -> None:
    """Draw training loss, validation loss and validation accuracy over the epochs, as PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    trained = [point for point in points if point.train_loss is not None]
    validated = [point for point in points if point.val_accuracy is not None]
    with mpl.rc_context(look([title])):
        figure = Figure(figsize=(WIDTH, 6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.plot([p.epoch for p in trained], [p.train_loss for p in trained], color=_TRAIN)
        above.plot([p.epoch for p in validated], [p.val_loss for p in validated], color=_VAL)
        above.legend(["training", "validation"])
        above.set_ylabel("loss")
        above.set_title(title)
        below.plot([p.epoch for p in validated], [p.val_accuracy for p in validated], color=_VAL)
        below.set_ylabel("validation accuracy")
        below.set_xlabel("epoch")
        below.set_ylim(0, 1)
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.3)
        save_figure(figure, path)


def draw_confusion(matrix: np.ndarray, classes: list[str], path: Path, title: str) -> None:
    """Draw a confusion matrix (classes, classes), true by predicted counts, row-normalised, as PNG.

    The paper's form (Figures 10 and 12 to 14): per cent of each true class.
    """
    import matplotlib as mpl

    from experiments.single_run.confusion import Matrix, draw

    with mpl.rc_context(look([title, *classes])):
        save_figure(draw([Matrix(matrix, classes, title)]), path)


def save_figure(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a figure, whole or not at all, in the format that the name of `path` ends with."""
    with whole_file(path) as aside:
        figure.savefig(aside, format=path.suffix[1:], dpi=dpi)


def shortened(name: str, longest: int) -> str:
    """The name, or as much of it as has room in so many letters."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _more_fonts(letters: set[str]) -> list[str]:
    """Fonts of the system with those of the letters that matplotlib's own font lacks."""
    from matplotlib.font_manager import fontManager, get_font

    def known(path: str) -> set[int]:
        return set(get_font(path).get_charmap())

    lacking = {ord(letter) for letter in letters if letter.isprintable()}
    lacking -= known(fontManager.findfont(_FONT))
    if not lacking:
        return []
    # Last Resort has every letter, but only as a box.
    names = {each.name for each in fontManager.ttflist if not each.name.startswith("Last Resort")}
    having = {name: known(fontManager.findfont(name)) for name in names}
    chosen: list[str] = []
    while lacking and having:
        name = max(sorted(having), key=lambda name: len(having[name] & lacking))
        if not having[name] & lacking:
            break
        chosen.append(name)
        lacking -= having.pop(name)
    return chosen
