"""The embedded sample: public-domain paintings with the Metropolitan Museum's own records.

`objects.json` holds the records as the museum's open API gives them; the image of object 36029 is
`images/36029.jpg`.
"""

from __future__ import annotations

import pandas as pd

from datasets.sources.listing import Listing
from datasets.table import Catalogue, build
from lib.errors import UserError
from lib.text import read_json

GET_CATALOGUE = "get it with: make sample"
GET_IMAGES = GET_CATALOGUE

_FIELDS = {
    "accessionNumber": "work",
    "artistDisplayName": "artist",
    "artistNationality": "nationality",
    "title": "title",
    "primaryImage": "url",
    # Of the label beside a picture:
    "objectDate": "date",
    "medium": "technique",
    "repository": "museum",
    "objectURL": "record",
}
# Genre -> the museum's own tags of what is to be seen. A painting with tags of several genres, or
# of none, has no genre here.
_GENRES = {
    "portrait": {"Portraits", "Self-portraits"},
    "religious": {
        "Adoration of the Magi",
        "Angels",
        "Annunciation",
        "Assumption of the Virgin",
        "Baptism of Christ",
        "Bearing the Cross",
        "Christ",
        "Crucifixion",
        "Holy Family",
        "Jesus",
        "Last Judgement",
        "Last Supper",
        "Madonna",
        "Madonna and Child",
        "Nativity",
        "Resurrection",
        "Saints",
        "Virgin Mary",
    },
    "landscape": {"Landscapes"},
}
# The museum's way of writing that nobody knows the artist.
_UNKNOWN_ARTISTS = ("", "Unidentified artist")


def is_there(listing: Listing) -> bool:
    """Whether the museum's records are there."""
    return "objects.json" in listing.others


def read(listing: Listing, label: str, read_as: str) -> Catalogue:
    """The records of objects.json; UserError when they are not the museum's."""
    folder = listing.folder
    file = folder / "objects.json"
    try:
        records = read_json(file)["objects"]
        rows = pd.DataFrame(
            {
                "image": [f"{record['objectID']}.jpg" for record in records],
                **{ours: [r.get(theirs) for r in records] for theirs, ours in _FIELDS.items()},
                "genre": [_genre(record.get("tags")) for record in records],
            }
        )
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} does not hold the museum's records ({error!r}); "
            f"delete its folder and {GET_CATALOGUE}"
        ) from error
    rows["artist"] = rows["artist"].mask(rows["artist"].isin(_UNKNOWN_ARTISTS))
    rows["inventory"] = rows["work"]
    rows["form"] = "painting"  # the museum classes all of them as Paintings
    where = [f"objects.json object {record['objectID']}" for record in records]
    table, notes = build(rows, where=where)
    return Catalogue(
        table,
        images=folder / "images",
        edition=f"objects.json, {len(rows):,} paintings",
        notes=notes,
    )


def _genre(tags: list[dict[str, str]] | None) -> str | None:
    """The one genre that a painting's tags tell, if they tell one alone."""
    terms = {tag["term"] for tag in tags or []}
    if any(term.startswith("Saint ") for term in terms):
        terms.add("Saints")
    found = [genre for genre, of_it in _GENRES.items() if terms & of_it]
    return found[0] if len(found) == 1 else None
