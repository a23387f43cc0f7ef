"""The small curves on the pages of runs: reckoned here, drawn by the browser as SVG."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 615, 10, 200  # of the drawing in templates/macros.html
_POINTS = 300  # of a line: more are not seen


@dataclass(frozen=True)
class Chart:
    """Lines and ticks in the drawing's own units."""

    title: str
    lines: tuple[tuple[str, str], ...]  # kind ("val", "train"), points of a polyline
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its lines."""
        return tuple(kind for kind, _ in self.lines)


def charts(curve: Path) -> list[Chart]:
    """Validation accuracy, and the losses, of a curve.csv; none of a file that can't be read.

    Read faster than by tools.curve, for hundreds of runs at once.
    """
    try:
        text = curve.read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text[: text.rfind("\n") + 1]))
        chosen = {
            "validation accuracy": {"val": table[["epoch", "val_accuracy"]]},
            "loss": {"val": table[["epoch", "val_loss"]], "train": table[["epoch", "train_loss"]]},
        }
    except (OSError, ValueError, KeyError):
        return []
    made = [_chart(title, lines) for title, lines in chosen.items()]
    return [chart for chart in made if chart]


def _chart(title: str, lines: dict[str, pd.DataFrame]) -> Chart | None:
    numbers = {}
    for kind, line in lines.items():
        known = line.apply(pd.to_numeric, errors="coerce").dropna().to_numpy()
        if len(known):
            numbers[kind] = known[:: math.ceil(len(known) / _POINTS)]
    if not numbers:
        return None
    furthest = max(float(line[:, 0].max()) for line in numbers.values()) or 1.0
    highest = max(float(line[:, 1].max()) for line in numbers.values()) or 1.0
    y_ticks = _ticks(highest)
    top = max(highest, y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_RIGHT - _LEFT) * x / furthest
        return round(across, 1), round(_BOTTOM - (_BOTTOM - _TOP) * y / top, 1)

    return Chart(
        title,
        tuple(
            (kind, " ".join("{},{}".format(*place(x, y)) for x, y in line))
            for kind, line in numbers.items()
        ),
        tuple((place(x, 0)[0], f"{x:g}") for x in _ticks(furthest)),
        tuple((place(0, y)[1], f"{y:g}") for y in y_ticks),
    )


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0 to about `highest`, four to eight of them."""
    rough = highest / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(step * place, 10) for place in range(math.ceil(highest / step - 0.2) + 1)]
