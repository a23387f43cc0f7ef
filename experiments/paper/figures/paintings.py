"""Paintings in rows, each with its label below it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure

from datasets.decode import Picture
from experiments.paper.painting_labels import PaintingLabel
from experiments.single_run.figure_style import (
    SMALLEST,
    TITLE_SIZE,
    letters_in,
    shortened,
    wrapped_title,
)

LONGEST = 400  # pixels of a shown painting's longer side
_LINE = SMALLEST * 1.25 / 72  # inches from one line of a label to the next
_GAP = 0.08  # inches between paintings
_HEADING = 7.0  # points

Cell = tuple[np.ndarray | None, str, PaintingLabel]  # RGB or None, heading, label


def draw_paintings(
    rows: Sequence[Sequence[Cell]],
    title: str,
    width: float,
    per_row: int,
    headings: Sequence[str] = (),
) -> Figure:
    """Rows of at most `per_row` paintings, `width` inches across; `headings` one for each row.

    A painting whose picture is None is not on this machine, and says so.
    """
    side = (width - _GAP * (per_row + 1)) / per_row
    letters = letters_in(side, SMALLEST)
    labels = [[cell[2].lines(letters) for cell in row] for row in rows]
    above = [0.2 if any(heading for _, heading, _ in row) else 0.04 for row in rows]
    over = [wrapped_title(heading, width, _HEADING * 1.1) for heading in headings]
    for number, text in enumerate(over):
        above[number] += 0.06 + _HEADING * 1.3 / 72 * (text.count("\n") + 1)
    below = [max((len(lines) for lines in row), default=0) * _LINE + 0.12 for row in labels]
    tall = [max((_height(cell[0], side) for cell in row), default=side) for row in rows]
    wrapped = wrapped_title(title, width)
    top = 0.1 + TITLE_SIZE * 1.3 / 72 * (wrapped.count("\n") + 1)
    height = top + sum(above) + sum(below) + sum(tall)
    figure = Figure(figsize=(width, height))
    figure.text(0.5, 1 - 0.06 / height, wrapped, ha="center", va="top", fontsize=TITLE_SIZE)
    y = height - top
    for number, row in enumerate(rows):
        if headings:
            figure.text(
                _GAP / width,
                (y - 0.02) / height,
                over[number],
                va="top",
                fontsize=_HEADING,
                fontweight="bold",
            )
        y -= above[number]
        for place, ((picture, heading, _), lines) in enumerate(
            zip(row, labels[number], strict=True)
        ):
            x = _GAP + place * (side + _GAP)
            own = _height(picture, side)
            axes = figure.add_axes(
                (x / width, (y - own) / height, side / width, own / height), frameon=False
            )
            axes.set_axis_off()
            if picture is None:
                axes.text(0.5, 0.5, "image\nnot here", ha="center", va="center", fontsize=SMALLEST)
            else:
                axes.imshow(picture, aspect="equal")
                axes.set_anchor("NW")
            if heading:
                until = next((n for n in range(place + 1, len(row)) if row[n][1]), per_row)
                room = (until - place) * (side + _GAP) - _GAP
                figure.text(
                    x / width,
                    (y + 0.04) / height,
                    shortened(heading, letters_in(room, _HEADING)),
                    fontsize=_HEADING,
                    fontweight="normal" if headings else "bold",
                )
            for line, text in enumerate(lines):
                figure.text(
                    x / width,
                    (y - own - 0.04 - line * _LINE) / height,
                    text,
                    va="top",
                    fontsize=SMALLEST,
                )
        y -= tall[number] + below[number]
    return figure


def small(picture: Picture, longest: int = LONGEST) -> Picture:
    """The picture with its proportions, no side longer than `longest`."""
    factor = longest / max(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _height(picture: np.ndarray | None, side: float) -> float:
    """How tall a painting is drawn in inches: as wide as its column, at most 1.3 times that."""
    if picture is None:
        return side * 0.7
    rows, columns = picture.shape[:2]
    return min(side * rows / columns, side * 1.3)
