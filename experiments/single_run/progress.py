"""What a training shows while it runs: one bar, of the replay and then of the training."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from experiments.single_run.curve import Point
from lib.caffe.client import Event
from lib.cli import bar

if TYPE_CHECKING:
    from tqdm import tqdm


class TrainingBar:
    """The bar of one training."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: tqdm[Any] | None = None

    def replay(self, event: Event) -> None:
        """Data is gone through again, up to where the training goes on."""
        shown = self._bar or self._begin("replaying the data", "batch", event["of"], 0)
        shown.update(event["done"] - shown.n)

    def start(self, event: Event) -> None:
        """The training begins."""
        self._begin(self._name, "it", event["max_iter"], event["iteration"])

    def iteration(self, event: Event, best: Point | None) -> None:
        """An iteration is done; `best` is the best validation so far."""
        assert self._bar is not None  # the worker says `start` first
        so_far = f", best val {best.val_accuracy:.3f}" if best else ""
        self._bar.set_postfix_str(
            f"loss {event['loss']:.3f}, lr {event['lr']:.2g}, "
            f"{event['images'] / event['seconds']:.1f} images/s{so_far}",
            refresh=False,  # update() draws it, as often as the stream is fit for
        )
        self._bar.update(event["iteration"] - self._bar.n)

    def validating(self, event: Event) -> None:
        """A validation is on its way."""
        self._describe(f"validate {event['done']}/{event['of']}")

    def validated(self) -> None:
        """A validation is done."""
        self._describe(self._name)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _begin(self, what: str, unit: str, total: int, initial: int) -> tqdm[Any]:
        self.close()
        self._bar = bar(what=what, unit=unit, total=total, initial=initial)
        return self._bar

    def _describe(self, what: str) -> None:
        if self._bar is not None and sys.stderr.isatty():
            self._bar.set_description_str(what)
