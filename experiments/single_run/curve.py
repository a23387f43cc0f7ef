"""curve.csv: loss, learning rate and validation accuracy over the iterations."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lib.caffe.client import Event
from lib.errors import UserError
from lib.files import write_text


@dataclass(frozen=True)
class Point:
    """One line of the curve; with validation numbers where this iteration was validated."""

    iteration: int
    epoch: float
    lr: float | None  # like the next two, None when it was validated before any training
    train_loss: float | None  # mean over the iterations since the last point
    images_per_s: float | None
    seconds: float  # of training and validation so far
    val_loss: float | None = None
    val_accuracy: float | None = None


class Curve:
    """The points of a run, written to its curve.csv as they come."""

    def __init__(self, path: Path, until: int | None) -> None:
        """Go on with the curve at `path` after iteration `until`; None begins a new one.

        Points after `until` are dropped: a resumed training makes them again. `images` and `batch`
        must be set before the first point is added.
        """
        self.path = path
        self.images = 0  # training images of an epoch
        self.batch = 0  # images a weight update
        self._since: list[Event] = []  # iterations since the last point
        self.points: list[Point] = []
        if until is not None and path.exists():
            self.points = [point for point in read(path) if point.iteration <= until]
        write_text(path, _lines([asdict(point) for point in self.points], header=True))
        self._began = time.monotonic() - (self.points[-1].seconds if self.points else 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds of training and validation so far, those of earlier sessions included."""
        return time.monotonic() - self._began

    def iteration(self, event: Event) -> None:
        """The worker has done an iteration; it says when a point is due."""
        self._since.append(event)
        if event["curve"]:
            self.add_point(event["iteration"])

    def add_point(self, iteration: int, validated: Event | None = None) -> None:
        """Add a point of the iterations since the last one, and of a validation, if there was."""
        images = sum(event["images"] for event in self._since)
        seconds = sum(event["seconds"] for event in self._since)
        loss = sum(event["loss"] * event["images"] for event in self._since)
        self.add(
            Point(
                iteration=iteration,
                epoch=round(iteration * self.batch / self.images, 4),
                lr=self._since[-1]["lr"] if images else None,
                train_loss=loss / images if images else None,
                images_per_s=round(images / seconds, 2) if images else None,
                seconds=round(self.elapsed, 3),
                val_loss=validated["loss"] if validated else None,
                val_accuracy=validated["accuracy"] if validated else None,
            )
        )
        self._since = []

    def add(self, point: Point) -> None:
        """Append a point."""
        self.points.append(point)
        try:
            with self.path.open("a", encoding="utf-8", newline="") as handle:
                handle.write(_lines([asdict(point)], header=False))
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None

    @property
    def last_validated(self) -> int:
        """The last iteration with a validation; -1 when there is none."""
        return max((p.iteration for p in self.points if p.val_accuracy is not None), default=-1)

    @property
    def best(self) -> Point | None:
        """The first point with the best validation accuracy."""
        validated = [point for point in self.points if point.val_accuracy is not None]
        return max(validated, key=lambda point: point.val_accuracy or 0, default=None)


def reached(path: Path) -> int:
    """The last iteration of the curve at `path`; -1 when there is none."""
    return max((point.iteration for point in read(path)), default=-1) if path.exists() else -1


def read(path: Path) -> list[Point]:
    """The points of a curve.csv, but for a last line that a kill cut short."""
    with path.open(encoding="utf-8", newline="") as handle:
        text = handle.read()
    whole = text[: text.rfind("\n") + 1]
    points = []
    for number, row in enumerate(csv.DictReader(io.StringIO(whole)), start=2):
        try:
            points.append(
                Point(
                    iteration=int(row["iteration"]),
                    epoch=float(row["epoch"]),
                    lr=_number(row["lr"]),
                    train_loss=_number(row["train_loss"]),
                    images_per_s=_number(row["images_per_s"]),
                    seconds=float(row["seconds"]),
                    val_loss=_number(row["val_loss"]),
                    val_accuracy=_number(row["val_accuracy"]),
                )
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}:{number}: not a line of a curve; move the file away") from None
    return points


def _number(text: str) -> float | None:
    return float(text) if text else None


def _lines(rows: list[dict[str, object]], *, header: bool) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, [each.name for each in fields(Point)], lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
