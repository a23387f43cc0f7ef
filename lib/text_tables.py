"""Tables as text: aligned for a terminal, in Markdown, in LaTeX. One function for each."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

_GAP = "  "  # between two columns of a terminal's table
_NARROWEST = 40  # columns; a narrower window wraps its lines itself

# What LaTeX reads as a command, and the few signs of ours that its fonts lack.
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "–": "--",  # noqa: RUF001
    "−": "$-$",  # noqa: RUF001
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "÷": r"$\div$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "≠": r"$\neq$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


def terminal_width() -> int:
    """Columns of the terminal that stdout is; 80 where it is none."""
    if not sys.stdout.isatty():
        return 80
    return max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def aligned(
    columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None
) -> str:
    """A table whose columns are aligned by spaces and that fits `width` (the terminal's) columns.

    Cells may hold several lines. Where the table is too wide, its widest columns are wrapped; what
    is still too wide is shown in several blocks, each beginning with the first column.
    """
    width = width or terminal_width()
    table = [[str(cell) for cell in line] for line in (columns, *rows)]
    blocks: list[str] = []
    left = list(range(1, len(columns)))
    while left or not blocks:
        count = _that_fit(table, left, width)
        chosen, left = [0, *left[:count]], left[count:]
        blocks.append(_block([[line[n] for n in chosen] for line in table], width))
    return "\n\n".join(blocks)


def wrapped(text: str, width: int | None = None) -> str:
    """A paragraph, or a line of a list, in lines of at most `width` (the terminal's) columns."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        text, width or terminal_width(), subsequent_indent=indent, break_on_hyphens=False
    )


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: str = "") -> str:
    """A table in Markdown; `numbers` has an 'r' for each column that is aligned to the right."""
    rules = ["---:" if numbers[n : n + 1] == "r" else "---" for n in range(len(columns))]
    lines = [_md_line(columns), f"| {' | '.join(rules)} |", *map(_md_line, rows)]
    return "\n".join(lines)


def md_escaped(text: str) -> str:
    """Text that Markdown takes as it is: names from catalogues may hold anything."""
    return re.sub(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))", r"\\\1", text).replace("\n", " ")


def latex(
    columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str, label: str
) -> str:
    r"""A LaTeX table: needs \usepackage{booktabs} and, for its marks, amssymb."""
    lines = [
        r"% \usepackage{booktabs,amssymb}",
        r"\begin{table*}",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{latex_escaped(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{'l' * len(columns)}}}",
        r"\toprule",
        " & ".join(map(_latex_heading, columns)) + r" \\",
        r"\midrule",
        *map(_latex_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def latex_escaped(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in text).replace("\n", " ")


def _md_line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(md_escaped(str(cell)) for cell in cells)} |"


def _latex_line(cells: Sequence[object]) -> str:
    return " & ".join(latex_escaped(str(cell)) for cell in cells) + r" \\"


def _latex_heading(name: str) -> str:
    """A column's name; those of tasks in two lines, which a page needs."""
    parts = [latex_escaped(part) for part in name.split("_", 1)]
    return parts[0] if len(parts) == 1 else rf"\shortstack[l]{{{parts[0]}\_\\{parts[1]}}}"


def _that_fit(table: list[list[str]], columns: list[int], width: int) -> int:
    """How many of these columns have room beside the first one: at least one, if there is any."""
    least = [max(_least(line[n]) for line in table) for n in range(len(table[0]))]
    total, count = min(least[0], width // 2), 0
    for column in columns:
        total += len(_GAP) + least[column]
        if total > width and count:
            break
        count += 1
    return count


def _block(table: list[list[str]], width: int) -> str:
    count = len(table[0])
    wanted = [
        max(_length(part) for line in table for part in (line[n].splitlines() or [""]))
        for n in range(count)
    ]
    least = [min(max(_least(line[n]) for line in table), width // 2) for n in range(count)]
    room = width - len(_GAP) * (count - 1)
    while sum(wanted) > room:
        # The widest column that can still give gives one; where none can, the first is cut.
        able = [n for n in range(count) if wanted[n] > least[n]]
        if not able:
            break
        widest = max(able, key=lambda n: wanted[n])
        wanted[widest] -= 1
    right = [count > 1 and n > 0 and _is_number_column(table, n) for n in range(count)]
    head, *body = [[_wrapped(cell, wanted[n]) for n, cell in enumerate(line)] for line in table]
    tall = any(len(cell) > 1 for line in body for cell in line)
    lines = [*_rows(head, wanted, right), _GAP.join("-" * each for each in wanted)]
    for number, line in enumerate(body):
        if tall and number:
            lines.append("")
        lines += _rows(line, wanted, right)
    return "\n".join(lines)


def _rows(cells: list[list[str]], widths: list[int], right: list[bool]) -> list[str]:
    lines = []
    for number in range(max(map(len, cells), default=1)):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = [
            " " * (size - _length(part)) + part if is_right else part + " " * (size - _length(part))
            for part, size, is_right in zip(parts, widths, right, strict=True)
        ]
        lines.append(_GAP.join(padded).rstrip())
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    """The lines of a cell, none longer than `width`; names are broken after an underscore too."""
    found: list[str] = []
    for line in cell.splitlines() or [""]:
        if _length(line) <= width:
            found.append(line)
            continue
        text = line.replace("_", "_\u200b")
        words = [part for word in text.split(" ") for part in _pieces(word)]
        current = ""
        for word, joint in words:
            if current and _length(current) + len(joint) + _length(word) > width:
                found.append(current)
                current = word
            else:
                current = current + (joint if current else "") + word
        if current:
            found.append(current)
    return [piece for line in found for piece in _hard(line, width)]


def _pieces(word: str) -> list[tuple[str, str]]:
    """The parts of a word that may stand in lines of their own, and what joins each to the last."""
    first, *others = word.split("\u200b")
    return [(first, " "), *((other, "") for other in others)]


def _hard(line: str, width: int) -> list[str]:
    if _length(line) <= width:
        return [line]
    return textwrap.wrap(line, max(1, width), break_long_words=True) or [line]


def _least(cell: str) -> int:
    """The longest part of a cell that is not to be broken."""
    return max((_length(part) for part in re.split(r"[\s]|(?<=_)", cell)), default=0)


def _is_number_column(table: list[list[str]], column: int) -> bool:
    cells = [line[column] for line in table[1:] if line[column].strip()]
    return bool(cells) and all(re.match(r"[-+−–]?\d*[\d.,%–]*$", cell) for cell in cells)  # noqa: RUF001


def _length(text: str) -> int:
    """Columns of a terminal that a text takes: two for a wide letter, none for a combining one."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )
