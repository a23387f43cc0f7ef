"""The look that all pictures share: fonts, sizes, and how a figure is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.files import whole_file

# matplotlib is imported where it is needed: it takes a second, and few calls of make draw.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 18 / 2.54  # inches: the text of a page, 18 cm; letters of 8 points are 8 in print
COLUMN = 9 / 2.54  # a column of a page, 9 cm
SMALLEST = 6.0  # points: no letter of a figure is smaller where it is printed
TITLE_SIZE = 9.0
DPI = 200

_FONT = "DejaVu Sans"  # matplotlib's own
_ASPECT = 0.6  # width of its letters over their size, on average and a little more


def look(names: Iterable[str] = ()) -> dict[Any, Any]:
    """The settings of matplotlib under which to draw a picture that shows these names.

    A class may be called $5$: that is no formula. And it may be called 浮世絵: letters that
    matplotlib's own font lacks are taken from a font of the system that has them, if there is one.
    """
    return {
        "font.size": 8,
        "font.family": [_FONT, *_more_fonts(set("".join(names)))],
        "axes.titlesize": TITLE_SIZE,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "pdf.fonttype": 42,  # letters stay letters, not outlines
        "text.parse_math": False,
    }


def save_figure(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a figure, whole or not at all, in the format that the name of `path` ends with."""
    with whole_file(path) as aside:
        figure.savefig(aside, format=path.suffix[1:], dpi=dpi)


def shortened(name: str, longest: int) -> str:
    """The name, or as much of it as has room in so many letters."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def is_column(width: float) -> bool:
    """Whether a figure of this width (inches) is for a column, not for a whole page."""
    return width < (COLUMN + WIDTH) / 2


def letters_in(width: float, size: float = TITLE_SIZE) -> int:
    """About how many letters of `size` points have room in `width` inches."""
    return max(1, int(width * 72 / (size * _ASPECT)))


def wrapped_title(title: str, width: float, size: float = TITLE_SIZE) -> str:
    """A title in as many lines as it needs in a figure of this width (inches).

    Names of files and runs are broken after - _ / too, where a line has no blank.
    """
    lines, longest = [""], letters_in(width * 0.97, size)
    for part in re.findall(r"\S*?[-_/](?=\S)|\S+\s*|\s+", title):
        for piece in (part[n : n + longest] for n in range(0, len(part), longest)):
            if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > longest:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


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
