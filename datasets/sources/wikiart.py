"""WikiArt, from what people have of it: the ArtGAN release, or the records of WikiArt's own API.

Neither tells nationalities: they are joined from artists' records, see artists.py.
"""

from __future__ import annotations

from pathlib import Path

from datasets.sources import artists, wikiart_records, wikiart_release
from datasets.table import Catalogue

GET_CATALOGUE = (
    "put there the lists of the ArtGAN WikiArt release (style_train.csv, style_class.txt, ...), or "
    "the JSON records of WikiArt's API (one file an artist, or one of all, also in meta/)"
)
GET_IMAGES = (
    "those of the ArtGAN release: put its folders of styles there; "
    "those of JSON records: make images SOURCE=wikiart"
)


def files(folder: Path) -> list[Path]:
    """The lists of the release, or else the files of records; none when there is neither."""
    return wikiart_release.files(folder) or wikiart_records.files(folder)


def read(folder: Path) -> Catalogue:
    """All artworks of the lists or records in `folder`; UserError when they are unusable."""
    kind = wikiart_release if wikiart_release.files(folder) else wikiart_records
    return artists.join_nationality(kind.read(folder), folder)
