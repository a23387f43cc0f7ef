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
    # It came over plain http, and nobody had published a checksum. Older locks do not say.
    unverified: bool = False


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
    record = Record(name, digest, path.stat().st_size, source, today, is_plain(source))
    lock.setdefault(file, []).append(record)
    _write(root / LOCK, lock)
    how = ", unverified" if record.unverified else ""
    return f"sha256 {digest[:12]}…, first seen{how}: recorded in {root / LOCK}"


def is_plain(source: str) -> bool:
    """Whether a file came over plain http: whoever is on the way may have changed it."""
    return source.startswith("http://")


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
        file: [_fields(record) for record in rows] for file, rows in sorted(lock.items())
    }
    write_text(path, json.dumps(held, indent=2) + "\n")


def _fields(record: Record) -> dict[str, object]:
    """A record as it is written: what is verified looks as it always did."""
    fields = asdict(record)
    if not record.unverified:
        del fields["unverified"]
    return fields
