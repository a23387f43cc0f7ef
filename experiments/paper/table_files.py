"""The files of a table (Markdown, LaTeX, CSV), and the same for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from experiments.paper.places import REPORT
from experiments.paper.tables import BLANK, DETAILS, READ_ME, Entry, Table
from lib import text_tables
from lib.files import write_text

_IN_A_LINE = (
    f"Each cell: printed · ours · difference (ours minus printed). {BLANK} : no tested run."
)
_STACKED = f"Each cell, from above: printed, ours, ours minus printed. {BLANK} : no tested run."
_IN_PAIRS = "Of each pair of lines the first is printed in the paper, the second ours."


def write(table: Table, report: Path = REPORT) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV; the three files."""
    files = [report / f"{table.name}.{kind}" for kind in ("md", "tex", "csv")]
    for path, text in zip(files, (markdown(table) + "\n", latex(table), _csv(table)), strict=True):
        write_text(path, text)
    return files


def markdown(table: Table) -> str:
    """A table in Markdown, with what its numbers rest on and its notes."""
    parts = [f"### {table.title}", text_tables.markdown(table.columns, table.rows)]
    if table.details:
        parts.append(text_tables.markdown(DETAILS, table.details))
    notes = (_IN_A_LINE, *READ_ME, *table.notes)
    parts.append("\n".join(f"- {text_tables.md_escaped(note)}" for note in notes))
    return "\n\n".join(parts)


def terminal(table: Table, width: int | None = None) -> str:
    """A table for a terminal: aligned, and no wider than it (80 columns where there is none)."""
    stacked = [[_stacked(cell) for cell in row] for row in table.rows]
    parts = [table.title, text_tables.aligned(table.columns, stacked, width)]
    if table.details:
        parts.append(text_tables.aligned(DETAILS, table.details, width))
    notes = (_STACKED, *READ_ME, *table.notes)
    parts.append("\n".join(text_tables.wrapped(f"- {note}", width) for note in notes))
    return "\n\n".join(parts)


def latex(table: Table) -> str:
    """A table in LaTeX, a line for the printed accuracies and below it one for ours."""
    lines: list[Sequence[str]] = []
    for first, *others in table.rows:
        if not any(isinstance(cell, Entry) for cell in others):
            lines.append([str(first), "", *map(str, others)])
            continue
        for place, whose in enumerate(("printed", "ours")):
            cells = [_part(cell, place) for cell in others]
            lines.append([str(first) if place == 0 else "", whose, *cells])
    columns = (table.columns[0], "", *table.columns[1:])
    caption = f"{table.title}. {_IN_PAIRS} {READ_ME[0]} {READ_ME[1]}"
    return text_tables.latex(columns, lines, caption, f"tab:{table.name}")


def _part(cell: str | Entry, place: int) -> str:
    """What a cell has in its first line (printed) or in its second (ours)."""
    if isinstance(cell, Entry):
        return cell.texts[0] if place == 0 else f"{cell.texts[1]} {cell.mark}".rstrip()
    return cell if place == 0 else ""


def _stacked(cell: str | Entry) -> str:
    if not isinstance(cell, Entry):
        return cell
    printed, ours, difference = cell.texts
    return f"{printed}\n{ours}\n{difference} {cell.mark}".rstrip()


def _csv(table: Table) -> str:
    out = io.StringIO()
    names = [name for name in table.records[0] if name != "spread"]
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.records)
    return out.getvalue()
