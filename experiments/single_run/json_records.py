"""Records in JSON files: read against their schema, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from lib.errors import UserError
from lib.files import write_text

Record = TypeVar("Record", bound=msgspec.Struct)

# Kinds of numbers. JSON has neither NaN nor infinite ones.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]  # of all: 0.25 is a quarter


class InvalidRecord(UserError):
    """A record that can't be used: its file, and why in one line."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}; move it away, or that folder")
        self.path = path
        self.why = why


def read_record(
    path: Path, kind: type[Record], *, upgrade: Callable[[dict[str, Any]], None] | None = None
) -> Record | None:
    """The record of this kind at `path`; None when there is no such file.

    `upgrade` gives the keys of an older version's record their names of today. Raises InvalidRecord
    for whatever is not such a record: cut short, foreign, of wrong types, contradicting itself.
    """
    try:
        said = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRecord(path, f"can't be read, or was cut short ({_line(error)})") from None
    if not isinstance(said, dict):
        raise InvalidRecord(path, "not a record")
    try:
        if upgrade:
            upgrade(said)
        return msgspec.convert(said, kind)
    except (msgspec.ValidationError, UserError, RecursionError) as error:
        raise InvalidRecord(path, _line(error)) from None


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write a record."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=1).decode()
    write_text(path, text + "\n")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
