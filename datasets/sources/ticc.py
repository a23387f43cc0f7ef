"""The TICC Printmaking Dataset (van Noord and Postma, 2017): prints of the Rijksmuseum.

Read as a user's own collection is: its lists labels/{train,val,test}.txt, a CSV of image and
artist, or a folder per artist.
"""

from __future__ import annotations

from dataclasses import replace

from datasets.sources import collection
from datasets.sources.listing import Listing
from datasets.table import Catalogue
from lib.errors import UserError

GET_CATALOGUE = (
    "the TICC Printmaking Dataset of Tilburg University, by request from its authors "
    "(https://auburn.uvt.nl): put its images into images/ and its labels/ beside them; or a "
    "catalog.csv with columns image and artist; with images in images/<artist>/ no list is needed"
)
GET_IMAGES = GET_CATALOGUE

_ARTIST_COLUMNS = ("artist_name", "author", "creator", "maker", "class", "label")


def is_there(listing: Listing) -> bool:
    """Whether something tells the artists of the prints."""
    return bool(collection.readings(listing))


def read(listing: Listing, label: str, read_as: str) -> Catalogue:
    """The prints and their artists; UserError when the CSV has no column of artists."""
    found = collection.readings(listing)
    if label == "artist" and not any("artist" in reading.labels for reading in found):
        label = "class"
    catalogue = collection.choose(found, label, read_as, listing).read()
    table = catalogue.table
    if table["artist"].isna().all():
        lower = {str(name).lower(): str(name) for name in table.columns}
        given = [lower[name] for name in _ARTIST_COLUMNS if name in lower]
        if not given:
            raise UserError(
                f"{listing.folder}: no column artist in {catalogue.edition}; it has "
                f"{', '.join(str(name) for name in table.columns if table[name].notna().any())}"
            )
        table = table.assign(artist=table[given[0]])
    return replace(catalogue, table=table)
