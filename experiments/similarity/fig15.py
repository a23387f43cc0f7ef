"""Figure 15: what a genre-tuned and a style-tuned model find most similar to the same paintings.

The paper's queries are not named; QUERIES= names some, or a few test images are chosen by a seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from experiments.similarity.artworks import artworks, caption, picture
from experiments.similarity.collection_flags import add_collection_flags, collection_from
from experiments.similarity.feature_models import FEATURES, find_model
from experiments.similarity.search import neighbours, open_features, open_index
from experiments.similarity.sheet import Shown, draw_sheet
from lib.cli import Parser, positive, run
from lib.errors import UserError


def main() -> None:
    """Draw one contact sheet a query."""
    arguments = _flags().parse_args()
    models = [find_model(word) for word in arguments.models]
    collection = collection_from(arguments)
    sets = [open_features(model, collection) for model in models]
    known = artworks(collection)
    places = {item.image: row for row, item in enumerate(sets[0].items)}
    if arguments.queries:
        for image in arguments.queries:
            if image not in places:
                raise UserError(f"{image} is no image of {collection.name}")
        rows = [places[image] for image in arguments.queries]
    else:
        there = sets[0].rows("test")
        there = there if len(there) else sets[0].rows()
        count = min(arguments.count, len(there))
        rows = np.random.default_rng(arguments.seed).choice(there, count, replace=False).tolist()
    indexes = [open_index(features, "exact") for features in sets]
    out = arguments.out or FEATURES / collection.name / "fig15"
    for row in rows:
        item = sets[0].items[row]
        shown = [
            (
                model.name,
                [
                    Shown(
                        picture(collection.root, each.image),
                        f"{each.distance:.3f}\n{caption(each.label, each.known)}",
                    )
                    for each in neighbours(index, index.vector(row), arguments.k, known, row)
                ],
            )
            for model, index in zip(models, indexes, strict=True)
        ]
        words = caption(item.label, known.get(item.image, {}))
        query = Shown(picture(collection.root, item.image), words)
        path = out / f"{Path(item.image).stem}.png"
        draw_sheet(query, shown, path, f"Figure 15: nearest to {item.image}")
        print(path)


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="the genre-run, the style-run")
    parser.add_argument("--queries", nargs="+", help="images of the collection, as in its lists")
    parser.add_argument("--count", type=positive, default=3, help="queries to choose (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice (%(default)s)")
    parser.add_argument("-k", "--k", type=positive, default=5, help="neighbours (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the sheets")
    add_collection_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
