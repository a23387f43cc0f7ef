"""From a task to its source's catalogue, and to what is missing of it."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from datasets.folders import RAW
from datasets.sources import folder, met, parquet, ticc, wga, wikiart
from datasets.sources.listing import Listing, look
from datasets.table import Catalogue
from datasets.tasks import Task
from lib.errors import UserError

READ_AS = "READ_AS"  # the environment's answer to a question of datasets.sources.collection

# Each source has: is_there(listing), whether there is a catalogue; read(listing, label, read_as),
# the catalogue; GET_CATALOGUE and GET_IMAGES, how a person gets them.
_SOURCES: dict[str, ModuleType] = {
    "wikiart": wikiart,
    "wga": wga,
    "ticc": ticc,
    "met": met,
    "folder": folder,
}


def read_catalogue(task: Task, raw: Path = RAW) -> Catalogue:
    """The catalogue that a task draws from, images there or not; UserError when it is unusable.

    Where a collection can be read in two ways, the task's read_as or READ_AS= says which is meant.
    """
    return _read(task, look(task.folder(raw)))


def ready_catalogue(task: Task, raw: Path = RAW) -> Catalogue:
    """The catalogue, once all is there that lists are made from; images in parquet are written out.

    UserError with a line for each thing that is missing, or as read_catalogue, write_out_images.
    """
    listing = look(task.folder(raw))
    if lacks := _missing(task, raw, listing):
        raise UserError(f"task {task.name} lacks:\n" + "\n".join(f"  - {item}" for item in lacks))
    if _write_out(task, listing):
        listing = look(task.folder(raw))
    return _read(task, listing)


def write_out_images(task: Task, raw: Path = RAW) -> bool:
    """Write out the images that lie in parquet files, once; False where there are no such files.

    UserError when the disk has no room, or a file is damaged.
    """
    return _write_out(task, look(task.folder(raw)))


def images_root(task: Task, raw: Path = RAW) -> Path:
    """The folder that downloaded images of a task go into."""
    return task.folder(raw) / "images"


def missing(task: Task, raw: Path = RAW, *, images: bool = True) -> list[str]:
    """What a task lacks before its lists can be made: what, where it goes, how to get it.

    Empty when the catalogue is there, and with `images` at least one image.
    """
    return _missing(task, raw, look(task.folder(raw)), images=images)


def _read(task: Task, listing: Listing) -> Catalogue:
    read_as = task.read_as or os.environ.get(READ_AS, "")
    catalogue: Catalogue = _SOURCES[task.source].read(listing, task.label, read_as)
    return catalogue


def _write_out(task: Task, listing: Listing) -> bool:
    files = parquet.find_parquet(listing)
    if not files or task.source == "met":
        return False
    if not parquet.all_unpacked(listing, files):
        parquet.unpack(listing, files)
    return True


def _missing(task: Task, raw: Path, listing: Listing, *, images: bool = True) -> list[str]:
    source = _SOURCES[task.source]
    lacks = []
    name = task.collection or task.source
    if not source.is_there(listing):
        lacks.append(
            f"the catalogue of {name}: goes into {listing.folder}/; {source.GET_CATALOGUE}"
        )
    if images and not listing.images and not parquet.find_parquet(listing):
        root = images_root(task, raw)
        lacks.append(f"the images of {name}: go into {root}/; {source.GET_IMAGES}")
    return lacks
