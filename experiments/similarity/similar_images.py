"""The images most similar to a query file, once for each model: a table and a contact sheet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.similarity.artworks import artworks, file_picture, known_columns, query_pixels
from experiments.similarity.choose_collection import CollectionChoice
from experiments.similarity.collection import Collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import FEATURES, Model, find_model
from experiments.similarity.feature_set import FeatureSet
from experiments.similarity.index import index_word
from experiments.similarity.neighbours import (
    Neighbour,
    check_indexes,
    distance_text,
    neighbours,
    open_features,
    open_index,
)
from experiments.similarity.optional_packages import load
from experiments.similarity.sheet import Shown, draw_sheet, show_found
from lib.caffe.device import Device
from lib.errors import UserError
from lib.files import sha256, whole_file

Results = list[tuple[Model, list[Neighbour]]]  # one entry per model


@dataclass(frozen=True)
class Similar:
    """What was found, and the files that show it."""

    results: Results
    table: Path
    sheet: Path


def similar_images(
    query: Path,
    words: Sequence[str],
    choice: CollectionChoice,
    pick: Callable[[], Device],
    *,
    k: int = 10,
    index: str = "exact",
    blob: str | None = None,
    out: Path | None = None,
) -> Similar:
    """Search for `query` by each of the models `words`; write the table and the sheet.

    `pick` gives the device once all else is known to be right. `out`: the files without their
    suffixes. Raises UserError for what is not there or does not fit.
    """
    load("faiss")  # said now when it is not there, not after the work
    index_word(index)
    pixels = query_pixels(query)
    models = [find_model(word) for word in words]
    for model in models:
        model.check_blob(blob or model.blob)
    collection = choice.open()
    if not 1 <= k <= len(collection.items):
        raise UserError(
            f"K={k}: the collection has {len(collection.items):,} images; "
            f"K is 1 to {len(collection.items):,}"
        )
    sets = [open_features(model, collection, blob) for model in models]
    check_indexes(index, sets)
    known = artworks(collection, choice.raw)
    results: Results = []
    with Extractor(pick()) as extractor:
        for model, features in zip(models, sets, strict=True):
            vector = extractor.vectors(model, blob or model.blob, pixels)
            opened = open_index(features, index)
            own = row_of(query, collection, features)
            results.append((model, neighbours(opened, vector, k, known, own)))
    name = f"{query.stem}-{sha256(query)[:8]}"
    out = out or FEATURES / collection.name / "searches" / name
    made = Similar(results, out.with_name(out.name + ".csv"), out.with_name(out.name + ".png"))
    columns = known_columns(known)
    if any(item.label for item in collection.items):
        columns = ["class", *columns]
    if any(item.part for item in collection.items):
        columns = ["part", *columns]
    _write_table(made.table, results, columns)
    rows = [
        (model.name, [show_found(collection, each) for each in found]) for model, found in results
    ]
    asked = Shown(file_picture(query), "")
    draw_sheet(asked, rows, made.sheet, f"nearest to {query.name}")
    return made


def row_of(query: Path, collection: Collection, features: FeatureSet) -> int | None:
    """The row of the query when it is one of the collection's own files."""
    whole, root = query.resolve(), collection.root.resolve()
    if not whole.is_relative_to(root):
        return None
    image = whole.relative_to(root).as_posix()
    return next((row for row, item in enumerate(features.items) if item.image == image), None)


def found_line(each: Neighbour) -> str:
    """One image found, as a line for a terminal."""
    words = [each.known.get(name, "") for name in ("artist", "title", "genre", "style")]
    text = "; ".join(word for word in words if word) or each.label
    part = f"[{each.part}] " if each.part else ""
    return f"{each.rank:4}  {distance_text(each.distance):9} {part}{each.image}  {text}".rstrip()


def _write_table(path: Path, results: Results, columns: Sequence[str]) -> None:
    """The neighbours as a CSV; `columns`: what is known of the collection's images."""
    with (
        whole_file(path) as aside,
        aside.open("w", encoding="utf-8", errors="surrogateescape", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["model", "rank", "distance", "image", *columns])
        for model, row in results:
            for each in row:
                facts = each.known | {"class": each.label, "part": each.part}
                line = [model.name, each.rank, f"{each.distance:.6g}", each.image]
                writer.writerow([*line, *(facts.get(name, "") for name in columns)])
