"""Images in a folder per class, at the root or below images/, with or without a given split.

The classes are the folders of the first level where there are several, however deep it lies:
`etching/`, `images/etching/`, `images/images/etching/`, `train/etching/` (and then `train` is a
part of a given split).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from datasets.sources.listing import Listing, part_of, without_part
from datasets.table import GIVEN, Catalogue, Note, build, count, some
from lib.errors import UserError


@dataclass(frozen=True)
class ClassFolders:
    """Where the classes are: `root` ('' or ending in '/'), and whether its folders are parts."""

    root: str
    split: bool
    classes: tuple[str, ...]
    outside: tuple[str, ...] = ()  # images beside `root` that are left out


def find_class_folders(listing: Listing, start: str | None = None) -> ClassFolders | None:
    """The folders of classes below `start`, by default images/ or the root; None without any.

    UserError when two readings are possible: it says the words that answer.
    """
    if start is None:
        start = _start(listing)
    root = start
    while True:
        folders, loose = _level(listing, root)
        if not folders:
            return None
        if len(folders) == 1 and not loose and _level(listing, f"{root}{folders[0]}/")[0]:
            root += f"{folders[0]}/"
            continue
        break
    if not _are_parts(folders):
        outside = [path for path in listing.images if not path.startswith(root)]
        return ClassFolders(root, False, tuple(folders), tuple(outside))
    classes: Counter[str] = Counter()
    for folder in folders:
        inner, _ = _level(listing, _inner_root(listing, f"{root}{folder}/"))
        classes.update(inner)
    if not classes:
        return None
    return ClassFolders(root, True, tuple(sorted(classes)))


def read_class_folders(listing: Listing, found: ClassFolders) -> Catalogue:
    """The images, each with the class of its folder, and the part when the folders tell it."""
    root = found.root
    images, classes, parts, loose = [], [], [], []
    inner = {}
    for path in listing.images:
        if not path.startswith(root):
            continue
        below = path[len(root) :]
        first = below.split("/")[0]
        rest, part = below, None
        if found.split:
            part = part_of(first)
            if first not in inner:
                inner[first] = _inner_root(listing, f"{root}{first}/")
            rest = path[len(inner[first]) :] if path.startswith(inner[first]) else ""
        if "/" not in rest:
            loose.append(below)
            continue
        images.append(below)
        classes.append(rest.split("/")[0])
        parts.append(part)
    notes = []
    if lost := [name for names in listing.unreadable.values() for name in names]:
        words = [f"{one or 'no suffix'} ({len(own):,})" for one, own in listing.unreadable.items()]
        text = f"{count(len(lost), 'image')} left out, OpenCV cannot read: {', '.join(words)}"
        notes.append(Note(text, lost))
    if loose:
        notes.append(Note(f"{count(len(loose), 'image')} in no class's folder left out", loose))
    rows = pd.DataFrame({"image": images, "class": classes})
    if found.split:
        rows[GIVEN] = parts
    elif given := _parts_below(images):
        rows[GIVEN] = given
    table, odd_labels = build(rows, where=images)
    return Catalogue(
        table,
        images=listing.folder / (root or "."),
        edition=f"folders, {count(len(images), 'image')}",
        notes=notes + odd_labels,
    )


def _start(listing: Listing) -> str:
    """'images/' where it holds folders; '' where there is none; a question where both hold some."""
    names = sorted({path.partition("/")[0] for path in listing.images if "/" in path})
    images = next((name for name in ("images", "Images", "IMAGES") if name in names), None)
    if images is None:
        return ""
    inside, _ = _level(listing, f"{images}/")
    others = [name for name in names if name != images]
    if not others or (inside and not _are_parts(names)):
        return f"{images}/"
    if not inside and not _are_parts(others):
        raise UserError(
            f"{listing.folder}: images lie in {images}/ and in {some(others, 3)}: is {images} a "
            "class too, or are its images not used? READ_AS=folders:. or "
            f"READ_AS=table:FILE with a table of them (or move {images}/ away)"
        )
    return ""


def _level(listing: Listing, root: str) -> tuple[list[str], list[str]]:
    """The folders with images just below a root, and the images in the root itself."""
    folders: dict[str, None] = {}
    loose = []
    start = len(root)
    for path in listing.images:
        if path.startswith(root):
            end = path.find("/", start)
            if end < 0:
                loose.append(path)
            else:
                folders[path[start:end]] = None
    return list(folders), loose


def _are_parts(folders: list[str]) -> bool:
    """Whether folders are the parts of one split: train, test; wikiart_train, wikiart_val."""
    parts = [part_of(folder) for folder in folders]
    stems = {without_part(folder) for folder in folders}
    return (
        "train" in parts and None not in parts and len(set(parts)) == len(parts) > 1 == len(stems)
    )


def _inner_root(listing: Listing, root: str) -> str:
    """Below a part: the level of the classes, past folders that hold one folder and no image."""
    while True:
        folders, loose = _level(listing, root)
        if len(folders) != 1 or loose or not _level(listing, f"{root}{folders[0]}/")[0]:
            return root
        root += f"{folders[0]}/"


def _parts_below(images: list[str]) -> list[str | None] | None:
    """The part of each image from the folder below its class (etching/train/a.jpg), or None."""
    parts = []
    for image in images:
        folders = image.split("/")[1:-1]
        parts.append(next((part for folder in folders if (part := part_of(folder))), None))
    return parts if parts and None not in parts and len(set(parts)) > 1 else None
