"""Text files that people edit or download, whatever program saved them.

Read are UTF-8, UTF-16 and UTF-32, with or without a byte order mark, and Windows-1252; lines may
end as on Unix, on Windows or on an old Mac. Nothing here needs a package.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import stat
import tomllib
from pathlib import Path
from typing import Any

from lib.errors import UserError

SEPARATORS = ";,\t|"

# The marks that name an encoding; UTF-32's begins with UTF-16's and so comes first.
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8", "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)
_DEEPEST = 10_000_000  # characters of one CSV field; Python's own limit is 131,072


def read_text(path: Path) -> str:
    """The text of a file, lines ending in a plain line feed.

    UserError when there is no such file, it can't be read, or it is no text.
    """
    return decode(_bytes(path), path)


def read_log(path: Path) -> str:
    """As read_text, for what a program wrote while it ran: odd bytes are replaced, never an error.

    UserError when there is no such file or it can't be read.
    """
    data = _bytes(path)
    try:
        return decode(data, path)
    except UserError:
        return _unix_ends(data.decode("utf-8", "replace"))


def read_lines(path: Path) -> list[str]:
    """The lines of a file without their ends; an empty last line is no line. Errors: read_text."""
    lines = read_text(path).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def first_lines(path: Path, size: int = 1 << 16) -> list[str]:
    """The whole lines among the first `size` bytes of a file, to see what it is; [] for no text.

    UserError when there is no such file or it can't be read.
    """
    data = _bytes(path, size)
    cut = len(data) == size
    mark = _mark(data)
    wide = mark[1] if mark and mark[0] != "UTF-8" else _unmarked_utf16(data)
    if wide is None and b"\0" in data:
        return []
    if wide:
        text = data[: len(data) // 4 * 4].decode(wide, "replace")
    else:
        try:
            text = data.decode("utf-8-sig", "strict" if not cut else "ignore")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    lines = _unix_ends(text).split("\n")
    return lines[:-1] if cut or lines[-1] == "" else lines


def read_json(path: Path) -> Any:
    """The value in a JSON file. Errors: read_text; UserError with the place for broken JSON."""
    return parse_json(read_text(path), path)


def parse_json(text: str, path: Path) -> Any:
    """The value in the text of a JSON file; `path` is named in the UserError for broken JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{path} is not whole JSON: it is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Errors: read_text; UserError with the place for broken TOML."""
    try:
        return tomllib.loads(read_text(path))
    except RecursionError:
        raise UserError(f"{path}: can't be read as TOML: it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: can't be read as TOML: {error}") from None


def read_rows(path: Path, separators: str = SEPARATORS) -> list[list[str]]:
    """The rows of a CSV file, whatever separates its columns. Errors: read_text, split_rows."""
    return split_rows(read_text(path), path, separators)


def split_rows(text: str, path: Path, separators: str = SEPARATORS) -> list[list[str]]:
    """The rows of a CSV's text. A first line `sep=;` (Excel's) names the separator, and is no row.

    UserError when a quotation mark is left open.
    """
    first, _, rest = text.partition("\n")
    separator = max(separators, key=_outside_quotes(first).count)
    if first.strip().strip('"').lower().startswith("sep="):
        separator = first.strip().strip('"')[4:5] or "\t"  # a tab was stripped
        text = rest
    csv.field_size_limit(_DEEPEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise UserError(
            f"{path} line {reader.line_num}: {error}; is a quotation mark left open?"
        ) from None


def decode(data: bytes, path: Path) -> str:
    """The text of a file's bytes; `path` is named in the UserError for what is no text."""
    mark = _mark(data)
    wide = None if mark else _unmarked_utf16(data)
    encodings = [mark[1]] if mark else [wide] if wide else ["utf-8", "cp1252"]
    if encodings[0] in ("utf-8", "utf-8-sig") and b"\0" in data:
        raise UserError(f"{path} is not a text file; it holds zero bytes")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
        else:
            return _unix_ends(text)
    if mark or wide:
        raise UserError(f"{path} is damaged: it is not whole {mark[0] if mark else 'UTF-16'} text")
    raise UserError(
        f"{path} line {line}: neither UTF-8 nor Windows-1252 text; save the file as UTF-8"
    )


def require_caffe_text(path: Path) -> None:
    """UserError when a prototxt is saved so that Caffe can't read it: in one line, with the mend.

    Caffe's parser knows plain bytes alone: it stops at a byte order mark and at UTF-16, and takes
    all that follows a # for a comment when lines end as on an old Mac.
    """
    data = _bytes(path)
    mark = _mark(data)
    name = f"{mark[0]} with a byte order mark" if mark else ""
    if not mark and _unmarked_utf16(data):
        name = "UTF-16"
    if name:
        raise UserError(
            f"{path} is saved as {name}, which Caffe cannot read; save it as UTF-8 without a byte "
            "order mark"
        )
    if b"\r" in data and b"\n" not in data:
        raise UserError(
            f"{path} has the line ends of an old Mac, which Caffe does not know: a # would hide "
            "all that follows; save it with Unix line ends"
        )


def _bytes(path: Path, most: int = -1) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is not a file")
        with path.open("rb") as handle:
            return handle.read(most)
    except FileNotFoundError:
        raise UserError(f"{path} can't be read: there is no such file") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None


def _mark(data: bytes) -> tuple[str, str] | None:
    """The name and the codec of the encoding that a byte order mark tells; None without one."""
    return next(((name, codec) for mark, name, codec in _MARKS if data.startswith(mark)), None)


def _unmarked_utf16(data: bytes) -> str | None:
    """The codec of UTF-16 without a mark: every other byte of its first letters is zero."""
    head = data[:64] if len(data) % 2 == 0 else b""
    even, odd = head[::2], head[1::2]
    if len(even) >= 2 and not any(odd) and all(even):
        return "utf-16-le"
    if len(even) >= 2 and not any(even) and all(odd):
        return "utf-16-be"
    return None


def _unix_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])
