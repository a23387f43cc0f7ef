"""results.json: what a run's test gave. Its schema."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from experiments.single_run.json_records import (
    AtLeastOne,
    Count,
    RecordKind,
    Share,
    read_record,
    write_record,
)


class ClassResult(msgspec.Struct, rename={"name": "class"}):
    """The test of one class."""

    name: str
    images: Count
    right: Count
    accuracy: Share | None = None  # None: no images

    def __post_init__(self) -> None:
        if self.right > self.images:
            raise ValueError(f"{self.right} of {self.images} images of {self.name!r} are right")


class Tested(msgspec.Struct):
    """SHA-256 of what was tested, and on what."""

    weights: str
    list: str  # the list of test images


class Results(RecordKind, kw_only=True):
    """The metrics of one test (paper, section 5): all over the same images, each counted once."""

    WHAT = "test results"

    images: AtLeastOne
    classes: AtLeastOne
    top1: Share
    top5: Share
    macro_f1: Share
    weighted_f1: Share
    chance: Share = 0.0
    majority: Share  # always naming the largest class
    per_class: list[ClassResult]
    tested: Tested
    net: str | None = None  # of weights that no run of ours has made
    mean: str | None = None
    when: str = ""
    engine: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        images = sum(each.images for each in self.per_class)
        right = sum(each.right for each in self.per_class)
        if len(self.per_class) != self.classes or images != self.images:
            raise ValueError(
                f"{self.classes} classes and {self.images} images, but per class "
                f"{len(self.per_class)} and {images}"
            )
        if not math.isclose(right / images, self.top1, abs_tol=1e-9):
            raise ValueError(
                f"top1 is {self.top1:.4f}, but per class {right} of {images} are right"
            )

    @property
    def right(self) -> int:
        """Test images classified rightly."""
        return sum(each.right for each in self.per_class)


def read_results(path: Path) -> Results | None:
    """The results at `path`, or None when there are none.

    Raises InvalidRecord (one line; `why` without the path) for broken or foreign ones.
    """
    return read_record(path, Results)


def write_results(path: Path, results: Results) -> None:
    """Write the results, whole or not at all."""
    write_record(path, results)
