"""Figure 16: how far apart the same images lie in the features of differently trained models."""

from __future__ import annotations

from pathlib import Path

from experiments.similarity.choose_collection import CollectionChoice, add_collection_flags
from experiments.similarity.figure16 import make_figure16, remark_words
from experiments.similarity.neighbours import distance_text
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, run


def main() -> None:
    """Measure, draw, print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits, two or more")
    parser.add_argument("--images-chosen", type=int, default=100, metavar="N", help="%(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the choice (%(default)s)")
    parser.add_argument("--out", type=Path, help="PATH.csv and PATH.png")
    add_collection_flags(parser)
    add_device_flags(parser)
    asked = parser.parse_args()
    made = make_figure16(
        asked.models,
        CollectionChoice(
            asked.task, asked.images, asked.split, asked.split_seed, asked.parts, asked.raw
        ),
        lambda: pick_device(asked.gpu, asked.threads),
        count=asked.images_chosen,
        seed=asked.seed,
        out=asked.out,
    )
    for name, inside, remark in zip(made.names, made.within, made.remarks, strict=True):
        print(
            f"{name}: mean distance between its images {distance_text(inside)}; "
            f"{remark_words(remark)}"
        )
    print(f"{made.table}\n{made.drawing}")


if __name__ == "__main__":
    run(main)
