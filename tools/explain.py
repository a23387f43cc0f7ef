"""Explain what a run says of an image: top-5, Grad-CAM, saliency, the nearest training images."""

from __future__ import annotations

from pathlib import Path

from datasets.catalogue import RAW
from experiments.similarity.attribution_figure import explain_image, part_words
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, positive, run


def main() -> None:
    """Explain; print the classes."""
    parser = Parser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--run", required=True, help="<task>/<run>, or a run's name")
    parser.add_argument("--task", help="task of the run, where its name alone is given")
    parser.add_argument("--label", metavar="CLASS", help="explain this class (the likeliest)")
    parser.add_argument("--layer", help="convolution of the Grad-CAM (the last one: conv5)")
    parser.add_argument("-k", "--k", type=positive, default=6, help="training images (%(default)s)")
    parser.add_argument("--raw", type=Path, default=RAW, help="raw material (%(default)s)")
    parser.add_argument("--out", type=Path, help="PNG (the run's folder, explained/)")
    add_device_flags(parser)
    asked = parser.parse_args()
    made = explain_image(
        asked.image,
        f"{asked.task}/{asked.run}" if asked.task else asked.run,
        lambda: pick_device(asked.gpu, asked.threads),
        label=asked.label,
        layer=asked.layer,
        k=asked.k,
        raw=asked.raw,
        out=asked.out,
    )
    for place, (label, probability) in enumerate(made.said.classes, start=1):
        print(f"{place}  {probability:6.1%}  {label}")
    if made.training and made.training.part:
        print(f"the image is {part_words(made.training, made.said)}")
    print(
        f"the maps are of '{made.said.explained}' (Grad-CAM on {made.said.layer}): {made.drawing}"
    )
    if made.note:
        print(made.note)


if __name__ == "__main__":
    run(main)
