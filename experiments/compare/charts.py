"""The small curves on the pages of runs: reckoned here, drawn by the browser as SVG."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 615, 10, 200  # of the drawing in templates/macros.html
_COLUMNS = ["epoch", "val_accuracy", "val_loss", "train_loss"]
_POINTS = 200  # of a line: more are not seen


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

    Read faster than by experiments.single_run.curve, for hundreds of runs at once.
    """
    try:
        text = curve.read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text[: text.rfind("\n") + 1]), usecols=_COLUMNS)
        epoch, accuracy, val_loss, train_loss = (
            pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in _COLUMNS
        )
    except (OSError, ValueError, KeyError):
        return []
    chosen = {
        "validation accuracy": {"val": np.column_stack((epoch, accuracy))},
        "loss": {
            "val": np.column_stack((epoch, val_loss)),
            "train": np.column_stack((epoch, train_loss)),
        },
    }
    made = [_chart(title, lines) for title, lines in chosen.items()]
    return [chart for chart in made if chart]


def _chart(title: str, lines: dict[str, np.ndarray]) -> Chart | None:
    numbers = {}
    for kind, line in lines.items():
        known = line[np.isfinite(line).all(axis=1)]
        if len(known):
            shown = np.linspace(0, len(known) - 1, min(len(known), _POINTS))  # the last is one
            numbers[kind] = known[shown.round().astype(int)]
    if not numbers:
        return None
    furthest = max(float(line[:, 0].max()) for line in numbers.values()) or 1.0
    highest = max(float(line[:, 1].max()) for line in numbers.values()) or 1.0
    x_ticks, y_ticks = np.array(_ticks(furthest)), np.array(_ticks(highest))
    top = max(highest, y_ticks[-1])
    across = (_RIGHT - _LEFT) / furthest
    up = (_BOTTOM - _TOP) / top
    drawn = []
    for kind, line in numbers.items():
        x, y = _LEFT + across * line[:, 0], _BOTTOM - up * line[:, 1]
        points = zip(x.round(1).tolist(), y.round(1).tolist(), strict=True)
        drawn.append((kind, " ".join([f"{one},{other}" for one, other in points])))
    return Chart(
        title,
        tuple(drawn),
        tuple((round(_LEFT + across * x, 1), f"{x:g}") for x in x_ticks),
        tuple((round(_BOTTOM - up * y, 1), f"{y:g}") for y in y_ticks),
    )


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0 to about `highest`, four to eight of them."""
    rough = highest / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(step * place, 10) for place in range(math.ceil(highest / step - 0.2) + 1)]
