"""run.json: what a run is, was made from, and how far it came."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.files import write_text

Record = dict[str, Any]

# The states of a run, in run.json's "state".
TRAINING, INTERRUPTED, FAILED, TRAINED = "training", "interrupted", "failed", "trained"


def read(path: Path) -> Record | None:
    """The record at `path`, or None when there is none; UserError when it is broken."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({error}): move that folder away") from None
    if not isinstance(record, dict) or "state" not in record or "inputs" not in record:
        raise UserError(f"{path} is not a run's record: move that folder away")
    return record


def write(path: Path, record: Record) -> None:
    """Write the record, whole or not at all."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def host(record: Record) -> str | None:
    """The machine that a run was last trained on, if its record says so."""
    sittings = record.get("sittings")
    last = sittings[-1] if isinstance(sittings, list) and sittings else None
    return last.get("host") if isinstance(last, dict) else None


def now() -> str:
    """The time, as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
