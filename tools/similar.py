"""The images of a collection most similar to a query, once for each model."""

from __future__ import annotations

from pathlib import Path

from experiments.similarity.choose_collection import CollectionChoice, add_collection_flags
from experiments.similarity.index import NAMED
from experiments.similarity.similar_images import found_line, similar_images
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, positive, run


def main() -> None:
    """Search; print what is found."""
    parser = Parser(description=__doc__)
    parser.add_argument("--query", type=Path, required=True, metavar="IMAGE")
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits with features")
    parser.add_argument("-k", "--k", type=positive, default=10, help="neighbours (%(default)s)")
    parser.add_argument(
        "--index",
        default="exact",
        help=f"{', '.join(NAMED)}, or a word of faiss.index_factory (%(default)s)",
    )
    parser.add_argument("--blob", help="of the features (the classifier's input: fc7 of CaffeNet)")
    parser.add_argument("--out", type=Path, help="table and sheet: PATH.csv, PATH.png")
    add_collection_flags(parser)
    add_device_flags(parser)
    asked = parser.parse_args()
    found = similar_images(
        asked.query,
        asked.models,
        CollectionChoice(
            asked.task, asked.images, asked.split, asked.split_seed, asked.parts, asked.raw
        ),
        lambda: pick_device(asked.gpu, asked.threads),
        k=asked.k,
        index=asked.index,
        blob=asked.blob,
        out=asked.out,
    )
    for model, row in found.results:
        print(f"\n{model.name}, {asked.blob or model.blob}")
        for each in row:
            print(found_line(each))
    print(f"\ntable          {found.table}\ncontact sheet  {found.sheet}")


if __name__ == "__main__":
    run(main)
