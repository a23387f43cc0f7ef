"""Explain what a run says of an image file: the classes, and a PNG of the maps and neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from datasets.catalogue import RAW
from experiments.similarity.artworks import artworks, query_pixels
from experiments.similarity.attribution import (
    Explanation,
    TrainingImages,
    classes_of,
    data_of,
    explain,
    image_in,
    training_images,
)
from experiments.similarity.collection import task_collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import find_model
from experiments.similarity.sheet import Shown, show, show_found
from lib.caffe.device import Device
from lib.errors import UserError
from lib.files import sha256, whole_file


@dataclass(frozen=True)
class ExplainedImage:
    """What a run says of an image file, and the PNG that shows it."""

    said: Explanation
    training: TrainingImages | None  # None: the run's features of its own data are not there
    note: str  # why not
    drawing: Path


def explain_image(
    image: Path,
    word: str,
    pick: Callable[[], Device],
    *,
    label: str | None = None,
    layer: str | None = None,
    k: int = 6,
    raw: Path = RAW,
    out: Path | None = None,
) -> ExplainedImage:
    """Explain what the run `word` says of an image; `label`: of another class than the likeliest.

    `pick` gives the device once all else is known to be right. Raises UserError for what is not
    there, and a class that the run does not know.
    """
    model = find_model(word)
    pixels = query_pixels(image)
    classes_of(model, label)
    with Extractor(pick()) as extractor:
        said = explain(extractor, model, pixels, label=label, layer=layer)
    near: list[Shown] = []
    training, note = None, ""
    try:
        own_data = task_collection(data_of(model), raw=raw)
        training = training_images(
            own_data, model, said.vector, k, artworks(own_data, raw), image_in(own_data, image)
        )
        near = [show_found(own_data, each) for each in training.nearest]
    except UserError as error:
        note = f"no nearest training images: {error}"
    assert model.run is not None
    name = f"{image.stem}-{sha256(image)[:8]}.png"
    out = out or model.run.path / "explained" / name
    title = f"{image.name} by {model.name}"
    if training and training.part:
        title += f"\n{part_words(training, said)}"
    draw(said, near, out, title)
    return ExplainedImage(said, training, note, out)


def part_words(training: TrainingImages, said: Explanation) -> str:
    """Whether the run has seen the image in training, and whether it is right, in words."""
    parts = {
        "train": "a training image of this run (it may know it by heart)",
        "val": "a validation image of this run",
        "test": "a test image of this run",
    }
    right = said.classes[0][0] == training.truth
    return f"{parts[training.part]}; true class {training.truth}: {'right' if right else 'wrong'}"


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
