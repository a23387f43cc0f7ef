"""Figure 15: what a genre-tuned and a style-tuned model find most similar to the same paintings."""

from __future__ import annotations

from pathlib import Path

from experiments.similarity.choose_collection import CollectionChoice, add_collection_flags
from experiments.similarity.figure15 import draw_figure15
from lib.cli import Parser, positive, run


def main() -> None:
    """Draw one contact sheet per query."""
    parser = Parser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="the genre-run, the style-run")
    parser.add_argument("--queries", nargs="+", help="images of the collection, as in its lists")
    parser.add_argument("--count", type=positive, default=3, help="queries to choose (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice (%(default)s)")
    parser.add_argument("-k", "--k", type=positive, default=5, help="neighbours (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the sheets")
    add_collection_flags(parser)
    asked = parser.parse_args()
    sheets = draw_figure15(
        asked.models,
        CollectionChoice(
            asked.task, asked.images, asked.split, asked.split_seed, asked.parts, asked.raw
        ),
        queries=asked.queries or (),
        count=asked.count,
        seed=asked.seed,
        k=asked.k,
        out=asked.out,
    )
    for path in sheets:
        print(path)


if __name__ == "__main__":
    run(main)
