"""The image files below a folder, and how names in a catalogue find them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath

import pandas as pd

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def files_below(folder: Path) -> set[str]:
    """The paths of all files below a folder, relative to it, with forward slashes."""
    found: set[str] = set()
    for parent, _, names in os.walk(folder, followlinks=True):
        base = Path(parent).relative_to(folder).as_posix()
        found.update(names if base == "." else (f"{base}/{name}" for name in names))
    return found


def images_below(folder: Path) -> list[str]:
    """As files_below: images only, by their suffix, sorted."""
    return sorted(
        name
        for name in files_below(folder)
        if name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")
    )


def found_as(names: pd.Series, folder: Path) -> pd.Series:
    """The names of a catalogue as the files below `folder` are called.

    A name that is no file's is looked for in another Unicode form, without its folder, and without
    its suffix; when exactly one file answers, it takes that path. Others stay as they are.
    """
    there = images_below(folder)
    exact = set(there)
    loose: dict[str, str | None] = {}
    for path in there:
        for key in _keys(path):
            loose[key] = path if key not in loose else None  # None: more than one answers

    def find(name: str) -> str:
        if name in exact:
            return name
        return next((path for key in _keys(name) if (path := loose.get(key))), name)

    return names.map(find, na_action="ignore").astype("string")


def _keys(path: str) -> list[str]:
    plain = unicodedata.normalize("NFC", path)
    name = PurePosixPath(plain).name
    stem = name.rpartition(".")[0] if name.lower().endswith(SUFFIXES) else name
    return list(dict.fromkeys((plain, name, stem)))
