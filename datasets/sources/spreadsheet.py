"""Catalogues as people keep them: CSV, .xls, .xlsx, or the zip of one, read as plain text cells."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pandas as pd

from datasets.sources.read_sheet import REFUSED, SECONDS
from datasets.table import Note, count
from lib.errors import UserError
from lib.files import readable
from lib.text import decode, split_rows

SHEETS = (".xlsx", ".xls")
SUFFIXES = (".csv", *SHEETS, ".tsv", ".zip")
LARGEST = 500_000_000  # bytes of a table in an archive; the largest catalogues have 60 MB
_PROJECT = Path(__file__).resolve().parents[2]
SEPARATED = "columns are separated by ; or , or tab or |"


def find(folder: Path, *, starting: tuple[str, ...] = ("catalog",)) -> Path | None:
    """The catalogue in a folder: of several, the first by the order of SUFFIXES and by name."""
    if not folder.is_dir():
        return None
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.name.lower().startswith(starting)
    ]
    return min(found, key=lambda p: (SUFFIXES.index(p.suffix.lower()), p.name), default=None)


def read(file: Path) -> tuple[pd.DataFrame, list[Note]]:
    """All cells as text ("" when empty) under the header's names; index: 'catalog.csv row 2'.

    Rows are numbered as a spreadsheet shows them, the header being row 1. UserError when the file
    is empty, damaged, in no known encoding or not a table.
    """
    rows = read_rows(file)
    if not rows:
        raise UserError(f"{file} is empty")
    header = [cell.strip() for cell in rows[0]]
    if len(rows) == 1:
        raise UserError(f"{file} has a header ({', '.join(header[:12])}) and no rows")
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise UserError(f"{file} has two columns named {', '.join(twice)}")
    return as_table(file, header, rows)


def read_rows(file: Path) -> list[list[str]]:
    """All rows, the header among them, as text cells. UserError as `read` raises it."""
    inside = file
    try:
        if file.suffix.lower() == ".zip":
            inside, data = _unzipped(file)
        else:
            data = file.read_bytes()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    if not data.strip():
        raise UserError(f"{file} is empty")
    if inside.suffix.lower() in SHEETS:
        return _sheet(file, data)
    if data.startswith((b"\xd0\xcf\x11\xe0", b"PK\x03\x04")):
        raise UserError(
            f"{file} is not a text file; a spreadsheet's name must end in .xls or .xlsx"
        )
    return split_rows(decode(data, file), file)


def _unzipped(file: Path) -> tuple[Path, bytes]:
    """The one table in an archive. The size that it announces is not believed."""
    with zipfile.ZipFile(file) as archive:
        inside = [
            entry
            for entry in archive.infolist()
            if Path(entry.filename).suffix.lower() in SUFFIXES[:-1]
            and not entry.filename.startswith("__MACOSX")
        ]
        if len(inside) != 1:
            raise UserError(f"{file} must hold one .csv, .xls or .xlsx file, it has {len(inside)}")
        with archive.open(inside[0]) as member:
            data = member.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UserError(f"{file} holds a table larger than {readable(LARGEST)}, no catalogue")
    return Path(inside[0].filename), data


def _sheet(file: Path, data: bytes) -> list[list[str]]:
    """The first sheet of a workbook, read by a process of its own.

    A cell at the far end makes the library ask for hundreds of gigabytes, a damaged file may make
    it abort: the child has limits, and only it ends.
    """
    command = [sys.executable, "-m", "datasets.sources.read_sheet"]
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, cwd=_PROJECT, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{file} is not read in {SECONDS} seconds; save it as CSV") from None
    if done.returncode == 0:
        rows: list[list[str]] = json.loads(done.stdout)
        return rows
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == REFUSED:
        raise UserError(f"{file} is not a whole spreadsheet: {said[-1] if said else 'damaged'}")
    raise UserError(
        f"{file} is not a whole spreadsheet, or has cells far beyond its table (the reader of "
        "spreadsheets broke off); save the table alone as CSV"
    )


def as_table(
    file: Path, header: list[str], rows: list[list[str]]
) -> tuple[pd.DataFrame, list[Note]]:
    """Rows, the header first, as a table; notes on rows that are too short."""
    width = len(header)
    hint = "a field that holds the separator must be in quotation marks"
    if width == 1:
        hint = f"if '{header[0]}' is a whole line: {SEPARATED}"
    where, cells, short = [], [], []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise UserError(
                f"{file} row {number} has {len(row)} fields, the header {width}; {hint}"
            )
        if len(row) < width:
            short.append(f"row {number}")
            row = row + [""] * (width - len(row))
        where.append(f"{file.name} row {number}")
        cells.append(row[:width])
    if not cells:
        raise UserError(f"{file} has a header ({', '.join(header[:12])}) and no rows")
    notes = []
    if short:
        text = f"{count(len(short), 'row')} of {file} shorter than its header, the rest is unknown"
        notes.append(Note(text, short))
    table = pd.DataFrame(cells, columns=header, index=where, dtype=object)
    return table[[column for column in header if column]], notes
