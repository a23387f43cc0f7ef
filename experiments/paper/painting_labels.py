"""What stands under a painting: artist, title, date, as far as its catalogue knows them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from datasets.catalogue import RAW, missing, read_catalogue
from datasets.tasks import load_tasks
from experiments.single_run.figure_style import shortened
from lib.errors import UserError

_COLUMNS = ("artist", "title", "date")


@dataclass(frozen=True)
class PaintingLabel:
    """One painting's label; what is not known is empty."""

    artist: str = ""
    title: str = ""
    date: str = ""

    def lines(self, letters: int, title_lines: int = 2) -> list[str]:
        """The label in lines of at most `letters`.

        The artist has a line and the date one of their own, so that none of them takes the room of
        the title.
        """
        title = textwrap.wrap(self.title, letters, max_lines=title_lines, placeholder=" …")
        lines = [shortened(self.artist, letters), *title, shortened(self.date, letters)]
        return [line for line in lines if line]


def painting_labels(task: str, images: Iterable[str], raw: Path = RAW) -> dict[str, PaintingLabel]:
    """Image -> its label, for a task's images.

    Where the catalogue is not there (any more), or has neither artist nor title of an image, the
    title is the name of its file.
    """
    wanted = list(images)
    known = _from_catalogue(task, set(wanted), raw)
    return {
        image: known.get(image) or PaintingLabel(title=PurePosixPath(image).stem)
        for image in wanted
    }


def _from_catalogue(task: str, wanted: set[str], raw: Path) -> dict[str, PaintingLabel]:
    found = load_tasks().get(task)
    if found is None or not wanted or missing(found, raw, images=False):
        return {}
    try:
        table = read_catalogue(found, raw).table
    except UserError:
        return {}
    table = table[table["image"].isin(wanted)].drop_duplicates("image")
    columns = [column for column in _COLUMNS if column in table]
    labels = {}
    for image, *values in table[["image", *columns]].itertuples(index=False):
        texts = {
            column: str(value)
            for column, value in zip(columns, values, strict=True)
            if not pd.isna(value)
        }
        if texts.get("artist") or texts.get("title"):
            labels[str(image)] = PaintingLabel(**texts)
    return labels
