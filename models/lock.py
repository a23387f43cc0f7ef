"""models/weights.lock: the checksums of files that nobody published one for, as first seen.

Trust on first use: the first file put in place is recorded, every later one must be the same.
The lock is a JSON file in git, so that all who share it hold the same weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lib.errors import UserError
from lib.files import sha256, write_text

LOCK = "weights.lock"


@dataclass(frozen=True)
class Record:
    """A file as it was first put in place."""

    name: str  # what it was called where it came from: forms of one model differ in their bytes
    sha256: str
    size: int
    source: str  # an address, or "by hand"
    first_seen: str  # date


def records(root: Path, file: str) -> list[Record]:
    """What the lock holds of `file` ("<init>/<name>"). Raises UserError for a broken lock."""
    return _read(root / LOCK).get(file, [])


def enforce(root: Path, file: str, path: Path, name: str, source: str) -> str:
    """Check `path` against the lock, or record it there if none of its `name` was seen before.

    Returns in words which of the two it was. Raises UserError where another one was seen first.
    """
    lock = _read(root / LOCK)
    digest = sha256(path)
    for record in lock.get(file, []):
        if record.sha256 == digest:
            return f"sha256 {digest[:12]}…, as first seen on {record.first_seen}"
    for record in lock.get(file, []):
        if record.name == name:
            raise UserError(
                f"its sha256 is {digest}, but the one first seen on {record.first_seen} (from "
                f"{record.source}) is {record.sha256}; if this one is right, take the other out "
                f"of {root / LOCK}"
            )
    today = datetime.now(UTC).date().isoformat()
    lock.setdefault(file, []).append(Record(name, digest, path.stat().st_size, source, today))
    _write(root / LOCK, lock)
    return f"sha256 {digest[:12]}…, first seen: recorded in {root / LOCK}"


def sha1(path: Path) -> str:
    """The SHA-1 of a file, in hex: what Caffe's model zoo publishes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha1").hexdigest()


def md5(path: Path) -> str:
    """The MD5 of a file, in hex: what some pages print. It tells damage, not forgery."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def _read(path: Path) -> dict[str, list[Record]]:
    if not path.exists():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {file: [Record(**record) for record in rows] for file, rows in held.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is broken ({error}); mend it, or bring it back from git") from None


def _write(path: Path, lock: dict[str, list[Record]]) -> None:
    held: dict[str, Sequence[dict[str, object]]] = {
        file: [asdict(record) for record in rows] for file, rows in sorted(lock.items())
    }
    write_text(path, json.dumps(held, indent=2) + "\n")
