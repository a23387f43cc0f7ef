"""A collection of one's own, in any form that datasets.sources.collection knows.

<collection>/images/<class>/<name>.jpg          the label column is called "class"
<collection>/catalog.csv (.xlsx, .xls, .zip)    a column of image paths, the others are labels
<collection>/train.txt, val.txt, labels.txt     Caffe's own lists; the label is "class"
"""

from __future__ import annotations

from datasets.sources import collection
from datasets.sources.listing import Listing
from datasets.table import Catalogue

GET_CATALOGUE = (
    "put your images there as images/<class>/<name>.jpg, "
    "or add a catalog.csv with a column path and columns of labels"
)
GET_IMAGES = "put your images there"


def is_there(listing: Listing) -> bool:
    """Whether something tells the classes of the images."""
    return bool(collection.readings(listing))


def read(listing: Listing, label: str, read_as: str) -> Catalogue:
    """The collection; UserError when it can't be read, or in two ways."""
    return collection.choose(collection.readings(listing), label, read_as, listing).read()
