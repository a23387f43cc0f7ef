"""Artists' nationalities, joined to artworks by name.

The artists' records are a table `artists.csv` (or .xlsx, .xls, .zip) or `artists.json` beside the
catalogue (any file with 'artists' in its name) with a column of names and one of nationalities or
citizenships. nationalities.csv says which nationality a citizenship means.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd

from datasets.sources import spreadsheet
from datasets.table import Catalogue, Note, count, tidy
from lib.errors import UserError

_NAMES = ("artist", "artistname", "name")
_NATIONALITIES = ("nationality", "nation", "citizenship", "country")
_STATES = Path(__file__).with_name("nationalities.csv")


def is_artists_file(path: Path) -> bool:
    """Whether a file holds records of artists, by its name."""
    return "artists" in path.stem.lower()


def join_nationality(catalogue: Catalogue, folder: Path) -> Catalogue:
    """The catalogue with `nationality` filled in where the artists' records know the artist.

    A note counts the artists and images joined and names the artists that are not. Without any
    artists' records in `folder` the nationality stays unknown, and a note says so.
    """
    table = catalogue.table
    once = table.drop_duplicates("image")
    sizes = once["artist"].value_counts()
    file, known = _read(folder)
    if file is None:
        text = f"no artists' records with nationalities in {folder}/ (artists.csv or artists.json)"
        return replace(catalogue, notes=[*catalogue.notes, Note(text, [], label="nationality")])
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
    return replace(
        catalogue,
        table=table.assign(nationality=nationality),
        notes=[*catalogue.notes, Note(text, lost, label="nationality")],
    )


def key(name: str) -> str:
    """A name without accents, case, marks and order of words: what two spellings share."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    for odd, letter in (("ø", "o"), ("ł", "l"), ("đ", "d"), ("æ", "ae"), ("œ", "oe")):
        plain = plain.replace(odd, letter)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(sorted(re.findall(r"\w+", plain)))


def name_of_slug(slug: str) -> str:
    """'vincent-van-gogh' as 'vincent van gogh'; mends 'joaquã\\xadn', UTF-8 read as Latin-1."""
    if "ã" in slug or "â" in slug:
        with suppress(UnicodeError):  # where it fails it is a real ã
            slug = slug.replace("ã", "Ã").replace("â", "Â").encode("latin-1").decode("utf-8")
    return slug.replace("-", " ")


def slug_of_name(name: str) -> str:
    """'Vincent van Gogh' as WikiArt writes it in addresses: 'vincent-van-gogh'."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "-".join(re.findall(r"[a-z0-9]+", plain.encode("ascii", "ignore").decode()))


def _read(folder: Path) -> tuple[Path | None, dict[str, str]]:
    """The first file of artists' records with nationalities, and key of name -> nationality."""
    places = sorted([*folder.glob("*"), *folder.glob("meta/*")])
    for file in places:
        if not file.is_file() or not is_artists_file(file):
            continue
        if file.suffix.lower() == ".json":
            rows = _json(file)
        elif file.suffix.lower() in spreadsheet.SUFFIXES:
            rows, _ = spreadsheet.read(file)
        else:
            continue
        rows.columns = pd.Index([str(name).lower() for name in rows.columns])
        name = next((column for column in _NAMES if column in rows), None)
        nation = next((column for column in _NATIONALITIES if column in rows), None)
        if name and nation:
            return file, _known(rows[name], rows[nation])
    return None, {}


def _known(names: pd.Series, nations: pd.Series) -> dict[str, str]:
    """Key of name -> nationality, '' when the record has none or two artists of one name differ."""
    states = _states()
    known: dict[str, str] = {}
    for name, nation in zip(names, nations, strict=True):
        if not isinstance(name, str):
            continue
        state = (tidy(nation) if isinstance(nation, str) else None) or ""
        value = states.get(state.casefold(), state)
        if known.setdefault(key(name), value) != value:
            known[key(name)] = ""
    return known


def _json(file: Path) -> pd.DataFrame:
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not whole JSON in UTF-8: {error}") from error
    if isinstance(records, dict):
        records = next((value for value in records.values() if isinstance(value, list)), [])
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{file} holds no list of records")
    return pd.DataFrame(records, dtype=object)


@cache
def _states() -> dict[str, str]:
    with _STATES.open(encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(line for line in handle if not line.startswith("#"))
        return {row["citizenship"].casefold(): row["nationality"] for row in rows}
