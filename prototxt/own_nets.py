"""Our own nets: plain prototxts in nets/, short generators where repetition would hide the net.

Each is a deploy net of today's form, with the layer names of the published weights, its authors'
fillers and 1000 outputs (open_nsfw: 2). What is known of a net here, without Caffe, is what the
prototxts of a run need; `description.describe` has the shapes of its blobs too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from lib.errors import unknown
from prototxt.description import Description, Layer, Multipliers
from prototxt.nets import googlenet, resnet
from prototxt.syntax import Message, parse

_FOLDER = Path(__file__).resolve().parent / "nets"

# Net -> its text, or the file that holds it.
_NETS: dict[str, str | Callable[[], str]] = {
    "caffenet": "caffenet.prototxt",
    "alexnet": "alexnet.prototxt",
    "vgg16": "vgg16.prototxt",
    "googlenet": googlenet.deploy,
    "squeezenet_v1.0": "squeezenet_v1.0.prototxt",
    "squeezenet_v1.1": "squeezenet_v1.1.prototxt",
    "resnet50": resnet.resnet50,
    "resnet50_half": resnet.resnet50_half,
}
NAMES = tuple(_NETS)


@cache
def net_text(name: str) -> str:
    """The deploy prototxt of one of our nets; UserError for a name that is none."""
    if name not in _NETS:
        raise unknown("net", name, NAMES)
    found = _NETS[name]
    return found() if callable(found) else (_FOLDER / found).read_text(encoding="utf-8")


@cache
def own_net(name: str) -> Description:
    """One of our nets, without the shapes of its blobs but the input's."""
    text = net_text(name)
    document = parse(text)
    layers = tuple(_layer(each.value) for each in document.all("layer"))
    read = {blob for layer in layers for blob in layer.bottoms}
    return Description(
        path=Path(f"{name}.prototxt"),
        name=document.word("name"),
        text=text,
        shapes={layers[0].tops[0]: _input_shape(document)},
        outputs=tuple(blob for layer in layers for blob in layer.tops if blob not in read),
        layers=layers,
    )


def _layer(message: Message | str) -> Layer:
    assert isinstance(message, Message)  # every layer is one
    kind = message.word("type")
    params = tuple(
        Multipliers("", float(each.value.word("lr_mult")), float(each.value.word("decay_mult")))
        for each in message.all("param")
        if isinstance(each.value, Message)
    )
    # Blobs: the weights, and biases unless there are none. Their shapes are left to Caffe.
    count = {"Convolution": 2, "InnerProduct": 2, "BatchNorm": 3, "Scale": 2}.get(kind, 0)
    own = message.message("convolution_param")
    if own and own.word("bias_term") == "false":
        count = 1
    stats = message.message("batch_norm_param")
    return Layer(
        name=message.word("name"),
        type=kind,
        bottoms=tuple(message.words("bottom")),
        tops=tuple(message.words("top")),
        phases=("TRAIN", "TEST"),
        loss_weights=(),
        params=params,
        blobs=((),) * count,
        global_stats=stats.word("use_global_stats") == "true" if stats else None,
        source=None,
    )


def _input_shape(document: Message) -> tuple[int, ...]:
    first = next(document.all("layer")).value
    assert isinstance(first, Message)  # every layer is one
    own = first.message("input_param")
    shape = own.message("shape") if own else None
    assert shape is not None  # the first layer is the input
    return tuple(int(word) for word in shape.words("dim"))
