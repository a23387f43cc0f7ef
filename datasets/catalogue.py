"""From a task to its source's catalogue, and to what is missing of it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from datasets.folders import RAW
from datasets.sources import folder, met, ticc, wga, wikiart
from datasets.table import Catalogue
from datasets.tasks import Task

# Each source has: files(folder), the files of its catalogue, none when there is no catalogue yet;
# read(folder), the catalogue; GET_CATALOGUE and GET_IMAGES, how a person gets them.
_SOURCES: dict[str, ModuleType] = {
    "wikiart": wikiart,
    "wga": wga,
    "ticc": ticc,
    "met": met,
    "folder": folder,
}


def read_catalogue(task: Task, raw: Path = RAW) -> Catalogue:
    """The catalogue that a task draws from, images there or not; UserError when it is unusable."""
    catalogue: Catalogue = _SOURCES[task.source].read(task.folder(raw))
    return catalogue


def images_root(task: Task, raw: Path = RAW) -> Path:
    """The folder that a task's image paths start from."""
    return task.folder(raw) / "images"


def missing(task: Task, raw: Path = RAW, *, images: bool = True) -> list[str]:
    """What a task lacks before its lists can be made: what, where it goes, how to get it.

    Empty when the catalogue is there, and with `images` at least one file below the image root.
    """
    source = _SOURCES[task.source]
    folder = task.folder(raw)
    lacks = []
    name = task.collection or task.source
    if not source.files(folder):
        lacks.append(f"the catalogue of {name}: goes into {folder}/; {source.GET_CATALOGUE}")
    root = images_root(task, raw)
    if images and not any(path.is_file() for path in root.rglob("*")):
        lacks.append(f"the images of {name}: go into {root}/; {source.GET_IMAGES}")
    return lacks
