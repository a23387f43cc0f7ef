"""The TICC Printmaking Dataset (van Noord and Postma, 2017): prints of the Rijksmuseum.

Read as a user's own collection is: a CSV of image and artist, or a folder per artist.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from datasets.sources import folder as own
from datasets.table import Catalogue
from lib.errors import UserError

GET_CATALOGUE = (
    "get the TICC Printmaking Dataset from its authors (Tilburg University), put its images into "
    "images/ and its list there as catalog.csv with columns image and artist; "
    "with images in images/<artist>/ no list is needed"
)
GET_IMAGES = GET_CATALOGUE

files = own.files

_ARTIST_COLUMNS = ("artist_name", "author", "creator", "maker", "class", "label")


def read(folder: Path) -> Catalogue:
    """The prints and their artists; UserError when the CSV has no column of artists."""
    catalogue = own.read(folder)
    table = catalogue.table
    if table["artist"].isna().all():
        lower = {str(name).lower(): str(name) for name in table.columns}
        given = [lower[name] for name in _ARTIST_COLUMNS if name in lower]
        if not given:
            raise UserError(
                f"{files(folder)[0]}: no column artist; it has "
                f"{', '.join(str(name) for name in table.columns if table[name].notna().any())}"
            )
        table = table.assign(artist=table[given[0]])
    return replace(catalogue, table=table)
