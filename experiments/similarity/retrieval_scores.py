"""Score retrieval: are the neighbours of a test image of its own genre, style, artist ...?"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.artworks import Artwork, artworks
from experiments.similarity.collection_flags import add_collection_flags, collection_from
from experiments.similarity.extraction import extract
from experiments.similarity.feature_models import FEATURES, Model, find_model
from experiments.similarity.features import Item
from experiments.similarity.scores import Retrieval, require, retrieval
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import whole_file

_COLUMNS = ("genre", "style", "artist", "timeframe", "nationality")

Labels = NDArray[np.object_]  # one an image: a text, or None where it is not known


def main() -> None:
    """Score every model by every column of the catalogue that is known, and write a CSV."""
    arguments = _flags().parse_args()
    if arguments.part not in ("train", "val", "test", "all"):
        raise UserError(f"--part {arguments.part}: train, val, test or all")
    ks = tuple(sorted(set(arguments.k)))
    if ks[0] < 1:
        raise UserError(f"K={ks[0]}: must be 1 or more")
    models = [find_model(word) for word in arguments.models]
    collection = collection_from(arguments)
    known = artworks(collection)
    part = None if arguments.part == "all" else arguments.part
    groups = _groups([item for item in collection.items if part in (None, item.part)], known)
    if not groups:
        raise UserError(f"nothing is known of the images of {collection.name}: no labels to score")
    for _, labels in groups:
        require(labels, ks)
    device = pick_device(arguments)
    scores: list[tuple[Model, list[str], Retrieval]] = []
    for model in models:
        features = extract(collection, model, device)
        rows = features.rows(part)
        vectors = np.array(features.vectors[rows])
        items = [features.items[row] for row in rows]
        for columns, _ in groups:
            labels = _labels(items, known, columns[0])
            scores.append((model, columns, retrieval(vectors, labels, ks)))
    out = arguments.out or FEATURES / collection.name / "retrieval.csv"
    _write(out, scores, ks)
    for model, columns, each in scores:
        precision = ", ".join(f"P@{k} {each.precision[k]:.3f}" for k in ks)
        others = f" ({', '.join(columns[1:])})" if columns[1:] else ""
        print(
            f"{model.name}  same {columns[0]}{others}: {precision}, "
            f"mAP {each.mean_average_precision:.3f}; "
            f"chance {each.chance:.3f} ({each.queries:,} queries)"
        )
    print(out)


def _groups(items: Sequence[Item], known: dict[str, Artwork]) -> list[tuple[list[str], Labels]]:
    """The columns that can be scored, and their labels; those that say the same are one group.

    The column that a task's classes are from says the same as "class".
    """
    groups: list[tuple[list[str], Labels]] = []
    for column in ("class", *_COLUMNS):
        labels = _labels(items, known, column)
        there = [label for label in labels if label is not None]
        if not 1 < len(set(there)) < len(there):
            continue
        for columns, others in groups:
            if _alike(labels, others):
                columns.append(column)
                break
        else:
            groups.append(([column], labels))
    return groups


def _labels(items: Sequence[Item], known: dict[str, Artwork], column: str) -> Labels:
    return np.array(
        [
            item.label or None if column == "class" else known.get(item.image, {}).get(column)
            for item in items
        ],
        object,
    )


def _alike(first: Labels, second: Labels) -> bool:
    """Whether two columns label the same images, and tell the same of them apart."""
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second)) and all(
        (one is None) == (other is None) for one, other in pairs
    )


def _write(
    path: Path, scores: list[tuple[Model, list[str], Retrieval]], ks: tuple[int, ...]
) -> None:
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        header = [f"precision@{k}" for k in ks]
        writer.writerow(["model", "same", "queries", *header, "mAP", "chance"])
        for model, columns, each in scores:
            precision = [f"{each.precision[k]:.6f}" for k in ks]
            tail = [f"{each.mean_average_precision:.6f}", f"{each.chance:.6f}"]
            for column in columns:  # each a row of its own, for whoever looks for it
                writer.writerow([model.name, column, each.queries, *precision, *tail])


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits")
    parser.add_argument("-k", "--k", type=int, nargs="+", default=[1, 5, 10], help="1 5 10")
    parser.add_argument("--part", default="test", help="whose images ask and answer (%(default)s)")
    parser.add_argument("--out", type=Path, help="the CSV")
    add_collection_flags(parser)
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
