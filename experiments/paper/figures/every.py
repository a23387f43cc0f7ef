"""Every figure by its number."""

from __future__ import annotations

from collections.abc import Callable

from experiments.paper.figures import confusion, counts, curves, examples, pairs, scenarios
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.plot import Plot
from experiments.paper.valid_runs import Records

_OF_RUNS: dict[str, Callable[[str, Choice, Records], Plot]] = {
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
_OF_IMAGES: dict[str, Callable[[str, Choice], Plot]] = {
    "1": examples.plot,
    "2": counts.plot,
    "3": counts.plot,
    "4": examples.plot,
}
OF_RUNS = tuple(_OF_RUNS)  # drawn of runs; the others of catalogues and images alone
NUMBERS = tuple(sorted((*_OF_RUNS, *_OF_IMAGES), key=int))


def plot(number: str, choice: Choice, records: Records) -> Plot:
    """The figure of this number, drawn of what `choice` says."""
    if number in _OF_IMAGES:
        return _OF_IMAGES[number](number, choice)
    return _OF_RUNS[number](number, choice, records)
