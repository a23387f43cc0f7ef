"""The common table of artworks that every source ends in, and the checks that all sources share."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from datasets.labels import LABELS
from lib.errors import UserError

# Where PyArrow is installed pandas keeps text in it, and PyArrow refuses names that are not UTF-8.
pd.set_option("mode.string_storage", "python")

COLUMNS = (
    "image",  # path below the source's image root
    "work",  # views and details of one work share it
    "artist",
    "genre",
    "style",
    "timeframe",
    "nationality",
    "form",  # painting, drawing, sculpture, ...
    "title",
    "url",  # address of the image file
)
GIVEN = "given split"  # a source's own train, val or test; of one label: 'given split, style'


@dataclass(frozen=True)
class Note:
    """A counted warning. `rows` names every row or image it is about.

    A note with a `label` matters only to tasks of that label column.
    """

    text: str
    rows: Sequence[str]
    label: str | None = None

    def __str__(self) -> str:
        """In one line, with the first few rows."""
        return f"{self.text}: {some(self.rows)}" if self.rows else self.text


@dataclass(frozen=True)
class Catalogue:
    """What a source knows of its artworks.

    `table` has the columns COLUMNS (a user's own collection may add more), strings or pd.NA, and
    as index the place of each row as a person would name it: 'catalog.csv row 12'.
    `images` is the folder that `image` starts from. `edition` says which catalogue it is.
    `order` are the classes in the order of a list's own numbers, where the source is one.
    `questions` says of a label column what must be asked before it is used; `hints` where it is to
    be had when the source has it of no image.
    """

    table: pd.DataFrame
    images: Path
    edition: str
    notes: list[Note] = field(default_factory=list)
    order: tuple[str, ...] = ()
    questions: dict[str, str] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)


def build(rows: pd.DataFrame, *, where: Iterable[str]) -> tuple[pd.DataFrame, list[Note]]:
    """The common table from the columns a source has; the others are missing throughout.

    Text is brought into one Unicode form and odd spaces become single ones; what is empty then is
    missing. The notes count and name the rows whose label was changed so. Image paths stay as they
    are, because they must match the names of files.
    """
    table = pd.DataFrame(index=pd.Index(list(where), name="where", dtype="object"))
    notes: list[Note] = []
    for column in (*COLUMNS, *(c for c in rows.columns if c not in COLUMNS)):
        if column not in rows:
            table[column] = pd.array([pd.NA] * len(table), dtype="string")
        else:
            values = rows[column].astype("object")
            table[column] = (_path if column == "image" else _text)(values).array
            if column in LABELS or column not in COLUMNS:
                notes += _changed(str(column), values, table[column])
    return table, notes


def require_columns(found: Iterable[str], needed: Iterable[str], file: Path, hint: str) -> None:
    """Raise UserError that names the columns missing in a catalogue."""
    there = list(found)
    missing = [column for column in needed if column not in there]
    if missing:
        names = ", ".join(repr(str(name)) for name in there[:12]) or "none"
        if len(there) == 1:
            hint = "if that is a whole line: columns are separated by ; or , or tab or |"
        raise UserError(f"{file}: no column {', '.join(missing)}; it has {names}; {hint}")


def some(names: Sequence[object], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    text = "; ".join(str(name) for name in names[:most])
    return text if len(names) <= most else f"{text}; and {len(names) - most:,} more"


def count(number: int, noun: str) -> str:
    """'1 image', '2,777 images'."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def tidy(text: str) -> str | None:
    """The text in one Unicode form with single spaces; None when nothing is left."""
    return " ".join(unicodedata.normalize("NFC", text).split()) or None


def _text(values: pd.Series) -> pd.Series:
    known = values.dropna()
    # Most labels repeat many times: each different text is worked on once.
    tidied = {text: tidy(str(text)) for text in known.unique()}
    return values.map(tidied).astype("string")


def _changed(column: str, before: pd.Series, after: pd.Series) -> list[Note]:
    pairs = zip(before.tolist(), after.tolist(), strict=True)
    named = [
        f"{old!r} ({after.index[row]})"
        for row, (old, new) in enumerate(pairs)
        if isinstance(old, str) and isinstance(new, str) and old != new
    ]
    text = f"{count(len(named), 'row')} with odd spaces or letters in {column}, set right"
    return [Note(text, named, label=column)] if named else []


def _path(values: pd.Series) -> pd.Series:
    paths = values.astype("string")
    return paths.mask(paths.str.strip() == "")
