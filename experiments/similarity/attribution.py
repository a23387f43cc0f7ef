"""Why a run's net said that: probabilities, class-activation map, saliency, nearest images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.folders import DataFolder
from datasets.imagelist import read_classes
from experiments.similarity.artworks import Artwork
from experiments.similarity.collection import Collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import Model
from experiments.similarity.heatmaps import Picture, centre, overlay, spread
from experiments.similarity.index import scan
from experiments.similarity.neighbours import Neighbour, neighbour, open_features
from experiments.single_run.run_json import read_run_record
from lib.errors import UserError, unknown


@dataclass(frozen=True)
class Explanation:
    """What a run's classifier says of an image, and why."""

    classes: list[tuple[str, float]]  # the five likeliest, with probabilities
    explained: str  # the class that the maps are of
    layer: str  # the blob of the class-activation map
    seen: Picture  # the centre crop, all that the net sees
    activation: Picture  # Grad-CAM over it
    saliency: Picture  # the gradient at the pixels over it
    vector: NDArray[np.float32]  # the image's features


def data_of(model: Model) -> DataFolder:
    """The data folder that a run was trained on. Raises UserError when the model is no run."""
    record = read_run_record(model.run.record) if model.run else None
    if not record:
        raise UserError(f"{model.name} is no run: only a run of ours has classes to explain")
    return DataFolder(Path(record.data))


def classes_of(model: Model, label: str | None = None) -> tuple[str, ...]:
    """The classes that a run knows. Raises UserError when `label` is none of them."""
    classes = read_classes(data_of(model).classes)
    if label is not None and label not in classes:
        raise unknown("class", label, classes)
    return tuple(classes)


def explain(
    extractor: Extractor,
    model: Model,
    pixels: NDArray[np.uint8],
    *,
    label: str | None = None,
    layer: str | None = None,
    timeout: float | None = None,
) -> Explanation:
    """Explain what the run says of one image (1, 3, 256, 256); `label`: of another class.

    Raises UserError for a class that the run does not know.
    """
    classes = classes_of(model, label)
    number = None if label is None else classes.index(label)
    said = extractor.explain(model, pixels, label=number, layer=layer, timeout=timeout)
    probabilities = said["probabilities"]
    if len(probabilities) != len(classes):
        raise UserError(
            f"{model.deploy} has {len(probabilities)} outputs, but {data_of(model).classes} names "
            f"{len(classes)} classes"
        )
    likeliest = np.argsort(-probabilities, kind="stable")[:5]
    seen = centre(pixels[0], tuple(said["crop"]))
    return Explanation(
        classes=[(classes[each], float(probabilities[each])) for each in likeliest],
        explained=classes[said["label"]],
        layer=said["layer"],
        seen=seen,
        activation=overlay(seen, said["cam"]),
        saliency=overlay(seen, spread(said["saliency"])),
        vector=said["features"],
    )


@dataclass(frozen=True)
class TrainingImages:
    """What a run learnt from, beside one image."""

    nearest: list[Neighbour]  # the query itself left out
    part: str  # of the run's data that the query is in: train, val, test; "" when in none
    truth: str  # its class there


def training_images(
    collection: Collection,
    model: Model,
    vector: NDArray[np.float32],
    k: int,
    known: dict[str, Artwork],
    image: str | None = None,
) -> TrainingImages:
    """The images nearest to a vector among those that the run was trained on.

    `collection`: the run's own data (data_of). `image`: the query's path below its root, where it
    is one of these images.
    Raises UserError when the run's features of its own data are missing or stale.
    """
    features = open_features(model, collection)
    own = next((item for item in features.items if item.image == image), None)
    rows = np.array(
        [row for row in features.rows("train") if features.items[row].image != image], np.int64
    )
    found = scan(features, vector, min(k, len(rows)), rows)
    pairs = zip(found.rows[0].tolist(), found.distances[0].tolist(), strict=True)
    nearest = [
        neighbour(rank, distance, features.items[row], known)
        for rank, (row, distance) in enumerate(pairs, start=1)
    ]
    part, truth = (own.part, own.label) if own else ("", "")
    return TrainingImages(nearest, part, truth)


def image_in(collection: Collection, path: Path) -> str | None:
    """The name of a file in a collection; None when it is none of its images."""
    whole, root = path.resolve(), collection.root.resolve()
    if not whole.is_relative_to(root):
        return None
    name = whole.relative_to(root).as_posix()
    return name if any(item.image == name for item in collection.items) else None
