"""What of the inits is in place, and whether it is what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import UserError
from lib.files import sha256
from models.cards import MODELS, Card, find_card
from models.lock import is_plain, records, sha1

VERIFIED = "in place and verified"
UNVERIFIED = "in place, unverified"
MISSING = "missing"


@dataclass(frozen=True)
class FileState:
    """One file of an init. `wrong`: a checksum is known and the file has another."""

    path: Path
    status: str  # VERIFIED, UNVERIFIED or MISSING
    why: str
    wrong: bool = False


@dataclass(frozen=True)
class State:
    """An init: the worse of its two files, and the command that mends it."""

    init: str
    status: str
    why: str
    command: str

    def __str__(self) -> str:
        if self.status == VERIFIED:
            return self.status
        return f"{self.status}: {self.why}; `{self.command}`"


def state(init: str, root: Path = MODELS) -> State:
    """Whether an init's weights and mean are in place. Reads the files: 0.2 s for each 250 MB.

    Raises UserError for an unknown init.
    """
    card = find_card(init, root)
    files = [weights_state(card, root), mean_state(card, root)]
    worst = max(files, key=lambda file: (VERIFIED, UNVERIFIED, MISSING).index(file.status))
    remove = f"rm {worst.path} && " if worst.wrong else ""
    return State(card.init, worst.status, worst.why, f"{remove}make weights INIT={card.init}")


def missing(init: str, root: Path = MODELS) -> list[str]:
    """The files that an init still needs, in words; empty where none is missing. Reads nothing."""
    card = find_card(init, root)
    return [str(path) for path in (card.weights_path, card.mean_path) if not path.is_file()]


def require(init: str, root: Path = MODELS) -> tuple[Path, Path]:
    """The paths of an init's weights and mean, to train from.

    Raises UserError with the command that helps, where one is missing or its checksum is wrong.
    """
    card = find_card(init, root)
    for file in (weights_state(card, root), mean_state(card, root)):
        if file.status == MISSING or file.wrong:
            raise UserError(f"{card.init}: {file.why}; {state(init, root).command}")
    return card.weights_path, card.mean_path


def unverified_files(init: str, root: Path = MODELS) -> list[str]:
    """The files of an init in place that came over plain http without a published checksum.

    For the record of a run and the report. Raises UserError for an unknown init.
    """
    card = find_card(init, root)
    found = []
    for path in (card.weights_path, card.mean_path):
        if not path.is_file() or (path == card.weights_path and card.sha1):
            continue
        digest = sha256(path)
        seen = [one for one in records(root, lock_key(card, path)) if one.sha256 == digest]
        if any(one.unverified or is_plain(one.source) for one in seen):
            found.append(str(path))
    return found


def weights_state(card: Card, root: Path) -> FileState:
    """The state of an init's .caffemodel: published checksums count, else the lock."""
    path = card.weights_path
    if not card.sha1 or not path.is_file():
        return _by_lock(card, path, root)
    found = sha1(path)
    if found in card.sha1:
        return FileState(path, VERIFIED, f"{path}: sha1 {found} as published")
    published = " or ".join(card.sha1)
    why = f"the sha1 of {path} is {found}, not the published {published}"
    return FileState(path, UNVERIFIED, why, wrong=True)


def mean_state(card: Card, root: Path) -> FileState:
    """The state of an init's mean file."""
    return _by_lock(card, card.mean_path, root)


def lock_key(card: Card, path: Path) -> str:
    """How a file of an init is called in the lock."""
    return f"{card.init}/{path.name}"


def _by_lock(card: Card, path: Path, root: Path) -> FileState:
    if not path.is_file():
        return FileState(path, MISSING, f"no {path}")
    seen = records(root, lock_key(card, path))
    if not seen:
        return FileState(path, UNVERIFIED, f"no checksum of {path} is known yet")
    found = sha256(path)
    for record in seen:
        if record.sha256 == found:
            why = f"{path}: sha256 as first seen on {record.first_seen}"
            return FileState(path, VERIFIED, why)
    why = f"the sha256 of {path} is {found}, not the one first seen"
    return FileState(path, UNVERIFIED, why, wrong=True)
