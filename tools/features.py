"""Take the features of a collection: what the classifier reads (fc7 of CaffeNet), or any blob."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from experiments.similarity.choose_collection import CollectionChoice, add_collection_flags
from experiments.similarity.feature_models import BATCH, find_model
from experiments.similarity.make_features import make_features
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, positive, run
from lib.files import readable


def main() -> None:
    """Extract what is not up to date, and say where it is."""
    arguments = _flags().parse_args()
    models = [find_model(word, arguments.mean) for word in arguments.weights]
    for model in models:
        model.check_blob(arguments.blob or model.blob)
    collection = CollectionChoice(
        arguments.task,
        arguments.images,
        arguments.split,
        arguments.split_seed,
        arguments.parts,
        arguments.raw,
    ).open()
    device = pick_device(arguments.gpu, arguments.threads)
    for model in models:
        began = time.monotonic()
        features = make_features(
            collection,
            model,
            device,
            blob=arguments.blob,
            batch=arguments.batch,
            workers=arguments.workers,
            skip_broken=arguments.skip_broken,
            force=arguments.force,
        )
        seconds = time.monotonic() - began
        left_out = len(features.record["left_out"])
        print(
            f"{features.source.blob} of {len(features):,} images by {model.name}: {features.path} "
            f"({features.dims:,} float32 each, {readable(features.vectors.nbytes)}, {seconds:.1f} s"
            f"{f'; {left_out} broken images left out' if left_out else ''})"
        )


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--weights",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="<task>/<run>, a run's name, an init, or a .caffemodel file; one or more",
    )
    parser.add_argument("--mean", type=Path, help="mean of a .caffemodel file outside any run")
    add_collection_flags(parser)
    parser.add_argument("--blob", help="the blob to keep (the classifier's input: fc7 of CaffeNet)")
    parser.add_argument(
        "--batch", type=positive, default=BATCH, help="images a forward pass (%(default)s)"
    )
    parser.add_argument("--workers", type=positive, help="engines at once (default: one a core)")
    parser.add_argument("--skip-broken", action="store_true", help="leave broken images out")
    parser.add_argument("--force", action="store_true", help="extract again what is up to date")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
