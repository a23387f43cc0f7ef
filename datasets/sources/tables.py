"""Tables of images and their labels: CSV of any kind, spreadsheets, JSON.

A table is known by its column of image paths, whatever it is called and whatever the file is.
The files of one split (semart_train.csv, semart_val.csv ...) are one table; tables of the same
images (Kaggle's classes.csv and wclasses.csv) are joined.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from datasets.image_files import is_image_name
from datasets.sources import spreadsheet
from datasets.sources.file_names import find_below
from datasets.sources.listing import (
    Listing,
    part_of,
    parts_of_cells,
    without_part,
)
from datasets.sources.numbered_lists import class_names_for
from datasets.sources.wikiart_names import GENRES, STYLES, are_styles, plain
from datasets.table import COLUMNS, GIVEN, Catalogue, Note, build, count, some
from lib.errors import UserError
from lib.text import first_lines, parse_json, read_text, split_rows

# Columns of image paths, the surest names first; compared without case and marks.
PATHS = tuple(
    """image path file filename filepath imagepath imagefile imagefilename imagename imgpath imgfile
    imgname img picture photo picturepath photopath newfilename relativepath relpath fullpath
    localpath filenames images paths files pic jpg bild fichier datei""".split()  # noqa: SIM905
)
# What a column of another name means; the table keeps the column under its own name too.
MEANINGS = {
    "artist": "artist artistname author authorname painter paintername creator maker",
    "genre": "genre genres",
    "style": "style styles artstyle",
    "timeframe": "timeframe timeperiod",
    "nationality": "nationality artistnationality",
    "form": "form",
    "title": "title paintingtitle workname",
    "url": "url imageurl imgurl link",
}
_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".zip", ".json", ".jsonl", ".ndjson", ".tab")
_SNIFFED = 200  # rows
_LARGEST = 500_000_000  # bytes of a JSON file
_OF = " as said by "  # a column of a second table, until it is compared with the first's


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table of images: its header, its column of paths, and a look at it."""

    name: str
    header: tuple[str, ...]
    image: str
    headless: bool = False


def find_tables(listing: Listing, but: Iterable[str] = ()) -> list[list[TableFile]]:
    """The tables of images in a collection, `but` those files; the files of one split together."""
    left_out = set(but)
    groups: dict[tuple[str, tuple[str, ...]], list[TableFile]] = {}
    text_table = False
    for name in sorted(listing.others, key=lambda name: _kind(name) in ("sheet", "zip")):
        kind = _kind(name)
        if not kind or name in left_out or not listing.path(name).is_file():
            continue
        last = PurePosixPath(name).name.casefold()
        if kind == "zip" and not ("/" not in name and last.startswith(("catalog", "data_"))):
            continue
        if kind == "sheet" and text_table and not last.startswith("catalog"):
            continue
        table = _sniff(listing, name)
        if table:
            text_table = True
            place = str(PurePosixPath(name).parent)
            key = f"{place}/{without_part(last)}" if part_of(last) else name
            groups.setdefault((key, table.header), []).append(table)
    return list(groups.values())


def read_tables(listing: Listing, groups: Sequence[Sequence[TableFile]]) -> Catalogue:
    """The table of the groups' files, joined by image.

    UserError when a file is damaged, or a path leads out of the collection.
    """
    rows, notes = _read_group(listing, groups[0])
    for group in groups[1:]:
        more, more_notes = _read_group(listing, group)
        rows = _join(rows, more, group[0].name)
        notes += more_notes
    rows, more_notes = _meanings(rows, listing)
    notes += more_notes
    rows, questions = _questions(rows, groups[0][0].name)
    found = find_below(rows["image"], listing, listing.path(groups[0][0].name))
    rows["image"] = found.names
    if GIVEN not in rows:
        parts = _parts_of_folders(found.names)
        if parts is not None:
            rows[GIVEN] = parts
    table, odd_labels = build(rows, where=rows.index)
    files = [PurePosixPath(file.name).name for group in groups for file in group]
    return Catalogue(
        table,
        images=found.folder,
        edition=f"{', '.join(files)}, {count(len(table), 'row')}",
        notes=notes + odd_labels + found.notes,
        questions=questions,
    )


def meanings_of(columns: Iterable[str]) -> set[str]:
    """The common columns that columns of other names mean: 'AUTHOR' the artist."""
    keys = {re.sub(r"[\W_]", "", column.casefold()) for column in columns}
    found = {ours for ours, words in MEANINGS.items() if keys & set(words.split())}
    return found | ({"genre", "nationality"} if {"school", "type"} <= keys else set())


def path_column(
    header: Sequence[str], sample: Sequence[Sequence[str]], listing: Listing
) -> str | None:
    """The column of image paths: by its name, or because its cells are names of images.

    Of several the one whose cells are files of the collection, then the surest name.
    """
    files = {key for path in listing.images for key in _keys(path)}
    best: tuple[float, float, int, str] | None = None
    for place, column in enumerate(header):
        key = re.sub(r"[\W_]", "", column.casefold())
        cells = [row[place].strip() for row in sample if place < len(row) and row[place].strip()]
        if not cells:
            continue
        paths = [cell.replace("\\", "/") for cell in cells]
        there = sum(any(k in files for k in _keys(path)) for path in paths) / len(paths)
        named = sum(is_image_name(path) and "://" not in path for path in paths) / len(paths)
        known = PATHS.index(key) if key in PATHS else len(PATHS)
        if known == len(PATHS) and named < 0.8 and not (there >= 0.8 and len(set(cells)) > 1):
            continue
        if known == len(PATHS) and named < 0.8 and len(set(cells)) < len(cells):
            continue  # a column of labels that happen to be names of files
        choice = (-round(there, 1), -round(named, 1), known, column)
        if best is None or choice < best:
            best = choice
    return best[3] if best else None


def _kind(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in _SUFFIXES:
        return "" if suffix else "text"
    kinds = {".xlsx": "sheet", ".xls": "sheet", ".zip": "zip", ".json": "json"}
    return kinds.get(suffix, "lines" if suffix in (".jsonl", ".ndjson") else "text")


def _sniff(listing: Listing, name: str) -> TableFile | None:
    """What a file is, from its first rows; None when it is no table of images."""
    file, kind = listing.path(name), _kind(name)
    try:
        if kind == "text":
            lines = first_lines(file)[: _SNIFFED + 2]
            rows = _loose_rows(lines, file)
        elif kind == "json":
            head = "".join(first_lines(file, 4096) or [" "])
            if head.lstrip()[:1] not in ("[", "{") or '"artistName"' in head:
                return None
            rows = _json_rows(file, listing)[: _SNIFFED + 2]
        elif kind == "lines":
            rows = _json_rows(file, listing)[: _SNIFFED + 2]
        else:
            rows = spreadsheet.read_rows(file)[: _SNIFFED + 2]
    except UserError:
        if PurePosixPath(name).name.casefold().startswith(("catalog", "metadata")):
            raise
        return None
    if len(rows) < 2:
        return None
    header = [cell.strip() for cell in rows[0]]
    if any(is_image_name(cell) for cell in header):  # no header: the first row is an image already
        place = next(i for i, cell in enumerate(header) if is_image_name(cell))
        if len(header) < 2:
            return None
        columns = [f"column {i + 1}" for i in range(len(header))]
        columns[place] = "image"
        if len(header) == 2:
            columns[1 - place] = "class"
        return TableFile(name, tuple(columns), "image", headless=True)
    if len(header) < 2:
        return None
    image = path_column(header, rows[1:], listing)
    return TableFile(name, tuple(header), image) if image else None


def _loose_rows(lines: list[str], file: Path) -> list[list[str]]:
    """The first rows; a quotation mark that the cut left open ends them."""
    while lines:
        try:
            return split_rows("\n".join(lines), file)
        except UserError:
            lines = lines[:-1]
    return []


def _json_rows(file: Path, listing: Listing) -> list[list[str]]:
    """A list of objects as rows, the keys as header; [] for other JSON."""
    if file.stat().st_size > _LARGEST:
        return []
    text = read_text(file)
    if file.suffix.lower() == ".json":
        value = parse_json(text, file)
        if isinstance(value, dict):
            lists = [each for each in value.values() if isinstance(each, list)]
            value = max(lists, key=len, default=[])
    else:
        value = [parse_json(line, file) for line in text.split("\n") if line.strip()]
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        return []
    header = list(dict.fromkeys(str(key) for record in value for key in record))
    return [header, *([_cell(record.get(key)) for key in header] for record in value)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return str([str(each) for each in value])
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _read_group(listing: Listing, group: Sequence[TableFile]) -> tuple[pd.DataFrame, list[Note]]:
    frames, notes = [], []
    parts = [part_of(PurePosixPath(table.name).name) for table in group]
    for table, part in zip(group, parts, strict=True):
        file = listing.path(table.name)
        if _kind(table.name) in ("json", "lines"):
            rows, more = spreadsheet.as_table(file, list(table.header), _json_rows(file, listing))
        elif table.headless:
            cells = [list(table.header), *spreadsheet.read_rows(file)]
            rows, more = spreadsheet.as_table(file, list(table.header), cells)
            rows.index = pd.Index([f"{file.name} row {n}" for n in range(1, len(rows) + 1)])
        else:
            rows, more = spreadsheet.read(file)
        rows = _plain_columns(rows, table.image)
        rows["image"] = [_below(cell, table.name) for cell in rows["image"]]
        if len(set(parts)) > 1 and part:
            rows[GIVEN] = part
        frames.append(rows)
        notes += more
    rows = pd.concat(frames)
    if GIVEN not in rows:
        for column in list(rows.columns):
            told = parts_of_cells(rows[column].unique(), str(column))
            if told:
                rows[GIVEN] = rows[column].map(told)
                break
    return rows, notes


def _plain_columns(rows: pd.DataFrame, image: str) -> pd.DataFrame:
    """The column of paths called image, and the common columns in small letters."""
    columns: dict[str, str] = {}
    taken = {"image"}
    for column in map(str, rows.columns):
        low = column.casefold()
        if column == image:
            columns[column] = "image"
        elif low in COLUMNS and low not in taken:
            columns[column] = low
            taken.add(low)
        elif column == "image":
            columns[column] = "image column"
    return rows.rename(columns=columns)


def _below(cell: str, table_name: str) -> str:
    """A path as it starts from the collection's folder, or as it is written."""
    path = cell.strip().replace("\\", "/")
    if path.startswith("file://"):
        path = path.removeprefix("file://")
    while path.startswith("./"):
        path = path[2:]
    if path.startswith("../") and not path.startswith("/"):
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(table_name), path))
        return path if inside.startswith("..") else inside
    return path


def _join(rows: pd.DataFrame, more: pd.DataFrame, name: str) -> pd.DataFrame:
    """Two tables of the same images as one; what the second says differently stays beside."""
    more = more.drop_duplicates("image").set_index("image")
    for column in more.columns:
        values = rows["image"].map(more[column])
        if column not in rows:
            rows[column] = values
            continue
        if column != GIVEN:
            rows[f"{column}{_OF}{name}"] = values
    new = more[~more.index.isin(rows["image"])]
    if len(new):
        extra = new.reset_index()
        extra.index = pd.Index([f"{name} image {image}" for image in extra["image"]])
        rows = pd.concat([rows, extra])
    return rows


def _questions(rows: pd.DataFrame, first: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The columns that two tables have as one; where they differ, what must be asked."""
    questions: dict[str, str] = {}
    for column in [str(name) for name in rows.columns if _OF in str(name)]:
        base, _, name = column.partition(_OF)
        one, other = (rows[c].astype("string").fillna("") for c in (base, column))
        differ = [
            f"{image} is '{a}' and '{b}'"
            for image, a, b in zip(rows["image"], one, other, strict=True)
            if a and b and plain(a) != plain(b)
        ]
        if differ:
            questions[base] = (
                f"{first} and {name} say different things of {base} ({some(differ, 1)}): "
                f"READ_AS=table:{first} or READ_AS=table:{name}"
            )
        rows[base] = one.mask(one == "", other)
    return rows[[name for name in rows.columns if _OF not in str(name)]], questions


def _meanings(rows: pd.DataFrame, listing: Listing) -> tuple[pd.DataFrame, list[Note]]:
    """Columns brought to what they mean: synonyms, lists written as text, numbers with names."""
    notes: list[Note] = []
    keys = {re.sub(r"[\W_]", "", str(column).casefold()): str(column) for column in rows.columns}
    for ours, words in MEANINGS.items():
        if ours not in rows:
            theirs = next((keys[word] for word in words.split() if word in keys), None)
            if theirs and theirs != "image":
                rows[ours] = rows[theirs]
    # SemArt and the Web Gallery of Art: TYPE is the genre, SCHOOL the nationality.
    if "school" in keys and "type" in keys:
        for ours, theirs in (("genre", "type"), ("nationality", "school")):
            if ours not in rows:
                rows[ours] = rows[keys[theirs]]
        if "form" not in rows and "timeframe" in rows:
            rows["form"] = "painting"  # SemArt has paintings alone
    for column in ("artist", "genre", "style", "nationality"):
        if column in rows:
            rows[column], more = _first_of_list(rows[column], rows["image"], column)
            notes += more
    for column in list(rows.columns):
        decoded = _decoded(rows, str(column), listing)
        if decoded is not None:
            rows[column] = decoded
    if "genre" in rows:
        told = [str(name) for name in rows["genre"].dropna().unique() if str(name).strip()]
        if told and are_styles(told):
            if "style" not in rows or rows["style"].replace("", pd.NA).isna().all():
                rows["style"] = rows["genre"]
            others = [str(c) for c in rows.columns if str(c).startswith(f"genre{_OF}")]
            rows["genre"] = rows[others[0]] if others else pd.NA
            rows = rows.drop(columns=others[:1])
            text = "the column genre holds styles, and is read as style"
            notes.append(Note(text, [], label="genre"))
    return rows, notes


def _first_of_list(
    values: pd.Series, images: pd.Series, column: str
) -> tuple[pd.Series, list[Note]]:
    """Lists written as text, "['a', 'b']": the one that the image's folder names, or the first."""
    filled = values[values.astype("string").str.strip().fillna("") != ""]
    texts = filled.astype("string").str.strip()
    if filled.empty or not (texts.str.startswith("[") & texts.str.endswith("]")).mean() >= 0.9:
        return values, []
    several: list[str] = []
    result = values.copy()
    chosen = []
    for where, text, image in zip(texts.index, texts, images.loc[filled.index], strict=True):
        names = _parsed(str(text))
        folder = plain(str(image).rpartition("/")[0].rpartition("/")[2])
        if len(names) > 1:
            several.append(f"{', '.join(names)} ({where})")
        chosen.append(next((n for n in names if plain(n) == folder), names[0] if names else ""))
    result.loc[filled.index] = chosen
    notes = []
    if several:
        text = (
            f"{count(len(several), 'row')} of several {column}s: the folder's counts, or the first"
        )
        notes.append(Note(text, several, label=column))
    return result, notes


def _parsed(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = [part.strip(" '\"") for part in text.strip("[]").split(",")]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [str(each).strip() for each in values if str(each).strip()]


def _decoded(rows: pd.DataFrame, column: str, listing: Listing) -> pd.Series | None:
    """A column of numbers as the names that they stand for; None when nothing names them."""
    base = column.partition(_OF)[0]
    wanted = ("genre", "style", "artist", "nationality", "label", "class", "target")
    if base.casefold() not in wanted:
        return None
    texts = rows[column].astype("string").str.strip()
    known = texts[texts.notna() & (texts != "")]
    if known.empty or not known.str.fullmatch(r"\d+(\.0)?").all():
        return None
    codes = known.str.removesuffix(".0").astype(int)
    names = class_names_for(listing, base)
    if names is None and base in ("genre", "style") and _has_release_codes(rows, codes, base):
        first, words = (129, (*GENRES, "")) if base == "genre" else (140, STYLES)
        names = {first + number: word for number, word in enumerate(words)}
    if names is None and base == "artist" and codes.max() <= 128:
        # Kaggle's wclasses.csv names no artist; the names of the image files do.
        return pd.Series("", index=rows.index, dtype=object) if _is_release(rows) else None
    if names is None or not set(codes.unique()) <= set(names):
        return None
    return texts.map(
        lambda text: names.get(int(float(text)), "") if text else "", na_action="ignore"
    )


def _has_release_codes(rows: pd.DataFrame, codes: pd.Series, base: str) -> bool:
    """Whether numbers are those of Kaggle's wclasses.csv: 129 to 139 genres, 140 to 166 styles."""
    low, high = (129, 139) if base == "genre" else (140, 166)
    return bool(codes.between(low, high).all()) and _is_release(rows)


def _is_release(rows: pd.DataFrame) -> bool:
    """Whether the images lie in folders of styles, as the ArtGAN release's do."""
    folders = rows["image"].astype("string").str.rpartition("/")[0].str.rpartition("/")[2]
    return are_styles(str(name) for name in folders.dropna().unique())


def _parts_of_folders(names: pd.Series) -> pd.Series | None:
    """The part of each image that lies in a folder train, val or test; None when not all do."""
    folders = names.astype("string").str.rpartition("/")[0].fillna("")
    told = {
        folder: next((p for one in folder.split("/") if (p := part_of(one))), None)
        for folder in folders.unique()
    }
    if len({part for part in told.values() if part}) < 2:
        return None
    return folders.map(told)


def _keys(path: str) -> Iterable[str]:
    name = path.rpartition("/")[2]
    yield path
    yield name
    if is_image_name(name):
        yield name.rpartition(".")[0]
