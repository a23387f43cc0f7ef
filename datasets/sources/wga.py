"""The Web Gallery of Art, from the catalogue that the site offers for download."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datasets.sources import spreadsheet
from datasets.table import Catalogue, Note, build, count, require_columns
from lib.errors import UserError

GET_CATALOGUE = (
    "download the catalogue, CSV or Excel, zipped or not, from the Database page of www.wga.hu, "
    "and put it there as catalog.csv, catalog.xls, catalog.xlsx or catalog.zip"
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
_NEEDED = (*_FIELDS, "URL", "LOCATION", "DATE")
_PAGE = r"^(https?://[^/]+)/(?:frames-e\.html\?/)?html/((?:[^/.][^/]*/)*[^/.][^/]*)\.html?$"


def files(folder: Path) -> list[Path]:
    """The file of the catalogue; none when it is not there."""
    file = spreadsheet.find(folder, starting=("catalog", "data_"))
    return [file] if file else []


def read(folder: Path) -> Catalogue:
    """The site's catalogue; UserError when it is not that."""
    (file,) = files(folder)
    rows, notes = spreadsheet.read(file)
    rows.columns = pd.Index([str(name).upper() for name in rows.columns])
    require_columns(rows.columns, _NEEDED, file, "is it the catalogue of the Web Gallery of Art?")
    rows = rows.replace("-", "")  # the catalogue's way of writing that something is unknown
    table = rows.rename(columns=_FIELDS)[list(_FIELDS.values())]
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
    built, odd_labels = build(table, where=table.index)
    return Catalogue(
        built,
        images=folder / "images",
        edition=f"{file.name}, {len(table):,} works",
        notes=notes + odd_labels,
    )
