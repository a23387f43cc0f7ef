"""The test images of which a run was surest, right or wrong, as small pictures with labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from datasets.decode import BrokenImageError, Picture, decode, read_bytes
from experiments.paper.painting_labels import painting_labels
from experiments.paper.predictions import images_root, read_predictions
from experiments.paper.valid_runs import RecordedRun

COUNT = 6  # of each kind
_SIDE = 220  # pixels of a picture's longer side


@dataclass(frozen=True)
class Sure:
    """One test image and what the run said of it."""

    image: str
    picture: str  # file name of the small picture; '' when the image is not on this machine
    true: str
    predicted: str
    probability: float
    lines: tuple[str, ...]  # its label: artist, title, date


@dataclass(frozen=True)
class Surest:
    """The surest mistakes and the surest hits of a run."""

    mistakes: tuple[Sure, ...]
    hits: tuple[Sure, ...]


def surest(run: RecordedRun, pictures: Path) -> Surest:
    """The surest of a tested run; their pictures are written as JPEG to the folder `pictures`.

    Raises UserError when its predictions can't be read.
    """
    table = read_predictions(run).sort_values(
        ["probability", "image"], ascending=[False, True], kind="stable"
    )
    chosen = {right: _spread(table[table["right"] == right]) for right in (False, True)}
    labels = painting_labels(
        run.task, [image for each in chosen.values() for image in each["image"]]
    )
    root = images_root(run)
    found: dict[bool, tuple[Sure, ...]] = {}
    for right, rows in chosen.items():
        kind = "hit" if right else "mistake"
        found[right] = tuple(
            Sure(
                image=str(row.image),
                picture=_write_small(root, str(row.image), pictures / f"{kind}{number}.jpg"),
                true=str(row.true),
                predicted=str(row.predicted),
                probability=float(str(row.probability)),
                lines=tuple(labels[str(row.image)].lines(34)),
            )
            for number, row in enumerate(rows.itertuples(), start=1)
        )
    return Surest(found[False], found[True])


def _spread(table: pd.DataFrame) -> pd.DataFrame:
    """The first COUNT, of as many classes as there are: one of each first."""
    turn = table.groupby("true", sort=False).cumcount()
    order = np.argsort(turn.to_numpy(), kind="stable")[:COUNT]
    return table.iloc[order].sort_values("probability", ascending=False, kind="stable")


def _write_small(root: Path | None, image: str, path: Path) -> str:
    if root is None:
        return ""
    try:
        picture = decode(read_bytes(root / image))
    except BrokenImageError:
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", _small(picture), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        return ""
    path.write_bytes(data.tobytes())
    return path.name


def _small(picture: Picture) -> Picture:
    factor = min(1.0, _SIDE / max(picture.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
