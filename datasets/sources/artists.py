"""Artists' nationalities, joined to artworks by name.

A table of artists is known by its columns, whatever the file is called: one of names, and one of
nationalities or citizenships; Nationality counts first, row by row, and where it is empty the
citizenship. Any table or JSON in the collection's folder may be one (PainterPalette.csv of
github.com/me9hanics/PainterPalette is). nationalities.csv says which nationality a citizenship is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd

from datasets.sources import spreadsheet
from datasets.sources.listing import Listing
from datasets.table import Catalogue, Note, count, tidy
from lib.errors import UserError
from lib.text import first_lines, read_json, read_lines, split_rows

GET_ARTISTS = (
    "put there a table of artists, for instance PainterPalette.csv (10,361 artists) from "
    "github.com/me9hanics/PainterPalette"
)

_NAMES = ("artist", "artistname", "name", "painter", "fullname", "displayname")
_NATIONALITIES = ("nationality", "nation", "citizenship", "country", "countryofcitizenship")
_SUFFIXES = (*spreadsheet.SUFFIXES, ".txt", ".json")
_NOTHING = ("nan", "none", "null", "[]", "unknown")
_STATES = Path(__file__).with_name("nationalities.csv")


def is_artists_file(path: Path) -> bool:
    """Whether a file holds records of artists, by its name."""
    return "artists" in path.stem.lower()


def join_nationality(catalogue: Catalogue, listing: Listing) -> Catalogue:
    """The catalogue with `nationality` filled in where the artists' records know the artist.

    A note counts the artists and images joined and names the artists that are not. Without any
    table of artists in the collection the nationality stays unknown, and a note says so.
    """
    table = catalogue.table
    if table["nationality"].notna().any():
        return catalogue
    file, known, several = _read(listing)
    if file is None:
        text = f"no artists' records with nationalities in {listing.folder}/: {GET_ARTISTS}"
        return replace(catalogue, notes=[*catalogue.notes, Note(text, [], label="nationality")])
    once = table.drop_duplicates("image")
    sizes = once["artist"].value_counts()
    joined: dict[str, str] = {}
    lost = []
    found = 0
    for artist in sizes.index:
        nation = known.get(key(str(artist)))
        found += nation is not None
        if nation:
            joined[artist] = nation
        else:
            why = "not there" if nation is None else "without nationality there"
            lost.append(f"{artist}, {count(int(sizes[artist]), 'image')}, {why}")
    images = int(sum(sizes[artist] for artist in joined))
    text = (
        f"of {count(len(sizes), 'artist')} {found:,} are in {file.name}, {len(joined):,} with a "
        f"nationality ({images:,} of {count(len(once), 'image')})"
    )
    nationality = table["artist"].map(joined).astype("string")
    notes = [Note(text, lost, label="nationality")]
    if several:
        more = f"{count(len(several), 'artist')} of several nationalities, the first counts"
        notes.append(Note(more, several, label="nationality"))
    return replace(
        catalogue,
        table=table.assign(nationality=nationality),
        notes=[*catalogue.notes, *notes],
    )


def key(name: str) -> str:
    """A name without accents, case, marks and order of words: what two spellings share."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    for odd, letter in (("ø", "o"), ("ł", "l"), ("đ", "d"), ("æ", "ae"), ("œ", "oe")):
        plain = plain.replace(odd, letter)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(sorted(re.findall(r"\w+", plain)))


def name_of_slug(slug: str) -> str:
    """'vincent-van-gogh' as 'vincent van gogh', mended as mended_name does it."""
    return mended_name(slug).replace("-", " ")


def mended_name(name: str) -> str:
    """A name with 'joaquã\\xadn', UTF-8 once read as Latin-1, put right."""
    if "ã" in name or "â" in name:
        with suppress(UnicodeError):  # where it fails it is a real ã
            name = name.replace("ã", "Ã").replace("â", "Â").encode("latin-1").decode("utf-8")
    return name


def slug_of_name(name: str) -> str:
    """'Vincent van Gogh' as WikiArt writes it in addresses: 'vincent-van-gogh'."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "-".join(re.findall(r"[a-z0-9]+", plain.encode("ascii", "ignore").decode()))


def _read(listing: Listing) -> tuple[Path | None, dict[str, str], list[str]]:
    """The first table of artists, key of name -> nationality, and the artists of several.

    Files that are called artists come first, then those nearest to the top.
    """
    tables = [name for name in listing.others if name.lower().endswith(_SUFFIXES)]
    tables.sort(key=lambda name: (not is_artists_file(Path(name)), name.count("/"), name))
    for name in tables:
        file = listing.path(name)
        if not file.is_file() or not _may_be(file):
            continue
        rows = _json(file) if file.suffix.lower() == ".json" else spreadsheet.read(file)[0]
        columns = _columns([str(column) for column in rows.columns])
        if columns:
            known, several = _known(rows, *columns)
            return file, known, several
    return None, {}, []


def _may_be(file: Path) -> bool:
    """Whether the beginning of a file has the columns of artists, read cheaply."""
    suffix = file.suffix.lower()
    if suffix in (*spreadsheet.SHEETS, ".zip"):
        return is_artists_file(file)
    lines = first_lines(file)
    if suffix == ".json":
        head = "\n".join(lines).casefold()
        named = is_artists_file(file) or re.search(r'"(artistname|artist|name)"', head) is not None
        return named and any(f'"{word}"' in head for word in _NATIONALITIES)
    try:
        rows = split_rows("\n".join(lines[:1]), file) if lines else []
    except UserError:
        return False
    return bool(rows) and _columns(rows[0]) is not None


def _columns(header: Sequence[str]) -> tuple[str, list[str]] | None:
    """The column of names and those of nationalities, the surest first; None without both.

    A table of images is none, though it may have such columns too.
    """
    keys = {re.sub(r"[\W_]", "", column.casefold()): column for column in header}
    if set(keys) & {"image", "path", "file", "filename", "imagefile", "title"}:
        return None
    name = next((keys[word] for word in _NAMES if word in keys), None)
    nations = [keys[word] for word in _NATIONALITIES if word in keys]
    return (name, nations) if name and nations else None


def _known(
    rows: pd.DataFrame, name_column: str, nation_columns: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Key of name -> nationality, '' when the record has none or two artists of one name differ."""
    states = _states()
    known: dict[str, str] = {}
    several = []
    nations = rows[list(nation_columns)].itertuples(index=False, name=None)
    for name, cells in zip(rows[name_column], nations, strict=True):
        if not isinstance(name, str):
            continue
        texts = [tidy(cell) for cell in cells if isinstance(cell, str)]
        state = next((text for text in texts if text and text.casefold() not in _NOTHING), "")
        value = states.get(state.casefold(), state)
        first = state.split(",")[0].strip()
        # 'Kingdom of Serbs, Croats and Slovenes' is one state, 'Russian,Armenian' are two nations.
        if value == state and first != state and not re.search(r", | and ", state):
            several.append(f"{name}: {state}")
            value = states.get(first.casefold(), first)
        if known.setdefault(key(name), value) != value:
            known[key(name)] = ""
    return known, several


def _json(file: Path) -> pd.DataFrame:
    records = read_json(file)
    if isinstance(records, dict):
        records = next((value for value in records.values() if isinstance(value, list)), [])
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{file} holds no list of records")
    return pd.DataFrame(records, dtype=object)


@cache
def _states() -> dict[str, str]:
    lines = [line for line in read_lines(_STATES) if line.strip() and not line.startswith("#")]
    rows = split_rows("\n".join(lines[1:]), _STATES, ",;\t")
    return {row[0].casefold(): row[1] for row in rows if len(row) > 1}
