"""Any Caffe net, changed for a task, as real Caffe builds and trains it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.caffe.client import Engine
from lib.errors import UserError
from prototxt.blocks import find_blocks
from prototxt.description import Description, describe
from prototxt.finetune import Change, FineTuned, fine_tune
from prototxt.heads import find_heads
from prototxt.own_nets import NAMES, net_text, own_net
from prototxt.read import classifier_input
from prototxt.render import Run, render, warnings
from prototxt.settings import Settings
from prototxt.syntax import parse
from tests.prototxt import made_nets
from tests.prototxt.made_nets import INPUT, KINDS, conv, inner, relu, softmax
from tests.warm_engine import WarmEngine, warm_engine

CHANGE = Change("task", 3)


@pytest.fixture(scope="module")
def warm(engine: Engine) -> Iterator[WarmEngine]:
    with warm_engine(engine.python) as started:
        yield started


def net_of(warm: WarmEngine, folder: Path, text: str) -> Description:
    path = folder / "deploy.prototxt"
    path.write_text(text, encoding="utf-8")
    return describe(warm, path)


# ---- The text ----


@pytest.mark.parametrize("name", NAMES)
def test_a_prototxt_is_written_back_as_it_was_read(name: str) -> None:
    assert str(parse(net_text(name))) == net_text(name)


def test_any_way_of_writing_is_kept() -> None:
    text = "a:1;b { c : 'x' \"y\" # say\n d<e:[1, 2]> }\n\n# end\n"
    assert str(parse(text)) == text
    message = parse(text).message("b")
    assert message is not None
    assert message.word("c") == "xy"


@pytest.mark.parametrize("text", ["a", "a {", "a: }", ": 1", "a { b: 1 ] "])
def test_what_is_no_prototxt_is_told_with_its_line(text: str) -> None:
    with pytest.raises(UserError, match="line 1"):
        parse(text)


# ---- Every kind, built by Caffe ----

# argv: net, weights out. The net's TRAIN phase with inputs for its data: shapes, multipliers, and
# which layers get a gradient in one step of SGD.
_STEP = """
import json, sys
import caffe, numpy
from caffe.proto import caffe_pb2
from google.protobuf import text_format
path, out, crop = sys.argv[1], sys.argv[2], int(sys.argv[3])
caffe.set_random_seed(1)
net = caffe_pb2.NetParameter()
text_format.Merge(open(path).read(), net)
kept = [l for l in net.layer if l.type != "Data"]
del net.layer[:]
data = net.layer.add(name="data", type="Input", top=["data", "label"])
data.input_param.shape.add(dim=[2, 3, crop, crop])
data.input_param.shape.add(dim=[2])
net.layer.extend(kept)
open(out + ".net", "w").write(text_format.MessageToString(net))
solver = caffe_pb2.SolverParameter(
    net=out + ".net", base_lr=0.001, lr_policy="fixed", max_iter=10, snapshot_after_train=False,
    random_seed=1)
open(out + ".solver", "w").write(text_format.MessageToString(solver))
made = caffe.SGDSolver(out + ".solver")
if len(sys.argv) > 4:
    made.net.copy_from(sys.argv[4])
numpy.random.seed(0)
data = made.net.blobs["data"].data
data[...] = numpy.random.uniform(-100, 100, data.shape)
made.net.blobs["label"].data[...] = [0, 1]
before = {n: [b.data.copy() for b in bs] for n, bs in made.net.params.items()}
made.step(1)
losses = {
    n: float(made.net.blobs[n].data)
    for n, w in zip(made.net._blob_names, made.net._blob_loss_weights) if w}
json.dump({
    "losses": losses,
    "shapes": {n: list(b.data.shape) for n, b in made.net.blobs.items()},
    "moved": {
        n: [bool((b.data != o).any()) for b, o in zip(bs, before[n])]
        for n, bs in made.net.params.items()},
}, open(out, "w"))
"""


def step(
    warm: WarmEngine, folder: Path, texts: dict[str, str], crop: int, *weights: Path
) -> dict[str, Any]:
    """One training step of a rendered net on two made-up images, by real Caffe."""
    import json

    net, out = folder / "train_val.prototxt", folder / "step.json"
    net.write_text(texts["train_val.prototxt"], encoding="utf-8")
    warm.run(_STEP, net, out, str(crop), *weights)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


RUN = Run(
    task="task",
    classes=3,
    train=100,
    val=20,
    train_lmdb="train_lmdb",
    val_lmdb="val_lmdb",
    mean="mean.binaryproto",
    net="train_val.prototxt",
    snapshot_prefix="snapshots/caffenet",
    init="theirs",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_from_nothing(warm: WarmEngine, tmp_path: Path, kind: str) -> None:
    net = net_of(warm, tmp_path, KINDS[kind])
    texts = render(replace(RUN, architecture=net, init="scratch"))
    found = step(warm, tmp_path, texts, 16)
    assert all(np.isfinite(value) for value in found["losses"].values())
    stuck = [name for name, moved in found["moved"].items() if not all(moved)]
    # A bias that goes straight into a BatchNorm has no effect, hence no gradient.
    assert [name for name in stuck if kind != "residual"] == []
    deploy = tmp_path / "made.prototxt"
    deploy.write_text(texts["deploy.prototxt"])
    said = describe(warm, deploy)
    assert said.outputs == ("prob",)
    assert said.shapes["prob"][1] == 3
    assert set(said.weights) <= set(found["moved"])
    assert "_filler" not in texts["deploy.prototxt"]


def changed(warm: WarmEngine, folder: Path, kind: str, **more: Any) -> FineTuned:
    return fine_tune(net_of(warm, folder, KINDS[kind]), replace(CHANGE, **more))


def test_the_text_stays_its_authors(warm: WarmEngine, tmp_path: Path) -> None:
    body = changed(warm, tmp_path, "plain").train_body
    assert "# The first layer, as its author says.\n" in body
    assert 'name: "fc4_task"' in body
    assert "param { lr_mult: 10 decay_mult: 1 }" in body


def test_a_convolutional_classifier_loses_its_relu(warm: WarmEngine, tmp_path: Path) -> None:
    made = changed(warm, tmp_path, "convolutional")
    assert made.classifiers == ("last_task",)
    assert made.logits == "pool"
    assert "last/relu" not in made.train_body
    assert 'bottom: "last_task" top: "pool"' in made.train_body


def test_auxiliary_heads_help_in_training_only(warm: WarmEngine, tmp_path: Path) -> None:
    net = net_of(warm, tmp_path, KINDS["auxiliary"])
    assert [net.layers[head.classifier].name for head in find_heads(net)] == [
        "main/classifier",
        "side/classifier",
    ]
    texts = render(replace(RUN, architecture=net))
    path = tmp_path / "train_val.prototxt"
    path.write_text(texts["train_val.prototxt"])
    said = {layer.name: layer for layer in describe(warm, path).layers}
    assert said["side/classifier_task"].phases == ("TRAIN",)
    assert said["side/loss"].loss_weights == (pytest.approx(0.3),)
    assert said["side/classifier_task"].blobs[0][0] == 3
    assert said["main/classifier_task"].phases == ("TRAIN", "TEST")
    assert "side" not in texts["deploy.prototxt"]
    assert [layer.source["batch"] for layer in said.values() if layer.source]  # ours, not theirs


def test_v1_is_upgraded_by_caffe(warm: WarmEngine, tmp_path: Path) -> None:
    net = net_of(warm, tmp_path, KINDS["v1"])
    assert [(layer.name, layer.type) for layer in net.layers[1:3]] == [
        ("conv1", "Convolution"),
        ("relu1", "ReLU"),
    ]
    assert [param.lr for param in net.layers[1].params] == [1, 2]
    assert "layers {" not in net.text


# ---- BatchNorm ----


def lines(text: str, layer: str) -> str:
    """The text of one layer."""
    found = [each for each in parse(text).all("layer") if each.value.word("name") == layer]  # type: ignore[union-attr]
    return str(found[0])


@pytest.mark.parametrize("bn", ["", "fixed", "batch"])
def test_statistics_are_fixed_unless_asked(warm: WarmEngine, tmp_path: Path, bn: str) -> None:
    net = net_of(warm, tmp_path, KINDS["residual"])
    run = replace(RUN, architecture=net, scenario="skip_first", settings=Settings(bn=bn))
    text = render(run)["train_val.prototxt"]
    assert "use_global_stats: true" in lines(text, "bn_conv1")  # frozen: always
    assert ("use_global_stats: true" in lines(text, "bn_a1")) == (bn != "batch")
    assert "eps: 0.001" in lines(text, "bn_a1")
    assert lines(text, "bn_a1").count("lr_mult: 0 decay_mult: 0") == 3
    assert "lr_mult: 1" in lines(text, "scale_a1")
    assert "lr_mult: 0" in lines(text, "scale_conv1")
    small = replace(run, settings=Settings(bn=bn, batch=32, device_batch=8))
    assert any("iter_size" in each for each in warnings(small)) == (bn == "batch")


def test_zeros_are_no_statistics(warm: WarmEngine, tmp_path: Path) -> None:
    net = net_of(warm, tmp_path, KINDS["residual"])
    run = replace(RUN, architecture=net, init="scratch")
    assert "use_global_stats: true" not in render(run)["train_val.prototxt"]
    with pytest.raises(UserError, match="BN=fixed"):
        render(replace(run, settings=Settings(bn="fixed")))


# ---- Scenarios ----


def test_a_residual_block_is_one(warm: WarmEngine, tmp_path: Path) -> None:
    net = net_of(warm, tmp_path, KINDS["residual"])
    blocks = [block.layers for block in find_blocks(net, find_heads(net)[0])]
    assert blocks == [
        ("conv1", "bn_conv1", "scale_conv1"),
        ("a1", "bn_a1", "scale_a1", "a2", "bn_a2", "scale_a2"),
        ("conv3", "slopes"),
    ]


@pytest.mark.parametrize(
    ("scenario", "frozen"),
    [("all", 0), ("skip_first", 1), ("skip_first2", 2), ("only_last3", 15), ("only_last", 17)],
)
def test_scenarios_of_resnet50(scenario: str, frozen: int) -> None:
    net = own_net("resnet50")
    made = fine_tune(net, replace(CHANGE, scenario=scenario))
    assert len(made.frozen_blocks) == frozen
    assert (frozen == 0) or made.frozen[:3] == ("conv1", "bn_conv1", "scale_conv1")
    assert "fc1000" not in made.frozen


def test_freeze_goes_up_to_and_with_a_layer() -> None:
    made = fine_tune(own_net("googlenet"), replace(CHANGE, freeze="inception_3a/5x5"))
    assert made.frozen[-1] == "inception_3a/pool_proj"  # the whole module
    assert len(made.frozen_blocks) == 3


@pytest.mark.parametrize(
    ("freeze", "scenario", "says"),
    [
        ("conv11", "all", "unknown layer 'conv11'.*conv1"),
        ("fc8", "all", "classifier"),
        ("conv1", "only_last", "one of the two"),
    ],
)
def test_a_freeze_that_cannot_be(freeze: str, scenario: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fine_tune(own_net("caffenet"), replace(CHANGE, freeze=freeze, scenario=scenario))


def test_an_auxiliary_head_freezes_with_what_it_reads(warm: WarmEngine, tmp_path: Path) -> None:
    made = changed(warm, tmp_path, "auxiliary", scenario="only_last")
    assert made.frozen == ("conv1", "side", "conv2")


# ---- What can't be fine-tuned, in one line ----

_TWO = (
    made_nets.PLAIN
    + inner("other", "fc3")
    + 'layer { name: "prob2" type: "Softmax" bottom: "other" top: "prob2" }\n'
)
_GRAY = made_nets.PLAIN.replace("dim: 3", "dim: 1")
_LARGE = made_nets.PLAIN.replace("dim: 16 dim: 16", "dim: 300 dim: 300")
_OBLONG = made_nets.PLAIN.replace("dim: 16 dim: 16", "dim: 16 dim: 20")
_RESHAPED = made_nets.PLAIN.replace(
    softmax("fc4"),
    'layer { name: "shape" type: "Reshape" bottom: "fc4" top: "shape"\n'
    "  reshape_param { shape { dim: 0 dim: 5 } } }\n" + softmax("shape"),
)
_NONE = 'name: "none"\n' + INPUT + relu("data") + softmax("data")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_TWO, "2 classifiers of equal weight, 'fc4', 'other'"),
        (_GRAY, "1 x 16 x 16; colour images"),
        (_LARGE, "300 x 300 is larger than the images"),
        (_OBLONG, "16 x 20; .*squares"),
        (_RESHAPED, r"layer 'shape' \(Reshape\) stands before the softmax"),
        (_NONE, "no classifier"),
        (made_nets.PLAIN.replace('"ReLU"', '"Relu"', 1), "no layer type 'Relu'; did you mean ReLU"),
        (made_nets.PLAIN.replace("num_output", "outputs", 1), r"deploy\.prototxt:\d+"),
        (made_nets.PLAIN.replace('name: "fc3"', 'name: "fc4_task"'), "another name"),
        (
            made_nets.PLAIN.replace('"ReLU"', '"Python"', 1),
            r"layer 'relu_conv1' \(Python\) runs code",
        ),
    ],
)
def test_a_net_that_cannot_be(warm: WarmEngine, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        fine_tune(net_of(warm, tmp_path, text), CHANGE)
    assert "\n" not in str(raised.value)


def test_only_a_softmax_can_be_replaced(warm: WarmEngine, tmp_path: Path) -> None:
    text = made_nets.PLAIN.replace(softmax("fc4"), "").replace(
        INPUT, INPUT + INPUT.replace("data", "label").replace("dim: 3 dim: 16 dim: 16", "dim: 5")
    )
    text += 'layer { name: "far" type: "EuclideanLoss" bottom: "fc4" bottom: "label" top: "far" }\n'
    with pytest.raises(UserError, match=r"layer 'far' \(EuclideanLoss\)"):
        fine_tune(net_of(warm, tmp_path, text), CHANGE)


# ---- Our nets ----

# Net -> weights and biases, statistics, blocks, side of the input.
FACTS = {
    "caffenet": (60_965_224, 0, 7, 227),
    "alexnet": (60_965_224, 0, 7, 227),
    "vgg16": (138_357_544, 0, 15, 224),
    "googlenet": (6_998_552, 0, 11, 224),
    "squeezenet_v1.0": (1_248_424, 0, 9, 227),
    "squeezenet_v1.1": (1_235_496, 0, 9, 227),
    "resnet50": (25_557_096, 53_173, 17, 224),
    "resnet50_half": (5_917_890, 26_677, 17, 224),
}
_HEAVY = ("caffenet", "alexnet", "vgg16")


def _own() -> list[Any]:
    marked = {name: [pytest.mark.caffenet] for name in _HEAVY}
    return [pytest.param(name, marks=marked.get(name, [])) for name in NAMES]


@pytest.mark.parametrize("name", _own())
def test_our_net_is_what_was_published(warm: WarmEngine, tmp_path: Path, name: str) -> None:
    net = net_of(warm, tmp_path, net_text(name))
    parameters, statistics, blocks, side = FACTS[name]
    assert (net.parameters, net.statistics) == (parameters, statistics)
    assert len(find_blocks(net, find_heads(net)[0])) == blocks
    assert net.shapes["data"] == (10, 3, side, side)
    # What is known of it without Caffe is what Caffe knows.
    known = own_net(name)
    assert known.outputs == net.outputs == ("prob",)
    for ours, theirs in zip(known.layers, net.layers, strict=True):
        assert replace(ours, blobs=()) == replace(theirs, blobs=())
        assert len(ours.blobs) == len(theirs.blobs)


@pytest.mark.parametrize("name", _own())
def test_our_net_learns_in_every_layer(warm: WarmEngine, tmp_path: Path, name: str) -> None:
    texts = render(replace(RUN, init="scratch", settings=Settings(net=name)))
    found = step(warm, tmp_path, texts, FACTS[name][3])
    assert all(np.isfinite(value) for value in found["losses"].values())
    types = {layer.name: layer.type for layer in own_net(name).layers}
    stuck = [
        layer
        for layer, moved in found["moved"].items()
        if not moved[0] and types.get(layer) != "BatchNorm"
    ]
    assert stuck == []


def test_a_net_of_convolutions_with_nothing_behind_the_classifier(
    warm: WarmEngine, tmp_path: Path
) -> None:
    text = 'name: "bare"\n' + INPUT + conv("a", "data") + relu("a") + inner("b", "a")
    made = fine_tune(net_of(warm, tmp_path, text), CHANGE)  # no Softmax: the output is the logits
    assert made.logits == "b_task"
    assert made.features == "a"


@pytest.mark.parametrize(
    ("name", "blob"),
    [
        ("caffenet", "fc7"),
        ("vgg16", "fc7"),
        ("googlenet", "pool5/7x7_s1"),
        ("squeezenet_v1.1", "fire9/concat"),
        ("resnet50", "pool5"),
        ("resnet50_half", "pool"),
    ],
)
def test_what_the_classifier_reads(tmp_path: Path, name: str, blob: str) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text(net_text(name))
    assert classifier_input(path) == blob
