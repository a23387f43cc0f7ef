"""What the catalogue knows of a collection's images, and the images themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datasets.catalogue import RAW, missing, read_catalogue
from datasets.decode import BrokenImageError, decode, read_bytes, squash
from datasets.tasks import load_tasks
from datasets.works import read_works
from experiments.similarity.collection import Collection
from lib.errors import UserError

# Columns of the catalogue that are no part of a work's label.
_NOT_SHOWN = ("image", "work", "url")
# The order of a label; further columns of an own catalogue follow in theirs.
_FIRST = (
    "title",
    "artist",
    "date",
    "technique",
    "genre",
    "style",
    "timeframe",
    "nationality",
    "museum",
    "inventory",
    "record",
)

Artwork = dict[str, str]  # column of the catalogue -> text; what is not known is not in it


def artworks(collection: Collection, raw: Path = RAW) -> dict[str, Artwork]:
    """Image path -> what is known of it: all columns of the catalogue of the collection's task.

    Where the catalogue is not there any more, what was kept of it beside the lists; empty for a
    folder of images.
    """
    kept = read_works(collection.data) if collection.data else {}
    task = load_tasks().get(collection.task or "")
    if task is None or missing(task, raw, images=False):
        return kept
    try:
        table = read_catalogue(task, raw).table
    except UserError:
        return kept
    wanted = {item.image for item in collection.items}
    table = table[table["image"].isin(wanted)].drop_duplicates("image")
    columns = columns_in_order(str(name) for name in table)
    known: dict[str, Artwork] = {}
    for image, *values in table[["image", *columns]].itertuples(index=False):
        known[image] = {
            column: str(value)
            for column, value in zip(columns, values, strict=True)
            if not pd.isna(value) and str(value)
        }
    return known


def columns_in_order(names: Iterable[str]) -> list[str]:
    """The columns of a label: the usual ones first."""
    there = [name for name in names if name not in _NOT_SHOWN]
    first = [name for name in _FIRST if name in there]
    return [*first, *(name for name in there if name not in first)]


def known_columns(known: dict[str, Artwork]) -> list[str]:
    """The columns that are known of at least one work."""
    return columns_in_order(dict.fromkeys(name for each in known.values() for name in each))


def pixels_of_bytes(data: bytes) -> NDArray[np.uint8]:
    """An image file's bytes as the net's pixels: uint8 (1, 3, 256, 256), BGR, as in an LMDB.

    Raises BrokenImageError.
    """
    return np.ascontiguousarray(squash(decode(data)).transpose(2, 0, 1)[None])


def query_pixels(path: Path) -> NDArray[np.uint8]:
    """The pixels of an image file; UserError when it is no image that can be read."""
    try:
        return pixels_of_bytes(read_bytes(path))
    except BrokenImageError as error:
        raise UserError(f"{path}: {error}") from None


def picture(collection: Collection, image: str) -> NDArray[np.uint8]:
    """A collection's image in its own shape, RGB, for showing.

    When its file is gone, the square one of the LMDBs. Raises UserError when there is neither.
    """
    path = collection.root / image
    try:
        return file_picture(path)
    except BrokenImageError as error:
        stored = collection.stored_picture(image)
        if stored is None:
            raise UserError(
                f"{path}: {error}; if the collection's files have moved, take its features again"
            ) from None
        return stored


def file_picture(path: Path) -> NDArray[np.uint8]:
    """An image file in its own shape, RGB. Raises BrokenImageError."""
    return np.ascontiguousarray(decode(read_bytes(path))[..., ::-1])


def caption(item_label: str, known: Artwork) -> str:
    """An image's artist and title in two lines, as far as they are known."""
    lines = [known.get("artist", ""), known.get("title", "") or item_label]
    return "\n".join(line for line in lines if line)
