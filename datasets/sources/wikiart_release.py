"""The ArtGAN WikiArt release (Tan et al., 2016): folders of styles and lists for three labels.

Images are `<style>/<artist>_<title>.jpg`. A list `<style|genre|artist>_<train|val>` has lines
`<image>,<label number>`; the artists' lists also a header, blank lines and `,,`. A file
`<style|genre|artist>_class` has lines `<label number> <name>`. The release's own division into
train and val is used when SPLIT=given asks for it: the paper splits 70/10/20.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from datasets.sources.artists import name_of_slug
from datasets.sources.file_names import find_files, meaning
from datasets.sources.listing import Listing
from datasets.sources.numbered_lists import ListSet, read_set
from datasets.sources.wikiart_names import are_styles
from datasets.table import GIVEN, Catalogue, Note, build, count

KINDS = ("style", "genre", "artist")
# Known to be broken in copies of the release: told by name where they are missed.
KNOWN_BAD = {
    "vincent-van-gogh_l-arlesienne-portrait-of-madame-ginoux-1890.jpg": "does not inflate in some "
    "copies of wikiart.zip",
    "rembrandt_woman-standing-with-raised-hands.jpg": "has a bad checksum in wikiart.zip",
}


def read_release(listing: Listing, sets: Sequence[ListSet]) -> Catalogue:
    """All images of the lists, each with the labels it has; UserError names a line at fault."""
    table = pd.DataFrame({"image": pd.Series(dtype=object)})
    for kind in KINDS:
        for lists in sets:
            if lists.kind != kind:
                continue
            lines, _ = read_set(listing, lists)
            rows = pd.DataFrame(
                {
                    "image": [line.image for line in lines],
                    kind: [line.label for line in lines],
                    f"in {kind}": [line.where for line in lines],
                    f"{GIVEN}, {kind}": [line.part for line in lines],
                },
                dtype=object,
            )
            table = table.merge(rows, on="image", how="outer", sort=False)
    places = table[[column for column in table if str(column).startswith("in ")]]
    where = [
        ", ".join(place for place in row if isinstance(place, str))
        for row in places.itertuples(index=False, name=None)
    ]
    table.index = pd.Index(where, dtype=object)
    if "style" not in table:
        table["style"] = table["image"].str.partition("/")[0].str.replace("_", " ")
    number = table["image"].nunique()
    return finish(table, listing, edition=f"ArtGAN release, {number:,} images", notes=[])


def finish(rows: pd.DataFrame, listing: Listing, *, edition: str, notes: list[Note]) -> Catalogue:
    """The catalogue of rows whose images are called `<artist>_<title>.jpg`.

    `rows` has `image` and any labels. Artists and titles are told by the names of the files: the
    release's own lists cover 23 artists, and not all of their images.
    """
    table = rows.copy()
    name = table["image"].str.rpartition("/")[2]
    slug = name.str.partition("_")[0]
    spelling = {one: name_of_slug(_plain(one)) for one in slug.unique()}
    if "artist" in table:
        spelling |= _listed(slug, table)
    table["artist"] = slug.map(spelling)
    table["title"] = name.str.partition("_")[2].str.removesuffix(".jpg").str.replace("-", " ")
    table["work"] = name  # the same picture may lie in the folders of several styles
    found = find_files(table["image"].astype("string"), listing)
    table["image"] = found.names
    given = [column for column in table if str(column).startswith(GIVEN)]
    columns = [c for c in ("image", "work", *KINDS, "title", *given) if c in table]
    built, odd_labels = build(table[columns], where=table.index)
    return Catalogue(
        built,
        images=found.folder,
        edition=edition,
        notes=notes + odd_labels + found.notes,
    )


def from_folders(images: pd.DataFrame, listing: Listing) -> Catalogue | None:
    """The release without its lists: `images` has `image` and `class`, the folder's name.

    None when the folders are not those of styles.
    """
    if not are_styles(str(name) for name in images["class"].dropna().unique()):
        return None
    rows = images.assign(style=images["class"].str.replace("_", " "))
    columns = ["image", "style", *(c for c in rows if str(c).startswith(GIVEN))]
    edition = f"folders of styles, {count(len(rows), 'image')}"
    return finish(rows[columns], listing, edition=edition, notes=[])


def known_bad(notes: Sequence[Note]) -> list[str]:
    """What is known of images that notes name as missing: the release's own bad files."""
    rows = [row for note in notes for row in note.rows]
    return [
        f"{name} {why}; where it is broken, SKIP_BROKEN=1 leaves it out"
        for name, why in KNOWN_BAD.items()
        if any(name in row for row in rows)
    ]


def _plain(slug: str) -> str:
    """unzip's #Uxxxx in a name put right; other names as they are."""
    return meaning(slug) if "#" in slug else slug


def _listed(slug: pd.Series, table: pd.DataFrame) -> dict[str, str]:
    """The artists' lists' spelling of each artist they cover."""
    pairs = table[["artist"]].assign(slug=slug).dropna().drop_duplicates("slug")
    return dict(zip(pairs["slug"], pairs["artist"], strict=True))
