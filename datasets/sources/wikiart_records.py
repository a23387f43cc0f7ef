"""The JSON records of WikiArt's API, of either generation, as scrapers save them.

One file an artist or one of all, in the folder or in its meta/: a list of records, or an object
that holds such a list. Images lie where the best-known scraper puts them:
`images/<artist>/<year or unknown-year>/<id>.jpg`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.sources.artists import is_artists_file, slug_of_name
from datasets.table import Catalogue, Note, build, count
from lib.errors import UserError

# Genres of WikiArt that tell what a thing is rather than what it shows: they become its form.
FORMS = (
    "advertisement",
    "architecture",
    "design",
    "furniture",
    "graffiti",
    "installation",
    "jewelry",
    "mosaic",
    "object",
    "ornament",
    "performance",
    "photo",
    "poster",
    "sculpture",
    "tapestry",
    "utensil",
    "video",
)


def files(folder: Path) -> list[Path]:
    """The files of records; none when there are none."""
    places = sorted([*folder.glob("*.json"), *folder.glob("meta/*.json")])
    return [path for path in places if not is_artists_file(path)]


def read(folder: Path) -> Catalogue:
    """All artworks in the records; UserError names the file and record at fault."""
    rows: list[dict[str, str | None]] = []
    where: list[str] = []
    unusable: list[str] = []
    several: dict[str, list[str]] = {"style": [], "genre": []}
    for file in files(folder):
        for number, record in enumerate(_records(file), start=1):
            here = f"{file.name} record {number}"
            row = _row(record)
            if row is None:
                unusable.append(here)
                continue
            for kind, cases in several.items():
                values = _values(record, kind)
                if len(values) > 1:
                    cases.append(f"{', '.join(values)} ({here})")
            rows.append(row)
            where.append(here)
    if not rows:
        raise UserError(
            f"{folder}: none of its .json files ({files(folder)[0].name}, ...) has a record with "
            "contentId (or id) and artistName, as WikiArt's API gives them"
        )
    notes = [
        Note(
            f"{count(len(unusable), 'record')} left out, without contentId or artistName", unusable
        )
    ] * bool(unusable)
    notes += [
        Note(f"{count(len(cases), 'work')} of several {kind}s, the first counts", cases, label=kind)
        for kind, cases in several.items()
        if cases
    ]
    table, odd_labels = build(pd.DataFrame(rows, dtype=object), where=where)
    return Catalogue(
        table,
        images=folder / "images",
        edition=f"API records, {len(rows):,} works",
        notes=notes + odd_labels,
    )


def _records(file: Path) -> list[Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not whole JSON in UTF-8: {error}") from error
    if isinstance(content, dict):
        for key in ("data", "Paintings", "paintings"):
            if isinstance(content.get(key), list):
                content = content[key]
                break
        else:
            content = [content]
    if not isinstance(content, list):
        raise UserError(f"{file} holds no list of records")
    return content


def _row(record: Any) -> dict[str, str | None] | None:
    """The artwork of a record; None when it is none."""
    if not isinstance(record, dict):
        return None
    identity = next((record[k] for k in ("contentId", "id", "_id") if record.get(k)), None)
    artist = record.get("artistName")
    if not identity or not artist:
        return None
    slug = record.get("artistUrl") or slug_of_name(str(artist))
    slug = str(slug).strip("/").rpartition("/")[2]
    year = record.get("completitionYear") or "unknown-year"  # so spelt by the API
    genres = _values(record, "genre")
    form = next((genre for genre in genres if genre.casefold() in FORMS), None)
    image = record.get("image")
    return {
        "image": f"{slug}/{year}/{identity}.jpg",
        "artist": str(artist),
        "genre": genres[0] if genres else None,
        "style": next(iter(_values(record, "style")), None),
        "form": form,
        "title": record.get("title"),
        # '…/name.jpg!Large.jpg' is a smaller copy of '…/name.jpg'.
        "url": str(image).partition("!")[0] if image else None,
    }


def _values(record: dict[str, Any], kind: str) -> list[str]:
    """The values of 'genre' or 'style': a text with commas, or in the newer API a list."""
    value = record.get(kind) or record.get(f"{kind}s") or []
    values = value.split(",") if isinstance(value, str) else value
    return [str(one).strip() for one in values if str(one).strip()]
