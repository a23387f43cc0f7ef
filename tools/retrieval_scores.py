"""Score retrieval: are the neighbours of a test image of its own genre, style, artist ...?"""

from __future__ import annotations

from pathlib import Path

from experiments.similarity.choose_collection import CollectionChoice, add_collection_flags
from experiments.similarity.score_retrieval import score_retrieval
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, run


def main() -> None:
    """Score; print one line per model and label."""
    parser = Parser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits")
    parser.add_argument("-k", "--k", type=int, nargs="+", default=[1, 5, 10], help="1 5 10")
    parser.add_argument("--part", default="test", help="whose images ask and answer (%(default)s)")
    parser.add_argument("--out", type=Path, help="the CSV")
    add_collection_flags(parser)
    add_device_flags(parser)
    asked = parser.parse_args()
    scores, table = score_retrieval(
        asked.models,
        CollectionChoice(
            asked.task, asked.images, asked.split, asked.split_seed, asked.parts, asked.raw
        ),
        lambda: pick_device(asked.gpu, asked.threads),
        ks=asked.k,
        part=asked.part,
        out=asked.out,
    )
    for each in scores:
        said = each.retrieval
        precision = ", ".join(f"P@{k} {share:.3f}" for k, share in said.precision.items())
        others = f" ({', '.join(each.columns[1:])})" if each.columns[1:] else ""
        print(
            f"{each.model}  same {each.columns[0]}{others}: {precision}, "
            f"mAP {said.mean_average_precision:.3f}; "
            f"chance {said.chance:.3f} ({said.queries:,} queries)"
        )
    print(table)


if __name__ == "__main__":
    run(main)
