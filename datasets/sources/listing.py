"""What lies in the folder of a collection: images, and the files that may tell about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from datasets.image_files import find_images

# The words that name a part of a given split, in the names of files, folders and cells.
PART_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
_LEFT_OUT = ("failed_images.csv", "unpacked.json")  # written by `make images`


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a collection, as paths below `folder` with forward slashes, sorted.

    One look at the disk: what is worked out from it may be kept by its identity.
    """

    folder: Path
    images: list[str]
    others: list[str]
    unreadable: dict[str, list[str]] = field(default_factory=dict)  # images, by suffix, for OpenCV

    def path(self, name: str) -> Path:
        """Where a file of the listing lies."""
        return self.folder / name


def look(folder: Path) -> Listing:
    """What lies in a folder and below; hidden files and folders are not looked at."""
    if not folder.is_dir():
        return Listing(folder, [], [])
    found = find_images(folder)
    others = [name for name in found.others if name.rpartition("/")[2].casefold() not in _LEFT_OUT]
    return Listing(folder, found.images, others, found.left_out)


def words_of(name: str) -> list[str]:
    """The words of a file's or folder's name, in small letters: 'Style-train.csv' has style, train.

    Of a number of many files ('00000-of-00072') nothing is left.
    """
    stem = PurePosixPath(name).stem if "." in name[-8:] else name
    return [word for word in re.split(r"[^a-z]+", stem.casefold()) if word not in ("", "of")]


def part_of(name: str) -> str | None:
    """The part of a given split that a name tells, 'train', 'val' or 'test'; None for none."""
    found = {PART_WORDS[word] for word in words_of(name) if word in PART_WORDS}
    return found.pop() if len(found) == 1 else None


def without_part(name: str) -> str:
    """A name without the words that tell its part: what the files of one split share."""
    return " ".join(word for word in words_of(name) if word not in PART_WORDS)


def parts_of_cells(values: Iterable[object], column: str) -> dict[object, str] | None:
    """Which part each different cell of a column tells; None when the column is no given split.

    A column may name the part ('train'), or say yes or no in a column called in_train or is_test.
    """
    name = "".join(words_of(column))
    told: dict[object, str] = {}
    for value in values:
        word = str(value).strip().casefold()
        if not word or word == "nan":
            continue
        yes = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if name in ("intrain", "istrain", "intraining") and word in yes:
            told[value] = "train" if yes[word] else "test"
        elif name in ("intest", "istest") and word in yes:
            told[value] = "test" if yes[word] else "train"
        elif name in ("split", "subset", "partition", "set", "part", "fold", "phase", "usage"):
            if word not in PART_WORDS:
                return None
            told[value] = PART_WORDS[word]
        else:
            return None
    return told if len(set(told.values())) > 1 else None
