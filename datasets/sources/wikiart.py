"""WikiArt, in the forms that people have it: the ArtGAN release and what was made from it, parquet
files of Hugging Face, tables, the records of WikiArt's own API, folders of styles.

None tells nationalities: they are joined from a table of artists, see artists.py.
"""

from __future__ import annotations

from dataclasses import replace

from datasets.sources import artists, collection
from datasets.sources.listing import Listing
from datasets.table import Catalogue

DATASET = "huggan/wikiart"  # what `make images SOURCE=wikiart` gets when nothing lies there yet
GET_CATALOGUE = (
    f"get it with: make images SOURCE=wikiart (the dataset {DATASET} of Hugging Face: 72 parquet "
    "files, about 38 GB, and as much again for the images; 81,444 images with 27 styles, but only "
    "10 genres and 128 artists, and no nationality). Or put there the ArtGAN WikiArt release "
    "(wikiart.zip, 25.4 GB, from github.com/cs-chan/ArtGAN; 10 genres, lists for 23 artists) or "
    "JSON records of WikiArt's API"
)
GET_IMAGES = (
    "those of the ArtGAN release: put its folders of styles there (wikiart.zip, 25.4 GB, from "
    "github.com/cs-chan/ArtGAN); those of JSON records: make images SOURCE=wikiart"
)

_LISTS = "wikiart_csv.zip of the ArtGAN release (github.com/cs-chan/ArtGAN, WikiArt Dataset)"
_WHERE = {
    "genre": f"genre_class.txt, genre_train.csv and genre_val.csv of {_LISTS} have it",
    "style": f"style_class.txt, style_train.csv and style_val.csv of {_LISTS} have it",
    "artist": f"images called <artist>_<title>.jpg tell it, and the lists in {_LISTS}",
    "timeframe": "WikiArt has none",
}


def is_there(listing: Listing) -> bool:
    """Whether there is a list, table, record, parquet file or folder of styles."""
    return bool(collection.readings(listing, wikiart=True))


def read(listing: Listing, label: str, read_as: str) -> Catalogue:
    """All artworks of the collection; UserError when it can't be read, or in two ways."""
    found = collection.readings(listing, wikiart=True)
    told = "artist" if label == "nationality" else label  # joined below, by artist
    catalogue = collection.choose(found, told, read_as, listing).read()
    joined = artists.join_nationality(catalogue, listing)
    return replace(joined, hints={**_WHERE, "nationality": artists.GET_ARTISTS})
