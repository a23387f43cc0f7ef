"""Reads the first sheet of a workbook, from stdin, and prints its rows as JSON: lists of texts.

A process of its own, with limits on memory and time (see datasets.sources.spreadsheet).
"""

from __future__ import annotations

import datetime
import io
import json
import resource
import sys
from typing import Any

MEMORY = 4 << 30  # bytes; the catalogue of the Web Gallery of Art, 45,000 rows, needs 0.3 GB
SECONDS = 300
REFUSED = 3  # exit status: the file is no whole workbook


def main() -> None:
    """Read and print; exit with REFUSED and the library's words for what is no workbook."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, IndexError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(REFUSED)
    json.dump([[_text(cell) for cell in row] for row in rows], sys.stdout)


def _text(cell: Any) -> str:
    """A cell as pandas' read_excel writes it with dtype=str."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
        return f"{cell} 00:00:00"
    return str(cell)


if __name__ == "__main__":
    main()
