"""What is in a net, as the engine says it (the worker's verb `describe`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lib.text import require_caffe_text
from prototxt.caffenet import IMAGE_SIZE

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]  # of a layer's blobs: its weights, its biases


class Engine(Protocol):
    """What is needed of lib.caffe.client.Engine."""

    def call(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run one verb of the worker."""
        ...


@dataclass(frozen=True)
class Multipliers:
    """What a prototxt says of one blob of weights; `name` where several layers share it."""

    name: str
    lr: float
    decay: float


@dataclass(frozen=True)
class Layer:
    """One layer of a prototxt, in whatever phase."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    phases: tuple[str, ...]  # "TRAIN", "TEST", by Caffe's own rules
    loss_weights: tuple[float, ...]
    params: tuple[Multipliers, ...]  # as written; there may be fewer than blobs
    blobs: Shapes  # of its weights, as Caffe built it
    global_stats: bool | None  # BatchNorm's use_global_stats, where written
    source: Mapping[str, Any] | None  # what a Data or ImageData layer reads


@dataclass(frozen=True)
class Description:
    """A net, as Caffe reads and builds it."""

    path: Path
    name: str
    text: str  # of today's form, comments and all where the file has that form
    shapes: Mapping[str, Shape]  # of each blob, for one image
    outputs: tuple[str, ...]  # blobs that no layer reads
    layers: tuple[Layer, ...]  # in the prototxt's order

    @property
    def weights(self) -> dict[str, Shapes]:
        """The learnable layers, in order, with the shapes of their blobs."""
        return {layer.name: layer.blobs for layer in self.layers if layer.blobs}

    @property
    def parameters(self) -> int:
        """How many numbers learn: all weights and biases, without BatchNorm's statistics."""
        return _count(layer.blobs for layer in self.layers if layer.type != "BatchNorm")

    @property
    def statistics(self) -> int:
        """How many numbers BatchNorm layers keep."""
        return _count(layer.blobs for layer in self.layers if layer.type == "BatchNorm")


def describe(engine: Engine, path: Path) -> Description:
    """Let real Caffe read and build the net of a prototxt. No database or weights are opened.

    Raises UserError, in one line that names file and layer, for what Caffe can't read or build.
    """
    require_caffe_text(path)
    said = engine.call("describe", {"net": str(path), "size": IMAGE_SIZE})
    return Description(
        path=path,
        name=said["name"],
        text=said["text"] or path.read_text(encoding="utf-8"),
        shapes={blob: tuple(shape) for blob, shape in said["shapes"].items()},
        outputs=tuple(said["outputs"]),
        layers=tuple(_layer(each) for each in said["layers"]),
    )


def _layer(said: Mapping[str, Any]) -> Layer:
    return Layer(
        name=said["name"],
        type=said["type"],
        bottoms=tuple(said["bottoms"]),
        tops=tuple(said["tops"]),
        phases=tuple(said["phases"]),
        loss_weights=tuple(said["loss_weights"]),
        params=tuple(
            Multipliers(each["name"], each["lr"], each["decay"]) for each in said["params"]
        ),
        blobs=tuple(tuple(shape) for shape in said["blobs"]),
        global_stats=said["global_stats"],
        source=said["source"],
    )


def _count(layers: Any) -> int:
    total = 0
    for blobs in layers:
        for shape in blobs:
            numbers = 1
            for size in shape:
                numbers *= size
            total += numbers
    return total
