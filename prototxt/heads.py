"""Where a net ends: its classifier, auxiliary ones, and what comes of them.

The classifier is the last learnable layer before the softmax: an InnerProduct, or a Convolution as
in SqueezeNet. A net as it is trained may have several (GoogLeNet has three); the main one is that
with the largest loss weight.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import UserError
from prototxt.description import Description, Layer

CLASSIFIERS = ("InnerProduct", "Convolution")
DATA = (
    "AnnotatedData",
    "Data",
    "DummyData",
    "HDF5Data",
    "ImageData",
    "Input",
    "MemoryData",
    "WindowData",
)
LOSS = "SoftmaxWithLoss"
# What ends a net: it is made anew for the task.
ENDS = (LOSS, "Softmax", "Accuracy", "ArgMax", "Silence")
# What may stand between a classifier and its softmax.
_BETWEEN = ("ReLU", "Dropout", "Pooling", "Flatten")


@dataclass(frozen=True)
class Head:
    """A classifier of a net, by the places of its layers in the prototxt."""

    classifier: int
    between: tuple[int, ...]  # from the classifier to the softmax, without ReLU
    dropped: tuple[int, ...]  # ReLUs there: a new classifier would die behind them
    logits: str  # the blob that the softmax reads
    loss: str  # name of its loss layer; empty in a deploy net
    weight: float  # of its loss


def find_heads(net: Description) -> list[Head]:
    """The heads of a net, the main one first.

    Raises UserError where there is no classifier, or no telling which is the main one.
    """
    ends: dict[str, tuple[str, float]] = {}  # logits -> loss layer, weight
    for layer in net.layers:
        if layer.type == LOSS:
            weight = layer.loss_weights[0] if layer.loss_weights else 1.0
            if weight > ends.get(layer.bottoms[0], ("", 0.0))[1]:
                ends[layer.bottoms[0]] = (layer.name, weight)
    if not ends:
        ends = {
            layer.bottoms[0]: ("", 1.0)
            for layer in net.layers
            if layer.type == "Softmax" and set(layer.tops) & set(net.outputs)
        }
    if not ends:
        others = [layer for layer in net.layers if layer.type.endswith("Loss")]
        if others:
            raise UserError(
                f"{net.path}: layer '{others[0].name}' ({others[0].type}): only a net that ends in "
                "a softmax over classes can be fine-tuned here"
            )
        ends = dict.fromkeys(net.outputs, ("", 1.0))
    heads = [_head(net, logits, *end) for logits, end in ends.items()]
    heads.sort(key=lambda head: -head.weight)
    if len(heads) > 1 and heads[0].weight == heads[1].weight:
        names = ", ".join(f"'{net.layers[head.classifier].name}'" for head in heads)
        raise UserError(
            f"{net.path} has {len(heads)} classifiers of equal weight, {names}: which one is it? "
            "Leave one in the prototxt, or give the others a smaller loss_weight"
        )
    return heads


def writers(layers: tuple[Layer, ...]) -> list[dict[str, int]]:
    """For each layer, the place of the last layer before it that wrote each of its bottoms."""
    last: dict[str, int] = {}
    found = []
    for place, layer in enumerate(layers):
        found.append({blob: last[blob] for blob in layer.bottoms if blob in last})
        last.update((blob, place) for blob in layer.tops)
    return found


def ancestors(layers: tuple[Layer, ...], place: int) -> set[int]:
    """The places of all layers that the one at `place` is computed from, itself among them."""
    before = writers(layers)
    found, left = set(), [place]
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += before[each].values()
    return found


def _head(net: Description, logits: str, loss: str, weight: float) -> Head:
    """Walk back from the blob that the softmax reads."""
    blob = logits
    between: list[int] = []
    dropped: list[int] = []
    readers = [n for n, each in enumerate(net.layers) if each.name == loss]
    place = readers[0] if loss else len(net.layers)
    while True:
        written = [n for n in range(place) if blob in net.layers[n].tops]
        if not loss:  # whoever reads the output does so before the softmax does
            written = [n for n in written if net.layers[n].type not in ENDS]
        if not written:
            raise UserError(f"{net.path}: no classifier: nothing learnable leads to '{logits}'")
        place = written[-1]
        layer = net.layers[place]
        if layer.type in CLASSIFIERS and layer.blobs:
            return Head(place, tuple(reversed(between)), tuple(dropped), logits, loss, weight)
        if layer.type not in _BETWEEN or len(layer.bottoms) != 1:
            raise UserError(
                f"{net.path}: no classifier found: layer '{layer.name}' ({layer.type}) stands "
                f"before the softmax where an InnerProduct or Convolution is expected"
            )
        (dropped if layer.type == "ReLU" else between).append(place)
        blob = layer.bottoms[0]
