"""A contact sheet in the form of Figure 15: the query, and a row of neighbours for each model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.similarity.artworks import caption, picture
from experiments.similarity.collection import Collection
from experiments.similarity.neighbours import Neighbour, distance_text
from lib.files import whole_file

_SIDE = 400  # pixels an image is shown with at most
_LINE = 26  # characters a line of a caption
_LINES = 4


@dataclass(frozen=True)
class Shown:
    """An image, RGB, with what is written below it."""

    picture: NDArray[np.uint8]
    caption: str


def show_found(collection: Collection, found: Neighbour) -> Shown:
    """An image found, with its rank, distance and part, artist and title.

    Raises UserError when its picture is nowhere any more.
    """
    first = f"{found.rank}.  {distance_text(found.distance)}"
    if found.part:
        first += f"  ({found.part})"
    return Shown(picture(collection, found.image), f"{first}\n{caption(found.label, found.known)}")


def draw_sheet(
    query: Shown, rows: Sequence[tuple[str, Sequence[Shown]]], path: Path, title: str
) -> None:
    """Draw a PNG: the query at the left, beside it one row per model, nearest first."""
    columns = 1 + max(len(found) for _, found in rows)
    figure = Figure(figsize=(1.9 * columns, 2.9 * len(rows) + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for each in axes.flat:
        each.axis("off")
        each.set_anchor("N")
    show(axes[(len(rows) - 1) // 2][0], query, "query")
    for line, (name, found) in zip(axes, rows, strict=True):
        for place, (each, shown) in enumerate(zip(line[1:], found, strict=False)):
            show(each, shown, name if place == 0 else "")
    _room(figure, len(rows))
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=130, format="png")


def show(axes: Any, shown: Shown, heading: str) -> None:
    """Show an image in matplotlib axes, a bold heading above it and its caption below."""
    height, width = shown.picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    axes.imshow(cv2.resize(shown.picture, size, interpolation=cv2.INTER_AREA))
    if heading:
        axes.set_title(heading, fontsize=8, loc="left", fontweight="bold")
    lines = [part for line in shown.caption.split("\n") for part in textwrap.wrap(line, _LINE)]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], lines[_LINES - 1] + " …"]
    text = "\n".join(lines).replace("$", r"\$")
    axes.text(0, -0.04, text, transform=axes.transAxes, fontsize=6.5, va="top", in_layout=True)


def _room(figure: Figure, rows: int) -> None:
    """Captions hang below their images, where the layout sees none: leave room for them."""
    figure.get_layout_engine().set(h_pad=0.18, rect=(0, 0.08 / rows, 1, 1 - 0.08 / rows))  # type: ignore[union-attr, call-arg]
