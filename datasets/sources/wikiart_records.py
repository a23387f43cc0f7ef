"""The JSON records of WikiArt's API, of either generation, as scrapers save them.

One file an artist or one of all, at any depth: a list of records, or an object that holds such a
list. Images lie where the scrapers put them: `images/<artist>/<year or unknown-year>/<id>.jpg`, or
flat, as `images/<id>.jpg`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.sources.artists import is_artists_file, slug_of_name
from datasets.sources.file_names import find_files
from datasets.sources.listing import Listing
from datasets.table import Catalogue, Note, build, count
from lib.errors import UserError
from lib.text import first_lines, read_json

_OF_WORKS = re.compile(r'"(title|genres?|styles?|completitionYear|artistUrl)"')

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


def find_records(listing: Listing) -> list[str]:
    """The files that hold records of artworks, by what stands at their beginning.

    Records of artists have no title and no style; lists of other things no artist's name.
    """
    files = [
        name
        for name in listing.others
        if name.lower().endswith(".json")
        and "/painters/" not in f"/{name}"
        and not is_artists_file(listing.path(name))
        and listing.path(name).is_file()
    ]
    heads = {name: "\n".join(first_lines(listing.path(name), 8192)) for name in files}
    return [n for n, head in heads.items() if '"artistName"' in head and _OF_WORKS.search(head)]


def doubtful_records(listing: Listing) -> list[str]:
    """JSON files where records would lie, at the top and in meta/, that hold nothing else known."""
    return [
        name
        for name in listing.others
        if name.lower().endswith(".json")
        and name.rpartition("/")[0] in ("", "meta")
        and not name.rpartition("/")[2].startswith(("_", "dataset_info"))
        and not is_artists_file(listing.path(name))
        and listing.path(name).is_file()
    ]


def read_records(listing: Listing, names: Sequence[str]) -> Catalogue:
    """All artworks in the records; UserError names the file and record at fault."""
    rows: list[dict[str, str | None]] = []
    where: list[str] = []
    unusable: list[str] = []
    several: dict[str, list[str]] = {"style": [], "genre": []}
    for name in names:
        file = listing.path(name)
        place = file.name
        for number, record in enumerate(_records(file), start=1):
            here = f"{place} record {number}"
            named = {kind: _values(record, kind) for kind in several}
            row = _row(record, named)
            if row is None:
                unusable.append(here)
                continue
            for kind, values in named.items():
                if len(values) > 1:
                    several[kind].append(f"{', '.join(values)} ({here})")
            rows.append(row)
            where.append(here)
    if not rows:
        raise UserError(
            f"{listing.folder}: none of its .json files ({Path(names[0]).name}, ...) has a record "
            "with contentId (or id) and artistName, as WikiArt's API gives them"
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
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    frame = pd.DataFrame(columns, dtype=object)
    found = find_files(frame["image"].astype("string"), listing)
    frame["image"] = found.names
    table, odd_labels = build(frame, where=where)
    return Catalogue(
        table,
        images=found.folder,
        edition=f"API records, {len(rows):,} works",
        notes=notes + odd_labels + found.notes,
    )


def _records(file: Path) -> list[Any]:
    content = read_json(file)
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


def _row(record: Any, named: dict[str, list[str]]) -> dict[str, str | None] | None:
    """The artwork of a record, whose styles and genres are `named`; None when it is none."""
    if not isinstance(record, dict):
        return None
    identity = next((record[k] for k in ("contentId", "id", "_id") if record.get(k)), None)
    artist = record.get("artistName")
    if not identity or not artist:
        return None
    slug = record.get("artistUrl") or slug_of_name(str(artist))
    slug = str(slug).strip("/").rpartition("/")[2]
    year = record.get("completitionYear") or "unknown-year"  # so spelt by the API
    genres = named["genre"]
    form = next((genre for genre in genres if genre.casefold() in FORMS), None)
    image = record.get("image")
    return {
        "image": f"{slug}/{year}/{identity}.jpg",
        "artist": str(artist),
        "genre": genres[0] if genres else None,
        "style": next(iter(named["style"]), None),
        "form": form,
        "title": record.get("title"),
        # '…/name.jpg!Large.jpg' is a smaller copy of '…/name.jpg'.
        "url": str(image).partition("!")[0] if image else None,
    }


def _values(record: Any, kind: str) -> list[str]:
    """The values of 'genre' or 'style': a text with commas, or in the newer API a list."""
    if not isinstance(record, dict):
        return []
    value = record.get(kind) or record.get(f"{kind}s") or []
    if isinstance(value, str) and "," not in value:  # as most are
        text = value.strip()
        return [text] if text else []
    values = value.split(",") if isinstance(value, str) else value
    return [str(one).strip() for one in values if str(one).strip()]
