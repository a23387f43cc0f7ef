"""Why a run's net said that: probabilities, class-activation map, saliency, nearest images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.folders import DataFolder
from datasets.imagelist import read_classes
from experiments.similarity.artworks import Artwork
from experiments.similarity.collection import Collection, task_collection
from experiments.similarity.extraction import Extractor
from experiments.similarity.feature_models import FC7, Model
from experiments.similarity.index import scan
from experiments.similarity.maps import Picture, centre, overlay, spread
from experiments.similarity.search import Neighbour, open_features
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


def nearest_training_images(
    model: Model, vector: NDArray[np.float32], k: int, known: dict[str, Artwork]
) -> tuple[Collection, list[Neighbour]]:
    """The images nearest to a vector among those that the run was trained on.

    Raises UserError when the run's features of its own data are missing or stale.
    """
    collection = task_collection(data_of(model))
    features = open_features(model, collection, FC7)
    rows = features.rows("train")
    found = scan(features, vector, min(k, len(rows)), rows)
    return collection, [
        Neighbour(rank, float(distance), item.image, item.label, known.get(item.image, {}))
        for rank, (row, distance) in enumerate(
            zip(found.rows[0], found.distances[0], strict=True), start=1
        )
        for item in [features.items[row]]
    ]
