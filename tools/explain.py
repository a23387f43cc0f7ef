"""Explain what a run says of an image: top-5, Grad-CAM, saliency, the nearest training images."""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from experiments.similarity.artworks import artworks, caption, picture, query_pixels
from experiments.similarity.collection import task_collection
from experiments.similarity.explanation import (
    Explanation,
    classes_of,
    data_of,
    explain,
    nearest_training_images,
)
from experiments.similarity.extraction import Extractor
from experiments.similarity.feature_models import find_model
from experiments.similarity.sheet import Shown, show
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, positive, run
from lib.errors import UserError
from lib.files import sha256, whole_file


def main() -> None:
    """Explain, print the classes, draw the maps."""
    arguments = _flags().parse_args()
    word = f"{arguments.task}/{arguments.run}" if arguments.task else arguments.run
    model = find_model(word)
    pixels = query_pixels(arguments.image)
    classes_of(model, arguments.label)  # before Caffe starts
    with Extractor(pick_device(arguments)) as extractor:
        said = explain(extractor, model, pixels, label=arguments.label, layer=arguments.layer)
    near, note = [], ""
    try:
        known = artworks(task_collection(data_of(model)))
        collection, found = nearest_training_images(model, said.vector, arguments.k, known)
        near = [
            Shown(
                picture(collection.root, each.image),
                f"{each.distance:.3f} {each.label}\n{caption('', each.known) or each.image}",
            )
            for each in found
        ]
    except UserError as error:
        note = f"no nearest training images: {error}"
    name = f"{arguments.image.stem}-{sha256(arguments.image)[:8]}.png"
    assert model.run is not None
    out = arguments.out or model.run.path / "explained" / name
    draw(said, near, out, f"{arguments.image.name} by {model.name}")
    for place, (label, probability) in enumerate(said.classes, start=1):
        print(f"{place}  {probability:6.1%}  {label}")
    print(f"the maps are of '{said.explained}' (Grad-CAM on {said.layer}): {out}")
    if note:
        print(note)


def draw(said: Explanation, near: list[Shown], path: Path, title: str) -> None:
    """Draw the maps, the probabilities and the nearest training images, as PNG."""
    columns = max(4, len(near))
    rows = 2 if near else 1
    figure = Figure(figsize=(2.4 * columns, 3.3 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(rows, columns, squeeze=False)
    for each in axes.flat:
        each.axis("off")
        each.set_anchor("N")
    show(axes[0][0], Shown(said.seen, ""), "what the net sees")
    show(axes[0][1], Shown(said.activation, ""), f"Grad-CAM, {said.layer}: {said.explained}")
    show(axes[0][2], Shown(said.saliency, ""), "saliency")
    bars = axes[0][3]
    bars.axis("on")
    names = [label for label, _ in said.classes][::-1]
    shares = [probability for _, probability in said.classes][::-1]
    bars.barh(range(len(names)), shares, color="#0072b2")
    bars.set_yticks(range(len(names)), names, fontsize=8)
    bars.set_xlim(0, 1)
    bars.set_title("probability", fontsize=8, loc="left", fontweight="bold")
    bars.spines[["top", "right"]].set_visible(False)
    for place, shown in enumerate(near):
        show(axes[1][place], shown, "nearest training images" if place == 0 else "")
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=130, format="png")


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--run", required=True, help="<task>/<run>, or a run's name")
    parser.add_argument("--task", help="task of the run, where its name alone is given")
    parser.add_argument("--label", metavar="CLASS", help="explain this class (the likeliest)")
    parser.add_argument("--layer", help="convolution of the Grad-CAM (the last one: conv5)")
    parser.add_argument("-k", "--k", type=positive, default=6, help="training images (%(default)s)")
    parser.add_argument("--out", type=Path, help="PNG (the run's folder, explained/)")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
