"""Records in JSON files: read against their schema, written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from lib.errors import UserError
from lib.files import write_text


class RecordKind(msgspec.Struct):
    """What the schema of a record file is a kind of."""

    WHAT: ClassVar[str]  # in words: "a run's record"


Record = TypeVar("Record", bound=RecordKind)
_AT = re.compile(r"(?P<why>.*) - at `\$\.?(?P<key>.*)`")

# Kinds of numbers. JSON has neither NaN nor infinite ones.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Number = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | float
AtLeastOne = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]  # of all: 0.25 is a quarter


class InvalidRecord(UserError):
    """A record that can't be used: its file, and why in one line."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}; move that folder away")
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
        raise InvalidRecord(path, f"not {kind.WHAT}")
    try:
        if upgrade:
            upgrade(said)
        return msgspec.convert(said, kind)
    except (msgspec.ValidationError, UserError, RecursionError) as error:
        raise InvalidRecord(path, _reason(error, kind)) from None


def write_record(path: Path, record: RecordKind) -> None:
    """Write a record."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=1).decode()
    write_text(path, text + "\n")


def _reason(error: BaseException, kind: type[RecordKind]) -> str:
    """Why a record does not fit its schema: 'not test results: top1: expected float <= 1.0'."""
    text = _line(error)
    found = _AT.fullmatch(text)
    if found and text.startswith(("Expected", "Invalid", "Object")):
        why = found["why"].replace("`", "")
        return f"not {kind.WHAT}: {found['key']}: {why[0].lower()}{why[1:]}"
    if text.startswith(("Expected", "Object")):
        return f"not {kind.WHAT}: {text.replace('`', '')}"
    return found["why"] if found else text


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
