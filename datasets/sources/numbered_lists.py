"""Lists of `<image> <label number>`: Caffe's own, DIGITS', TICC's, and the ArtGAN release's.

A set of lists is `train`, `val` and `test` of one label, with a file of class names beside it or
near: `<number> <name>`, `<name> <number>` or a name a line, counted from 0. Which label a set is
of (style, genre, artist) is told by the words in its name or its folder; else it is called class.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from datasets.image_files import is_image_name
from datasets.labels import LABELS
from datasets.sources.listing import (
    Listing,
    part_of,
    without_part,
    words_of,
)
from lib.errors import UserError
from lib.text import first_lines, read_lines

_LINE = re.compile(r"(?P<image>.*?\S)[ \t,;]+(?P<label>\d+)[ \t,;]*")
_HEADER = "(Path to image)"  # of ArtGAN's lists of artists
_NAMES = re.compile(
    r"class(es|names?|name)?|names?|labels?|categor(y|ies)|synsets?|words|legend|mapping|dict"
)
_SUFFIXES = (".txt", ".csv", ".lst", ".list", ".tsv", "")
_SNIFFED = 50  # lines


@dataclass(frozen=True)
class ListSet:
    """The lists of one label: (file, part) pairs, and the file of its class names, if any."""

    kind: str  # style, genre, artist, ...; class where nothing tells
    name: str  # how a person tells it from others: its folder and stem
    lists: tuple[tuple[str, str | None], ...]
    names: str | None
    copies: tuple[str, ...] = ()  # files of the same bytes elsewhere in the collection


@dataclass(frozen=True)
class Line:
    """A line of a list: the image, its class, its part, and where it stands."""

    image: str
    label: str
    part: str | None
    where: str


def find_lists(listing: Listing) -> list[ListSet]:
    """All sets of lists in a collection; of two sets of the same bytes the first."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name in listing.others:
        file = PurePosixPath(name)
        if file.suffix.lower() not in _SUFFIXES and not part_of(file.suffix):
            continue
        if _names_classes(listing, name) or not _is_list(listing.path(name)):
            continue
        kind = next((label for label in LABELS if label in words_of(file.name)), "")
        folders = list(file.parts[:-1])
        if not kind and not without_part(file.name).strip():
            words = [word for folder in folders for word in words_of(folder)]
            kind = next((label for label in LABELS if label in words), "")
        # A part may be a folder's name: train/list.txt beside val/list.txt.
        place = "/".join(without_part(folder) if part_of(folder) else folder for folder in folders)
        groups.setdefault((kind, place, without_part(file.name)), []).append(name)
    sets: list[ListSet] = []
    seen: dict[str, int] = {}
    for (kind, place, stem), files in groups.items():
        digest = hashlib.sha256()
        for name in files:
            digest.update(listing.path(name).read_bytes())
        if (first := seen.setdefault(digest.hexdigest(), len(sets))) < len(sets):
            sets[first] = replace(sets[first], copies=(*sets[first].copies, *files))
            continue
        lists = tuple(
            (name, part_of(PurePosixPath(name).name) or _folder_part(name)) for name in files
        )
        names = _names_beside(listing, files[0], kind)
        sets.append(ListSet(kind or "class", f"{place}/{stem}".strip("/ "), lists, names))
    return sets


def read_set(listing: Listing, lists: ListSet) -> tuple[list[Line], tuple[str, ...]]:
    """The lines of a set, and its class names in the order of their numbers.

    UserError names the file and line at fault.
    """
    names, numbered = _class_names(listing.path(lists.names)) if lists.names else ({}, True)
    if lists.kind != "class":  # the release's way of writing names
        names = {number: name.replace("_", " ") for number, name in names.items()}
    found: list[tuple[str, int, str | None, str, Path, int]] = []
    for name, part in lists.lists:
        file = listing.path(name)
        before = len(found)
        for number, line in enumerate(read_lines(file), start=1):
            if not line.strip() or line.startswith(_HEADER):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise UserError(
                    f"{file} line {number}: '{line[:80]}' is not '<image>,<label number>'"
                )
            image = _image(match["image"].strip().strip('"'), name)
            found.append(
                (image, int(match["label"]), part, f"{file.name} line {number}", file, number)
            )
        if len(found) == before:
            raise UserError(f"{file} lists no image")
    if not names:
        names = _names_of_numbers(found, lists, listing)
    elif not numbered:
        used = {row[1] for row in found}
        # Numbers from 1 on for names without numbers: the last one can only mean the last name.
        if 0 not in used and max(used) == len(names):
            names = {number + 1: name for number, name in names.items()}
    beside = listing.path(lists.names).stem if lists.names else ""
    lines = []
    for image, label, part, where, file, number in found:
        if label not in names:
            raise UserError(f"{file} line {number}: {beside} has no label {label}")
        lines.append(Line(image, names[label], part, where))
    return lines, tuple(dict.fromkeys(names[number] for number in sorted(names)))


def class_names_for(listing: Listing, column: str) -> dict[int, str] | None:
    """The names of a column of numbers, from a file of class names in the collection."""
    named = [name for name in listing.others if _names_classes(listing, name)]
    kinds = [name for name in named if column.casefold() in words_of(name)]
    plain = [name for name in named if not any(label in words_of(name) for label in LABELS)]
    for name in [*kinds, *(plain if column.casefold() in ("label", "class", "target") else [])]:
        return _class_names(listing.path(name))[0]
    return None


def _names_classes(listing: Listing, name: str) -> bool:
    """Whether a file's name says that it holds names of classes, and it has no image in it."""
    file = PurePosixPath(name)
    if file.suffix.lower() not in (*_SUFFIXES, ".names") or part_of(file.name) is not None:
        return False
    named = any(_NAMES.fullmatch(word) for word in words_of(file.name))
    if not named and file.suffix.lower() != ".names":
        return False
    if not listing.path(name).is_file():
        return False
    lines = first_lines(listing.path(name))[:_SNIFFED]
    return not any(
        is_image_name(cell.strip('" ')) for line in lines for cell in re.split("[,;\t]", line)
    )


def _is_list(file: Path) -> bool:
    if not file.is_file():
        return False
    lines = [line for line in first_lines(file) if line.strip() and not line.startswith(_HEADER)]
    matches = [_LINE.fullmatch(line.strip()) for line in lines[:_SNIFFED]]
    good = [match for match in matches if match]
    if not lines:  # an empty list beside others is an error that is told when it is read
        return bool(part_of(file.name)) and any(label in words_of(file.name) for label in LABELS)
    images = [match for match in good if is_image_name(match["image"].strip().strip('"'))]
    if part_of(file.name) is not None and any(label in words_of(file.name) for label in LABELS):
        return bool(images) or any(is_image_name(line.strip()) for line in lines[:_SNIFFED])
    return 10 * len(images) >= 8 * min(len(lines), _SNIFFED) or (
        part_of(file.name) is not None and 10 * len(good) >= 8 * min(len(lines), _SNIFFED)
    )


def _folder_part(name: str) -> str | None:
    parts = [part for folder in PurePosixPath(name).parts[:-1] if (part := part_of(folder))]
    return parts[-1] if parts else None


def _image(image: str, list_name: str) -> str:
    image = image.replace("\\", "/").removeprefix("./")
    return image.rstrip(", ")


def _names_beside(listing: Listing, list_name: str, kind: str) -> str | None:
    """The file of class names that belongs to a list: of its kind, as near as there is one."""
    folder = PurePosixPath(list_name).parent
    choices = []
    for name in listing.others:
        if not _names_classes(listing, name):
            continue
        words = words_of(PurePosixPath(name).name)
        kinds = [label for label in LABELS if label in words]
        if kinds and kinds[0] != kind:
            continue
        place = PurePosixPath(name).parent
        if kind and not kinds and place != folder:
            continue
        distance = len(set(folder.parts) ^ set(place.parts))
        choices.append((not (kinds and kind), distance, name))
    return min(choices)[2] if choices else None


def _class_names(file: Path) -> tuple[dict[int, str], bool]:
    """Label number to class name, and whether the file itself has the numbers."""
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(file), start=1)]
    lines = [(number, line.strip('"')) for number, line in lines if line]
    first = [re.fullmatch(r"(\d+)[ \t,;:]+(.*\S)", line) for _, line in lines]
    last = [re.fullmatch(r"(.*?\S)[ \t,;:]+(\d+)", line) for _, line in lines]
    if not lines:
        raise UserError(f"{file} is empty; it must hold the names of the classes")
    names: dict[int, str] = {}
    for (number, line), before, after in zip(lines, first, last, strict=True):
        if all(first):
            assert before is not None
            label, name = int(before[1]), before[2]
        elif all(last):
            assert after is not None
            label, name = int(after[2]), after[1]
        elif (any(first) and not any(last)) or sum(map(bool, first)) * 2 > len(lines):
            if before is None:
                raise UserError(
                    f"{file} line {number}: '{line[:80]}' is not '<label number> <name>'"
                )
            label, name = int(before[1]), before[2]
        else:
            label, name = len(names), line
        if label in names:
            raise UserError(f"{file} line {number}: the label {label} is named twice")
        names[label] = name.strip('" ')
    return names, any(first) or all(last)


def _names_of_numbers(
    found: list[tuple[str, int, str | None, str, Path, int]], lists: ListSet, listing: Listing
) -> dict[int, str]:
    """The names of labels that no file names: the images' folders where these say the same."""
    if lists.kind != "class":
        first = listing.path(lists.lists[0][0])
        raise UserError(f"{first} needs {lists.kind}_class.txt beside it, the names of its labels")
    folders: dict[int, set[str]] = {}
    for image, label, *_ in found:
        folders.setdefault(label, set()).add(PurePosixPath(image).parent.name)
    names = {label: next(iter(one)) for label, one in folders.items() if len(one) == 1}
    if len(names) == len(folders) == len(set(names.values())) and "" not in names.values():
        return names
    width = len(str(max(folders)))
    return {label: str(label).zfill(width) for label in folders}
