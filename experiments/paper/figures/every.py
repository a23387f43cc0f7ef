"""Every figure by its number."""

from __future__ import annotations

from collections.abc import Callable

from experiments.paper.figures import confusion, curves, pairs, scenarios
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.plot import Plot
from experiments.paper.valid_runs import Records

_MAKERS: dict[str, Callable[[str, Choice, Records], Plot]] = {
    "5": curves.plot,
    "6": curves.plot,
    "7": curves.plot,
    "8": scenarios.accuracy,
    "9": scenarios.time,
    "10": confusion.plot,
    "11": pairs.plot,
    "12": confusion.plot,
    "13": confusion.plot,
    "14": confusion.plot,
}
NUMBERS = tuple(_MAKERS)


def plot(number: str, choice: Choice, records: Records) -> Plot:
    """The figure of this number, drawn of the runs that `choice` says."""
    return _MAKERS[number](number, choice, records)
