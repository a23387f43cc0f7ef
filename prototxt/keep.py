"""Writes generated files, and never over one that was edited by hand.

`.generated.json` beside them holds, for each file, the SHA-256 of what was generated. A file is
unedited while its hash is one of those. Before a file is replaced the hash of its new text is added
to the record, and the old one is dropped only when the new text is in place: killed in between, the
file is still known as ours, whichever of the two it is. A file that the record does not know
(missing, broken) counts as edited, unless it is just what would be generated.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from lib.errors import UserError
from lib.files import whole_file, write_text

RECORD = ".generated.json"


class Outcome(Enum):
    """What became of one file."""

    MADE = "made"  # it was not there
    SAME = "up to date"  # not touched
    REMADE = "made anew"  # was unedited, and the settings have changed
    EDITED = "edited by hand"  # not touched
    BACKED_UP = "backed up and made anew"  # was edited, force


def write_unedited(
    folder: Path, texts: Mapping[str, str], *, force: bool = False
) -> dict[str, Outcome]:
    """Write each text to its name in `folder`, but leave what was edited by hand as it is.

    With `force` an edited file is first copied to `<name>.edited-<n>`, n the next free number.
    """
    record = _read(folder / RECORD)
    return {name: _write_one(folder, name, text, record, force) for name, text in texts.items()}


def _write_one(
    folder: Path, name: str, text: str, record: dict[str, list[str]], force: bool
) -> Outcome:
    path = folder / name
    new = hashlib.sha256(text.encode()).hexdigest()
    old = _hash(path)
    ours = record.get(name, [])
    if old == new:
        _save(folder, record, name, [new])
        return Outcome.SAME
    edited = old is not None and old not in ours
    if edited and not force:
        return Outcome.EDITED
    if edited:
        _back_up(path)
    # The old hash stays in the record till the new file is in place.
    _save(folder, record, name, [new] if edited or old is None else [old, new])
    write_text(path, text)
    _save(folder, record, name, [new])
    if edited:
        return Outcome.BACKED_UP
    return Outcome.MADE if old is None else Outcome.REMADE


def _hash(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}): move it away") from None


def _read(path: Path) -> dict[str, list[str]]:
    """The record; empty if it is missing or broken, so that every file counts as edited."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {name: hashes for name, hashes in said.items() if isinstance(hashes, list)}


def _save(folder: Path, record: dict[str, list[str]], name: str, hashes: list[str]) -> None:
    if record.get(name) != hashes:
        record[name] = hashes
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")


def _back_up(path: Path) -> Path:
    """Copy an edited file beside itself, whole or not at all; an equal copy serves again."""
    content = path.read_bytes()
    number = 1
    while (backup := path.with_name(f"{path.name}.edited-{number}")).exists():
        if backup.is_file() and backup.read_bytes() == content:
            return backup
        number += 1
    with whole_file(backup) as aside:
        shutil.copy2(path, aside)
    return backup
