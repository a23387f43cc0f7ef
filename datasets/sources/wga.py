"""The Web Gallery of Art, from the catalogue that the site offers for download."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from datasets.sources import collection, spreadsheet
from datasets.sources.file_names import find_files
from datasets.sources.listing import Listing
from datasets.table import Catalogue, Note, build, count, require_columns
from lib.errors import UserError
from lib.text import first_lines

# The site's own downloads of its catalogue, the lighter one first.
DOWNLOADS = (
    "https://www.wga.hu/database/download/data_txt.zip",
    "https://www.wga.hu/database/download/data_xls.zip",
)
GET_CATALOGUE = (
    "get it with: make images SOURCE=wga (the site's own data_txt.zip, a few MB, then its images, "
    "some GB); or put it there as catalog.csv, catalog.xls, catalog.xlsx or catalog.zip, as the "
    "Database page of www.wga.hu offers it"
)
GET_IMAGES = "get them with: make images SOURCE=wga"

_FIELDS = {
    "AUTHOR": "artist",
    "TYPE": "genre",
    "TIMEFRAME": "timeframe",
    "SCHOOL": "nationality",
    "FORM": "form",
    "TITLE": "title",
}
# What is shown beside a picture, and needed for nothing else.
_LABEL = {"DATE": "date", "TECHNIQUE": "technique", "LOCATION": "museum", "URL": "record"}
_NEEDED = (*_FIELDS, "URL", "LOCATION", "DATE")
_PAGE = r"^(https?://[^/]+)/(?:frames-e\.html\?/)?html/((?:[^/.][^/]*/)*[^/.][^/]*)\.html?$"


def is_there(listing: Listing) -> bool:
    """Whether there is a catalogue of the site, or a table of its works (SemArt)."""
    return _catalogue(listing) is not None or bool(collection.readings(listing))


def read(listing: Listing, label: str, read_as: str) -> Catalogue:
    """The site's catalogue, or a table of images with its columns; UserError when it is neither."""
    file = _catalogue(listing)
    if file is None or read_as:
        return collection.choose(collection.readings(listing), label, read_as, listing).read()
    return _read_catalogue(file, listing)


def get_catalogue(folder: Path, download: Callable[..., str]) -> Path:
    """Download the site's own catalogue into `folder`, checked before it is put in place.

    `download` is a resuming one: (addresses, path, what to do with the file, what=...). UserError
    when no address gives the catalogue.
    """
    put: list[Path] = []

    def use(file: Path, url: str) -> None:
        place = folder / url.rpartition("/")[2]
        aside = folder / f".{place.name}"  # its suffix says how it is read
        shutil.copyfile(file, aside)
        try:
            rows, _ = spreadsheet.read(aside)
            columns = [str(name).upper() for name in rows.columns]
            require_columns(columns, _NEEDED, place, "it is not the site's catalogue")
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
        put.append(place)

    download(DOWNLOADS, folder / "catalogue", use, what="the catalogue of www.wga.hu")
    return put[0]


def _catalogue(listing: Listing) -> Path | None:
    """The file of the catalogue: by its name in the folder itself, or else by its columns."""
    file = spreadsheet.find(listing.folder, starting=("catalog", "data_"))
    if file:
        return file
    for name in listing.others:
        path = listing.path(name)
        if path.suffix.lower() in (".csv", ".txt", ".tsv") and path.is_file():
            header = (first_lines(path) or [""])[0].upper()
            if all(column in header for column in _NEEDED):
                return path
    return None


def _read_catalogue(file: Path, listing: Listing) -> Catalogue:
    rows, notes = spreadsheet.read(file)
    rows.columns = pd.Index([str(name).upper() for name in rows.columns])
    require_columns(rows.columns, _NEEDED, file, "is it the catalogue of the Web Gallery of Art?")
    rows = rows.replace("-", "")  # the catalogue's way of writing that something is unknown
    table = rows.rename(columns=_FIELDS)[list(_FIELDS.values())]
    for column, name in _LABEL.items():
        if column in rows:
            table[name] = rows[column]
    pages = rows["URL"].str.strip().str.extract(_PAGE)
    # A page …/html/a/aachen/adonis.html shows the image …/art/a/aachen/adonis.jpg.
    table["image"] = pages[1] + ".jpg"
    table["url"] = pages[0] + "/art/" + table["image"]
    if pages[1].isna().all():
        raise UserError(f"{file}: no URL is the address of a page …/html/<folder>/<name>.html")
    # Details are catalogued by themselves, as '<title> (detail)' beside the whole work.
    whole = rows["TITLE"].str.replace(r"\s*\(detail\)", "", regex=True)
    table["work"] = rows["AUTHOR"] + " | " + whole + " | " + rows["LOCATION"] + " | " + rows["DATE"]
    no_page = [f"{url} ({where})" for where, url in rows["URL"][pages[1].isna()].items()]
    if no_page:
        notes.append(
            Note(f"{count(len(no_page), 'row')} left out, their URL is no page's", no_page)
        )
    found = find_files(table["image"].astype("string"), listing)
    table["image"] = found.names
    built, odd_labels = build(table, where=table.index)
    return Catalogue(
        built,
        images=found.folder,
        edition=f"{file.name}, {len(table):,} works",
        notes=notes + odd_labels + found.notes,
    )
