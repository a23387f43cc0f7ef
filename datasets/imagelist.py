"""Caffe's own lists of images: `<path> <label>` a line, as `convert_imageset` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from datasets.folders import lists_command
from lib.errors import UserError

_LONGEST_LABEL = 9  # digits
LONGEST_PATH = 511 - len("00000000_")  # bytes; LMDB's longest key is 511


class Entry(NamedTuple):
    """One line of a list. `row` counts from 0 and goes into the record's key."""

    row: int
    path: str  # relative to the image root; bytes that are not UTF-8 are kept as surrogates
    label: int

    @property
    def key(self) -> bytes:
        """The key of the record that convert_imageset makes of this line."""
        return b"%08d_%s" % (self.row, self.path.encode("utf-8", "surrogateescape"))


def read_list(path: Path, classes: int) -> list[Entry]:
    """The entries of a list. The label is what follows the last space of a line.

    Raises UserError, naming the line, if the list is missing or empty, a line has no path or no
    label, a label is not one of `classes`, or a path is too long for a key.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise UserError(f"no list {path}; make it with: {lists_command(path.parent)}") from None
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise UserError(f"{path} is empty; make the lists again")
    entries = []
    for row, line in enumerate(lines):
        name, _, label = line.rstrip(b"\r").rpartition(b" ")
        if not name or not label.isdigit() or len(label) > _LONGEST_LABEL:
            raise UserError(
                f"{path} line {row + 1} is not '<image path> <label>': "
                f"{line[:80].decode('utf-8', 'replace')!r}"
            )
        if int(label) >= classes:
            raise UserError(
                f"{path} line {row + 1} has label {int(label)}, but classes.txt names only "
                f"{classes} classes (labels 0 to {classes - 1}); make the lists again"
            )
        if len(name) > LONGEST_PATH:
            raise UserError(
                f"{path} line {row + 1}: the image path has {len(name)} bytes, an LMDB key has "
                f"room for {LONGEST_PATH}; shorten the file's name"
            )
        entries.append(Entry(row, name.decode("utf-8", "surrogateescape"), int(label)))
    return entries


def read_classes(path: Path) -> list[str]:
    """The class names, in the order of their labels. Raises UserError if there are none."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; make the lists again") from None
    except FileNotFoundError:
        raise UserError(
            f"no class file {path}; make it with: {lists_command(path.parent)}"
        ) from None
    names = [line.rstrip("\r") for line in lines]  # not splitlines: a name may hold U+0085
    if names[-1] == "":
        names.pop()
    if not names or "" in names:
        raise UserError(f"{path} has no class names, or an empty one; make the lists again")
    return names
