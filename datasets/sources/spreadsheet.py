"""Catalogues as people keep them: CSV, .xls, .xlsx, or the zip of one, read as plain text cells."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pandas as pd
from python_calamine import CalamineError

from datasets.table import Note, count
from lib.errors import UserError

SUFFIXES = (".csv", ".xlsx", ".xls", ".zip")
SEPARATORS = ";,\t|"
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
    try:
        name, data = _unzipped(file) if file.suffix.lower() == ".zip" else (file, file.read_bytes())
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not data.strip():
        raise UserError(f"{file} is empty")
    rows = _csv(file, data) if name.suffix.lower() == ".csv" else _sheet(file, data)
    if not rows:
        raise UserError(f"{file} is empty")
    header = [cell.strip() for cell in rows[0]]
    if len(rows) == 1:
        raise UserError(f"{file} has a header ({', '.join(header[:12])}) and no rows")
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise UserError(f"{file} has two columns named {', '.join(twice)}")
    return _table(file, header, rows)


def _unzipped(file: Path) -> tuple[Path, bytes]:
    with zipfile.ZipFile(file) as archive:
        inside = [
            name
            for name in archive.namelist()
            if Path(name).suffix.lower() in SUFFIXES[:3] and not name.startswith("__MACOSX")
        ]
        if len(inside) != 1:
            raise UserError(f"{file} must hold one .csv, .xls or .xlsx file, it has {len(inside)}")
        return Path(inside[0]), archive.read(inside[0])


def _csv(file: Path, data: bytes) -> list[list[str]]:
    text = _decoded(file, data)
    first = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise UserError(
            f"{file} line {reader.line_num}: {error}; is a quotation mark left open?"
        ) from error


def _decoded(file: Path, data: bytes) -> str:
    """Text in UTF-8, UTF-16 with its mark, or Windows-1252, which old catalogues are in."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not wide and b"\0" in data:
        raise UserError(
            f"{file} is not a text file; a spreadsheet's name must end in .xls or .xlsx"
        )
    encodings = ["utf-16"] if wide else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
    raise UserError(
        f"{file} line {line}: neither UTF-8 nor Windows-1252 text; save the file as UTF-8"
    )


def _sheet(file: Path, data: bytes) -> list[list[str]]:
    try:
        sheet = pd.read_excel(
            io.BytesIO(data), header=None, dtype=str, keep_default_na=False, engine="calamine"
        )
    except (CalamineError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is not a whole spreadsheet: {error}") from error
    return [list(row) for row in sheet.itertuples(index=False, name=None)]


def _table(file: Path, header: list[str], rows: list[list[str]]) -> tuple[pd.DataFrame, list[Note]]:
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
