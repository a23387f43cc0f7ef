"""Figure 15: what a genre-tuned and a style-tuned model find most similar to the same paintings.

The paper's queries are not named; QUERIES= names some, or a few test images are chosen by a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.similarity.artworks import artworks, caption, picture
from experiments.similarity.choose_collection import CollectionChoice
from experiments.similarity.feature_models import FEATURES, find_model
from experiments.similarity.feature_set import FeatureSet, same_images
from experiments.similarity.neighbours import neighbours, open_features, open_index
from experiments.similarity.sheet import Shown, draw_sheet, show_found
from lib.errors import UserError


def draw_figure15(
    words: Sequence[str],
    choice: CollectionChoice,
    *,
    queries: Sequence[str] = (),
    count: int = 3,
    seed: int = 1,
    k: int = 5,
    out: Path | None = None,
) -> list[Path]:
    """Draw one contact sheet per query, into the folder `out`; returns their paths.

    `queries`: images of the collection, as in its lists; none: `count` of them, chosen by `seed`.
    Raises UserError for what is not there.
    """
    models = [find_model(word) for word in words]
    collection = choice.open()
    sets = [open_features(model, collection) for model in models]
    same_images(sets)
    if not 1 <= k < len(sets[0]):
        raise UserError(f"K={k}: the collection has {len(sets[0]):,} images, the query among them")
    rows = _query_rows(sets[0], collection.name, queries, count, seed)
    known = artworks(collection, choice.raw)
    indexes = [open_index(features, "exact") for features in sets]
    out = out or FEATURES / collection.name / "fig15"
    sheets = []
    for row in rows:
        item = sets[0].items[row]
        shown = [
            (
                model.name,
                [
                    show_found(collection, each)
                    for each in neighbours(index, index.vector(row), k, known, row)
                ],
            )
            for model, index in zip(models, indexes, strict=True)
        ]
        words_below = caption(item.label, known.get(item.image, {}))
        query = Shown(picture(collection, item.image), words_below)
        # The row keeps two images of one name in two folders apart.
        path = out / f"{Path(item.image).stem}-{row}.png"
        draw_sheet(query, shown, path, f"Nearest to {item.image}, images of {collection.name}")
        sheets.append(path)
    return sheets


def _query_rows(
    features: FeatureSet, name: str, queries: Sequence[str], count: int, seed: int
) -> list[int]:
    if queries:
        places = {item.image: row for row, item in enumerate(features.items)}
        for image in queries:
            if image not in places:
                raise UserError(f"{image} is no image of {name}")
        return [places[image] for image in queries]
    there = features.rows("test")
    there = there if len(there) else features.rows()
    chosen = np.random.default_rng(seed).choice(there, min(count, len(there)), replace=False)
    return [int(row) for row in chosen]
