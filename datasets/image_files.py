"""The image files below a folder."""

from __future__ import annotations

import os
from pathlib import Path

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
