"""The image files below a folder, and how names in a catalogue find them."""

from __future__ import annotations

import functools
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

# What every OpenCV reads ...
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
# ... what some builds of it read ...
_SOME = (".gif", ".jp2", ".avif")
# ... and what none does: named when it is left out.
_NONE = (
    *(".heic", ".heif", ".jxl", ".jxr", ".svg", ".psd", ".xcf", ".ai", ".eps", ".tga", ".ico"),
    *(".pcx", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".djvu"),
)
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")

# Folders and files that programs make for themselves, thumbnails above all.
_NOT_OURS = {"@eadir", "__macosx", "#recycle", "@recycle", "$recycle.bin", "lost+found"}
_NOT_OURS |= {"system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class ImageFiles:
    """The files below a folder: paths relative to it, with forward slashes, sorted."""

    images: list[str]
    left_out: dict[str, list[str]]  # suffix -> what looks like an image and cannot be read
    others: list[str]  # what is no image

    @property
    def left_out_words(self) -> str:
        """'.heic (3), .svg (1)'; '' where nothing is left out."""
        return ", ".join(
            f"{suffix or 'no suffix'} ({len(names):,})" for suffix, names in self.left_out.items()
        )


def is_image_name(name: str) -> bool:
    """Whether a file name ends as that of an image which some OpenCV reads."""
    return _suffix(name) in (*SUFFIXES, *_SOME)


def find_images(folder: Path) -> ImageFiles:
    """Every image below a folder, by suffix, and what looks like one but cannot be read here.

    Links to files and folders are followed. Hidden files and folders are passed over, and so are
    those of thumbnails and trash.
    """
    images: list[str] = []
    left_out: dict[str, list[str]] = {}
    others: list[str] = []
    for path in sorted(files_below(folder)):
        suffix = _suffix(path)
        if suffix in SUFFIXES or (suffix in _SOME and _can_read(suffix)):
            images.append(path)
        elif suffix in _SOME or suffix in _NONE or _begins_as_image(folder / path):
            left_out.setdefault(suffix, []).append(path)
        else:
            others.append(path)
    return ImageFiles(images, dict(sorted(left_out.items())), others)


def images_below(folder: Path) -> list[str]:
    """The images of `find_images` that can be read."""
    return find_images(folder).images


def files_below(folder: Path) -> set[str]:
    """The paths of all files below a folder, relative to it, with forward slashes.

    Only regular files and links to them: pipes and sockets would never end. A folder that links to
    itself, or to one around it, is gone through once.
    """
    found: list[str] = []
    _walk(str(folder), "", (), found)
    return set(found)


def on_disk(names: pd.Series, folder: Path) -> pd.Series:
    """The paths of a catalogue as their files are called; missing where there is no such file.

    One name in two Unicode forms (NFC, NFD: macOS writes the latter) is the same file, as long as
    only one file answers to it and no other row names that.
    """
    there = files_below(folder)
    found = names.isin(there)
    if found.all():
        return names
    forms: dict[str, str | None] = {}
    for path in there:
        key = unicodedata.normalize("NFC", path)
        forms[key] = path if key not in forms else None
    taken = set(names[found])

    def find(name: str) -> str | None:
        other = forms.get(unicodedata.normalize("NFC", name))
        if other is not None and other not in taken:
            taken.add(other)
            return other
        return name if _is_file(folder / name) else None  # in a folder that the walk passes over

    return names.where(found, names[~found].map(find)).astype("string")


def _walk(folder: str, path: str, around: tuple[tuple[int, int], ...], found: list[str]) -> None:
    """Add the files below `folder`, whose path is `path`; `around` are the folders it lies in."""
    try:
        here = os.stat(folder)  # noqa: PTH116 (many folders: no Path for each)
        inside = (here.st_dev, here.st_ino)
        if inside in around:
            return
        with os.scandir(folder) as entries:
            folders = []
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.casefold() in _NOT_OURS:
                    continue
                if entry.is_file():
                    found.append(path + name)
                elif entry.is_dir():
                    folders.append(name)
    except OSError:  # not there, or not to be read
        return
    for name in folders:
        _walk(f"{folder}/{name}", f"{path}{name}/", (*around, inside), found)


def _suffix(path: str) -> str:
    dot = path.rfind(".")
    return path[dot:].lower() if dot > path.rfind("/") else ""


@functools.cache
def _can_read(suffix: str) -> bool:
    """Whether the installed OpenCV reads a format: builds that read one of these write it too."""
    import cv2  # here, because it is needed for few collections

    return bool(cv2.haveImageWriter(f"x{suffix}"))


def _begins_as_image(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return handle.read(8).startswith(_BEGINNINGS)
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
