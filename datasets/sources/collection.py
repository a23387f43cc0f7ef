"""What a collection's folder holds: its readings, of which one is taken or a question is asked.

A reading is known by its form, never by the names of its folders: lists of numbers, tables with a
column of images, records of WikiArt's API, parquet files, folders of classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pandas as pd

from datasets.labels import LABELS
from datasets.sources import class_folders, parquet, spreadsheet
from datasets.sources.artists import mended_name
from datasets.sources.file_names import find_below
from datasets.sources.listing import Listing
from datasets.sources.numbered_lists import ListSet, find_lists, read_set
from datasets.sources.tables import TableFile, find_tables, meanings_of, read_tables
from datasets.sources.wikiart_names import are_styles, is_unknown
from datasets.sources.wikiart_records import doubtful_records, find_records, read_records
from datasets.sources.wikiart_release import KINDS, finish, from_folders, read_release
from datasets.table import GIVEN, Catalogue, build, count, require_columns, some
from lib.errors import UserError, unknown


@dataclass(frozen=True)
class Reading:
    """A way to read a collection: `word` is what READ_AS= says, `what` names it for people.

    `labels` are the label columns it has, as far as that is known before it is read.
    """

    word: str
    what: str
    read: Callable[[], Catalogue]
    labels: frozenset[str]
    sure: bool = True  # False: taken only where there is no other


@functools.lru_cache(maxsize=1)  # a source asks whether there is any, and then for one of them
def readings(listing: Listing, *, wikiart: bool = False) -> list[Reading]:
    """All readings of a collection, the surest first; none when nothing is recognised.

    `wikiart`: artist and title are told by the names of the files, styles by their folders.
    """
    found: list[Reading] = []
    parquets = parquet.find_parquet(listing)
    sets = find_lists(listing)
    listed = [name for one in sets for name in (*(name for name, _ in one.lists), *one.copies)]
    tables = find_tables(listing, listed)
    if parquets and parquet.all_unpacked(listing, parquets):
        parquets = []
    catalog = [group for group in tables if _is_catalog(group[0].name)]
    if catalog and (listing.folder / parquet.UNPACKED).is_file() and parquets:
        tables = [group for group in tables if group not in catalog]  # ours, to be written anew
        catalog = []
    if catalog:
        return [_table(listing, catalog[:1], wikiart), *_folders(listing, wikiart)]
    if not parquets and (unusable := _unusable_catalog(listing)):
        return [unusable]
    if parquets:
        found.append(_parquet(listing, parquets, wikiart))
    lists = _lists(listing, sets, wikiart)
    found += lists
    records = find_records(listing)
    folders = _folders(listing, wikiart)
    if not records and wikiart and not (found or tables or _of_styles_alone(listing)):
        records = doubtful_records(listing)  # broken ones, say: that is told when they are read
    if records and not (wikiart and lists):
        found.append(
            Reading(
                "records",
                f"the records {some(records, 2)}",
                lambda: read_records(listing, records),
                frozenset(("artist", "genre", "style")),
                sure=bool(listing.images) or not found,
            )
        )
    if tables:
        found.append(_table(listing, tables, wikiart))
    return [*found, *folders]


def _of_styles_alone(listing: Listing) -> bool:
    """Whether the images lie in folders of WikiArt's styles."""
    folders = {path.split("/")[-2] for path in listing.images if "/" in path}
    return are_styles(folders)


def choose(found: Sequence[Reading], label: str, read_as: str, listing: Listing) -> Reading:
    """The reading to use: the one that READ_AS names, the only sure one, or the only one that
    knows the label. UserError with the question where two are possible.
    """
    if read_as:
        return _named(found, read_as, listing)
    sure = [reading for reading in found if reading.sure] or list(found)
    knowing = [reading for reading in sure if label in reading.labels]
    if not knowing:
        knowing = [reading for reading in found if label in reading.labels] or sure
    if len(knowing) == 1:
        return knowing[0]
    words = " or ".join(f"READ_AS={reading.word} ({reading.what})" for reading in knowing)
    raise UserError(f"{listing.folder} can be read in {len(knowing)} ways, which is meant? {words}")


def _named(found: Sequence[Reading], read_as: str, listing: Listing) -> Reading:
    word, _, detail = read_as.partition(":")
    if word == "folders" and detail:
        start = "" if detail == "." else f"{detail.strip('/')}/"
        folders = class_folders.find_class_folders(listing, start)
        if folders is None:
            raise UserError(
                f"READ_AS={read_as}: no folders with images in {listing.folder}/{start}"
            )
        return _folder_reading(listing, folders, wikiart=False)
    if word == "table" and detail:
        groups = [
            group
            for group in find_tables(listing)
            if any(detail in (file.name, PurePosixPath(file.name).name) for file in group)
        ]
        if groups:
            return _table(listing, groups[:1], wikiart=False)
    same = [reading for reading in found if reading.word == read_as]
    same = same or [reading for reading in found if reading.word.partition(":")[0] == read_as]
    if len(same) != 1:
        raise unknown("READ_AS", read_as, [reading.word for reading in found])
    return same[0]


def _is_catalog(name: str) -> bool:
    return "/" not in name and name.casefold().startswith("catalog")


def _unusable_catalog(listing: Listing) -> Reading | None:
    """A catalog.csv at the top without a column of images: told, not passed over."""
    file = spreadsheet.find(listing.folder)
    if file is None:
        return None

    def read() -> Catalogue:
        rows, _ = spreadsheet.read(file)
        require_columns(rows.columns, ("image",), file, "name the column of image paths image")
        raise UserError(f"{file}: no column of image paths")

    return Reading("table", file.name, read, frozenset())


def _table(listing: Listing, groups: Sequence[Sequence[TableFile]], wikiart: bool) -> Reading:
    names = [file.name for group in groups for file in group]
    columns = {column for group in groups for file in group for column in file.header}
    labels = columns | {column.casefold() for column in columns} | meanings_of(columns)
    if wikiart:
        labels |= {"artist", "style"}

    def read() -> Catalogue:
        catalogue = read_tables(listing, groups)
        return _as_wikiart(catalogue, listing) if wikiart else catalogue

    return Reading("table", f"the table {some(names, 3)}", read, frozenset(labels))


def _parquet(listing: Listing, names: Sequence[str], wikiart: bool) -> Reading:
    def read() -> Catalogue:
        return parquet.read_parquet(listing, names)

    labels = frozenset((*LABELS, "class", "label"))
    return Reading("parquet", f"the parquet files {some(list(names), 1)}", read, labels)


def _lists(listing: Listing, sets: list[ListSet], wikiart: bool) -> list[Reading]:
    """A reading of all lists of different labels; several where two are of one label."""
    if wikiart:
        sets = [_of_styles(listing, one) if one.kind == "class" else one for one in sets]
    by_place: dict[str, list[ListSet]] = {}
    kinds = [one.kind for one in sets]
    for one in sets:
        several = kinds.count(one.kind) > 1
        by_place.setdefault(one.name.partition("/")[0] if several else "", []).append(one)
    if len(by_place) > 1 and "" in by_place:
        shared = by_place.pop("")
        by_place = {place: [*own, *shared] for place, own in by_place.items()}
    if any(len({one.kind for one in own}) < len(own) for own in by_place.values()):
        by_place = {one.name: [one] for one in sets}
    found = []
    for place, own in sorted(by_place.items()):
        files = [name for one in own for name, _ in one.lists]
        labels = {one.kind for one in own}
        if labels & set(KINDS):
            labels |= {"artist", "style"}
        word = f"lists:{place}" if len(by_place) > 1 else "lists"
        what = f"the lists {some(files, 3)}"
        found.append(Reading(word, what, _list_reader(listing, own), frozenset(labels)))
    return found


def _of_styles(listing: Listing, one: ListSet) -> ListSet:
    """A set of lists whose classes are WikiArt's styles is one of style."""
    lines, order = read_set(listing, one)
    return replace(one, kind="style") if lines and are_styles(order) else one


def _list_reader(listing: Listing, sets: Sequence[ListSet]) -> Callable[[], Catalogue]:
    def read() -> Catalogue:
        if any(one.kind in KINDS for one in sets):
            return read_release(listing, [one for one in sets if one.kind in KINDS])
        return read_class_lists(listing, sets[0])

    return read


def read_class_lists(listing: Listing, one: ListSet) -> Catalogue:
    """Caffe's own lists: image, class and part; the classes in the order of their numbers."""
    lines, order = read_set(listing, one)
    names = pd.Series([line.image for line in lines], index=[line.where for line in lines])
    found = find_below(names, listing, listing.path(one.lists[0][0]))
    rows = pd.DataFrame(
        {
            "image": found.names,
            one.kind: [line.label for line in lines],
            GIVEN: [line.part for line in lines],
        },
        index=names.index,
    )
    if len({line.part for line in lines}) < 2:
        rows = rows.drop(columns=GIVEN)
    table, odd_labels = build(rows, where=rows.index)
    files = ", ".join(PurePosixPath(name).name for name, _ in one.lists)
    return Catalogue(
        table,
        images=found.folder,
        edition=f"{files}, {count(len(table), 'image')}",
        notes=odd_labels + found.notes,
        order=order,
    )


def _folders(listing: Listing, wikiart: bool) -> list[Reading]:
    try:
        found = class_folders.find_class_folders(listing)
    except UserError as question:
        asked = question

        def ask() -> Catalogue:
            raise asked

        return [Reading("folders", "the folders", ask, frozenset(("class",)), sure=False)]
    return [_folder_reading(listing, found, wikiart)] if found else []


def _folder_reading(listing: Listing, found: class_folders.ClassFolders, wikiart: bool) -> Reading:
    def read() -> Catalogue:
        catalogue = class_folders.read_class_folders(listing, found)
        if len(catalogue.table["class"].dropna().unique()) < 2:
            lone = ", ".join(found.classes) or "one folder"
            raise UserError(
                f"{listing.folder}: all {count(len(listing.images), 'image')} lie in {lone}: a "
                "folder per class is needed, or a table with a column of image paths and columns "
                "of labels"
            )
        if not wikiart:
            return catalogue
        # Paths as they start from the catalogue's own root: the names are looked for again.
        shown = from_folders(catalogue.table[["image", "class", *_given(catalogue)]], listing)
        if shown is None:
            raise UserError(
                f"{listing.folder}: the folders {some(found.classes, 3)} are no styles of WikiArt, "
                "and no list, table or record tells what the images are"
            )
        return shown

    labels = {"class", "style", "artist"} if wikiart else {"class"}
    what = f"the folders {some(found.classes, 3)}"
    return Reading("folders", what, read, frozenset(labels), sure=False)


def _given(catalogue: Catalogue) -> list[str]:
    return [str(c) for c in catalogue.table if str(c).startswith(GIVEN)]


def _as_wikiart(catalogue: Catalogue, listing: Listing) -> Catalogue:
    """Of images called `<style>/<artist>_<title>.jpg`, what a table does not tell."""
    table = catalogue.table.copy()
    for label in LABELS:
        unknown_ones = table[label].map(lambda name: is_unknown(str(name)), na_action="ignore")
        table[label] = table[label].mask(unknown_ones.fillna(False).astype(bool))
    mended = {name: mended_name(name) for name in table["artist"].dropna().unique()}
    table["artist"] = table["artist"].map(mended).astype("string")
    names = table["image"].str.rpartition("/")[2]
    if not (names.str.contains("_") & table["image"].str.contains("/")).mean() >= 0.9:
        return replace(catalogue, table=table)
    folders = table["image"].str.rpartition("/")[0].str.rpartition("/")[2]
    if not are_styles(str(name) for name in folders.dropna().unique()):
        return replace(catalogue, table=table)
    rows = table[["image", *_given(catalogue)]].assign(style=folders.str.replace("_", " "))
    told = finish(rows.dropna(subset="image"), listing, edition="", notes=[]).table
    told = told.drop_duplicates("image").set_index("image")
    for column in ("artist", "style", "title", "work"):
        table[column] = table[column].fillna(table["image"].map(told[column]))
    return replace(catalogue, table=table)
