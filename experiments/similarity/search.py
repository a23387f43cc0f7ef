"""Find the images most similar to a query, once for each model (Figure 15)."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.similarity.artworks import SHOWN, Artwork, artworks, caption, picture, query_pixels
from experiments.similarity.collection import Collection
from experiments.similarity.collection_flags import add_collection_flags, collection_from
from experiments.similarity.extra import load
from experiments.similarity.extraction import Extractor
from experiments.similarity.feature_models import FC7, FEATURES, Model, find_model
from experiments.similarity.features import FeatureSet
from experiments.similarity.index import KINDS, Index, build, index_kind
from experiments.similarity.sheet import Shown, draw_sheet
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, bar, positive, run
from lib.errors import UserError
from lib.files import readable, sha256, whole_file


@dataclass(frozen=True)
class Neighbour:
    """One image found."""

    rank: int
    distance: float
    image: str
    label: str
    known: Artwork


def main() -> None:
    """Search, print a table, draw the contact sheet."""
    arguments = _flags().parse_args()
    load("faiss")  # said now when it is not there, not after the work
    pixels = query_pixels(arguments.query)
    models = [find_model(word) for word in arguments.models]
    for model in models:
        model.check_blob(arguments.blob)
    collection = collection_from(arguments)
    if not 1 <= arguments.k <= len(collection.items):
        raise UserError(
            f"K={arguments.k}: the collection has {len(collection.items):,} images; "
            f"K is 1 to {len(collection.items):,}"
        )
    sets = [open_features(model, collection, arguments.blob) for model in models]
    known = artworks(collection)
    found: list[tuple[Model, list[Neighbour]]] = []
    device = pick_device(arguments)
    with Extractor(device) as extractor:
        for model, features in zip(models, sets, strict=True):
            vector = extractor.vectors(model, arguments.blob, pixels)
            index = open_index(features, arguments.index)
            same = _row_of(arguments.query, collection, features)
            found.append((model, neighbours(index, vector, arguments.k, known, same)))
    name = f"{arguments.query.stem}-{sha256(arguments.query)[:8]}"
    out = arguments.out or FEATURES / collection.name / "searches" / name
    columns = [name for name in SHOWN if any(name in each for each in known.values())]
    if any(item.label for item in collection.items):
        columns = ["class", *columns]
    _write_table(out.with_suffix(".csv"), found, columns)
    shown = [
        (
            model.name,
            [
                Shown(
                    picture(collection.root, each.image),
                    f"{each.distance:.3f}\n{caption(each.label, each.known)}",
                )
                for each in row
            ],
        )
        for model, row in found
    ]
    query = Shown(np.ascontiguousarray(picture(arguments.query.parent, arguments.query.name)), "")
    draw_sheet(query, shown, out.with_suffix(".png"), f"nearest to {arguments.query.name}")
    _print(found)
    print(f"table          {out.with_suffix('.csv')}\ncontact sheet  {out.with_suffix('.png')}")


def open_features(model: Model, collection: Collection, blob: str = FC7) -> FeatureSet:
    """A model's features of a collection. Raises UserError when they are missing or stale."""
    path = model.features(collection, blob)
    if not path.is_dir():
        what = f"TASK={collection.task}" if collection.task else f"IMAGES={collection.root}"
        what += "" if blob == FC7 else f" BLOB={blob}"
        raise UserError(
            f"no features of {collection.name} by {model.name} yet: "
            f"make features WEIGHTS={model.name} {what}"
        )
    features = FeatureSet(path)
    features.check(model.source(collection, blob))
    return features


def open_index(features: FeatureSet, kind: str) -> Index:
    """The index of a kind, with a bar while it is built; prints the recall of an inexact one."""
    with bar(what=f"{kind} index", unit="image", total=len(features)) as progress:
        index = build(features, kind, lambda done: _to(progress, done))
    if kind != "exact":
        print(
            f"{kind} index of {features.source.model}: recall@10 {index.record['recall']:.3f} "
            f"against the exact one ({index.record['recall_queries']} queries), built in "
            f"{index.record['seconds']:.1f} s, {readable(index.record['bytes'])}"
        )
    return index


def neighbours(
    index: Index, vector: np.ndarray, k: int, known: dict[str, Artwork], without: int | None = None
) -> list[Neighbour]:
    """The `k` nearest images to a vector, one row of the collection left out if asked for."""
    most = len(index)
    found = index.search(vector, min(most, k + (without is not None)))
    rows = [
        (int(row), float(distance))
        for row, distance in zip(found.rows[0], found.distances[0], strict=True)
        if row >= 0 and row != without
    ][:k]
    return [
        Neighbour(
            rank,
            distance,
            index.features.items[row].image,
            index.features.items[row].label,
            known.get(index.features.items[row].image, {}),
        )
        for rank, (row, distance) in enumerate(rows, start=1)
    ]


def _row_of(query: Path, collection: Collection, features: FeatureSet) -> int | None:
    """The row of the query when it is one of the collection's own files."""
    whole, root = query.resolve(), collection.root.resolve()
    if not whole.is_relative_to(root):
        return None
    image = whole.relative_to(root).as_posix()
    return next((row for row, item in enumerate(features.items) if item.image == image), None)


def _to(progress: object, done: int) -> None:
    progress.update(done - progress.n)  # type: ignore[attr-defined]


def _print(found: list[tuple[Model, list[Neighbour]]]) -> None:
    for model, row in found:
        print(f"\n{model.name}")
        for each in row:
            words = [each.known.get(name, "") for name in ("artist", "title", "genre", "style")]
            text = "; ".join(word for word in words if word) or each.label
            print(f"{each.rank:4}  {each.distance:.4f}  {each.image}  {text}".rstrip())
    print()


def _write_table(
    path: Path, found: list[tuple[Model, list[Neighbour]]], columns: Sequence[str]
) -> None:
    """The neighbours as a CSV; `columns`: what is known of the collection's images."""
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["model", "rank", "distance", "image", *columns])
        for model, row in found:
            for each in row:
                facts = each.known | {"class": each.label}
                line = [model.name, each.rank, f"{each.distance:.6f}", each.image]
                writer.writerow([*line, *(facts.get(name, "") for name in columns)])


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--query", type=Path, required=True, metavar="IMAGE")
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits with features")
    parser.add_argument("-k", "--k", type=positive, default=10, help="neighbours (%(default)s)")
    parser.add_argument(
        "--index", type=index_kind, default="exact", help=f"{', '.join(KINDS)} (%(default)s)"
    )
    parser.add_argument("--blob", default=FC7, help="%(default)s")
    parser.add_argument("--out", type=Path, help="table and sheet: PATH.csv, PATH.png")
    add_collection_flags(parser)
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
