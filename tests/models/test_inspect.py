"""Looking at a .caffemodel before training from it, with real Caffe."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lib.caffe.client import PROJECT
from lib.errors import UserError
from models.cards import Card, load_card
from models.compare import CAFFENET, Comparison, check_weights, compare
from models.nets import check_card_weights
from prototxt.caffenet import COPIED_LAYERS
from prototxt.description import describe
from prototxt.render import Run, render
from tests.small_models import CLASSIFIER, SMALL, write_small
from tests.warm_engine import WarmEngine, warm_engine


@pytest.fixture(scope="module")
def warm(engine_python: Path) -> Iterator[WarmEngine]:
    with warm_engine(engine_python) as running:
        yield running


@pytest.fixture(scope="module")
def good(warm: WarmEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(warm, tmp_path_factory.mktemp("good") / "good.caffemodel")


def check(warm: WarmEngine, path: Path, outputs: int | None = None) -> Comparison:
    return check_weights(warm, path, "fc8_small", expected=SMALL, outputs=outputs)


def refuse(warm: WarmEngine, path: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        check(warm, path, outputs=2)
    for word in words:
        assert word in str(caught.value)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["V2", "V1", "V0"])
def test_each_form_is_read_and_upgraded(warm: WarmEngine, tmp_path: Path, form: str) -> None:
    path = write_small(warm, tmp_path / "a model é.caffemodel", form)
    found = check(warm, path, outputs=2)
    assert found.form == form
    assert found.legacy == (form != "V2")
    assert found.copied == ("conv1", "conv2", "fc6")
    assert {row.layer: row.good for row in found.rows}["fc8_small"]
    shapes = {row.layer: row.found for row in found.rows}
    assert shapes["fc6"] == (((5, 24), (5,)) if form == "V2" else ((1, 1, 5, 24), (1, 1, 1, 5)))
    table = found.table()
    assert "1x1x5x24 + 1x1x1x5" in table or form == "V2"
    assert "left out: the source task's classifier" in table


def test_what_caffe_itself_saved(warm: WarmEngine, tmp_path: Path) -> None:
    """A net with data flow, groups and shared inputs, as `caffe train` snapshots it."""
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(
        """
        layer { name: "data" type: "Input" top: "data"
                input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }
        layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
                convolution_param { num_output: 4 kernel_size: 3
                                    weight_filler { type: "xavier" } } }
        layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
                convolution_param { num_output: 6 kernel_size: 3 group: 2
                                    weight_filler { type: "xavier" } } }
        layer { name: "fc6" type: "InnerProduct" bottom: "conv2" top: "fc6"
                inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
        layer { name: "fc8_small" type: "InnerProduct" bottom: "fc6" top: "fc8_small"
                inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
        """
    )
    path = tmp_path / "saved.caffemodel"
    warm.run(
        "import caffe, sys; caffe.Net(sys.argv[1], caffe.TEST).save(sys.argv[2])", prototxt, path
    )
    assert check(warm, path, outputs=2).copied == ("conv1", "conv2", "fc6")


def test_a_missing_layer(warm: WarmEngine, tmp_path: Path) -> None:
    layers = {name: shapes for name, shapes in SMALL.items() if name != "conv2"} | CLASSIFIER
    path = write_small(warm, tmp_path / "m.caffemodel", "V2", layers)
    refuse(warm, path, "layer 'conv2': missing from the file")


@pytest.mark.parametrize("form", ["V2", "V1"])
@pytest.mark.parametrize(
    ("layer", "shapes", "words"),
    [
        ("conv1", ((4, 3, 5, 5), (4,)), ("4x3x5x5 + 4", "4x3x3x3 + 4")),
        ("conv2", ((6, 4, 3, 3), (6,)), ("6x4x3x3 + 6", "6x2x3x3 + 6")),
        ("fc6", ((5, 25), (5,)), ("5x25 + 5", "5x24 + 5")),
        ("fc6", ((5, 24),), ("5x24,", "5x24 + 5")),
    ],
)
def test_a_wrong_shape(
    warm: WarmEngine,
    tmp_path: Path,
    form: str,
    layer: str,
    shapes: tuple[tuple[int, ...], ...],
    words: tuple[str, ...],
) -> None:
    path = write_small(warm, tmp_path / "m.caffemodel", form, {**SMALL, layer: shapes} | CLASSIFIER)
    refuse(warm, path, f"layer '{layer}'", *words)


def test_the_fully_convolutional_form(warm: WarmEngine, tmp_path: Path) -> None:
    """The sentiment project also gives out such a file: same names, fc6 is a convolution."""
    layers = {**SMALL, "fc6": ((5, 6, 2, 2), (5,)), **CLASSIFIER}
    path = write_small(warm, tmp_path / "m_conv.caffemodel", "V2", layers)
    refuse(warm, path, "layer 'fc6'", "5x6x2x2 + 5", "5x24 + 5")


def test_another_classifier(warm: WarmEngine, tmp_path: Path) -> None:
    path = write_small(warm, tmp_path / "m.caffemodel", "V2", SMALL | {"fc8": ((3, 5), (3,))})
    refuse(warm, path, "layer 'fc8_small': missing", "others: fc8")
    rows = compare(warm, path, None, expected=SMALL).rows
    assert rows[-1].verdict == "left out: not a layer of the net"


@pytest.mark.parametrize("form", ["V2", "V1"])
def test_another_number_of_outputs(warm: WarmEngine, tmp_path: Path, form: str) -> None:
    layers = SMALL | {"fc8_small": ((3, 5), (3,))}
    path = write_small(warm, tmp_path / "m.caffemodel", form, layers)
    refuse(warm, path, "layer 'fc8_small': 3 outputs where 2 are expected")


def test_truncated_anywhere(warm: WarmEngine, good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    path = tmp_path / "cut.caffemodel"
    for part in (0.1, 0.3, 0.6, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * part)])
        refuse(warm, path, "truncated", "conv" if part < 0.5 else "layer '")
    path.write_bytes(whole[: whole.index(b"fc6") + 2])  # within a name
    refuse(warm, path, "truncated: it ends inside the layer after layer 'conv2'")
    path.write_bytes(whole[: whole.index(b"fc6") - 6])  # between two layers
    refuse(warm, path, "layer 'fc6': missing")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404 not found</body></html>", "a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"\x1f\x8b\x08" + bytes(100), "still packed"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b'name: "CaffeNet"\nlayer { name: "data" }\n', "no .caffemodel"),
        (bytes(1000), "no .caffemodel"),
        (b"\x0a\x05small", "no layer with weights"),
    ],
)
def test_a_foreign_file(warm: WarmEngine, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "foreign.caffemodel"
    path.write_bytes(content)
    refuse(warm, path, words)


def test_caffes_other_files(warm: WarmEngine, tmp_path: Path) -> None:
    code = """
import sys
from caffe.proto import caffe_pb2
mean = caffe_pb2.BlobProto(num=1, channels=3, height=2, width=2)
mean.data.extend([1.0] * 12)
open(sys.argv[1] + "/mean.caffemodel", "wb").write(mean.SerializeToString())
state = caffe_pb2.SolverState(iter=3, learned_net="x.caffemodel")
state.history.add().CopyFrom(mean)
open(sys.argv[1] + "/state.caffemodel", "wb").write(state.SerializeToString())
net = caffe_pb2.NetParameter()
layer = net.layer.add(name="conv1", type="Convolution")
blob = layer.blobs.add()
blob.shape.dim.extend([4, 3, 3, 3])
blob.data.extend([1.0] * 12)
open(sys.argv[1] + "/short.caffemodel", "wb").write(net.SerializeToString())
"""
    warm.run(code, tmp_path)
    refuse(warm, tmp_path / "mean.caffemodel", "no .caffemodel")
    refuse(warm, tmp_path / "state.caffemodel", "no .caffemodel")
    refuse(
        warm,
        tmp_path / "short.caffemodel",
        "layer 'conv1': blob 0 has shape 4x3x3x3, that is 108 numbers, but holds 12",
    )


def test_nan_weights(warm: WarmEngine, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "nan.caffemodel"
    code = """
import sys
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter.FromString(open(sys.argv[1], "rb").read())
net.layer[1].blobs[0].data[3] = float("nan")
open(sys.argv[2], "wb").write(net.SerializeToString())
"""
    warm.run(code, good, path)
    refuse(warm, path, "layer 'conv2': the file holds NaN")


def test_doubles_are_read_as_caffe_reads_them(warm: WarmEngine, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "double.caffemodel"
    code = """
import sys
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter.FromString(open(sys.argv[1], "rb").read())
for layer in net.layer:
    for blob in layer.blobs:
        blob.double_data.extend(blob.data)
        del blob.data[:]
open(sys.argv[2], "wb").write(net.SerializeToString())
"""
    warm.run(code, good, path)
    assert check(warm, path).copied == ("conv1", "conv2", "fc6")


def test_no_file(warm: WarmEngine, tmp_path: Path) -> None:
    refuse(warm, tmp_path / "none.caffemodel", "no weights at")


def test_the_tool_prints_the_table_and_then_the_problem(good: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.inspect", "--weights", str(good)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 2
    assert done.stdout.splitlines()[1].split() == [
        "layer",
        "in",
        "the",
        "file",
        "CaffeNet",
        "verdict",
    ]
    assert "96x3x11x11 + 96" in done.stdout
    (error,) = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "layer 'conv1': the file has 4x3x3x3 + 4, CaffeNet 96x3x11x11 + 96" in error
    assert "layer 'fc7': missing from the file" in error


@pytest.mark.caffenet
def test_the_real_caffenet(warm: WarmEngine, tmp_path: Path) -> None:
    """The shapes that we expect are those that Caffe gives the net that we train."""
    assert tuple(CAFFENET) == COPIED_LAYERS
    run = Run(
        task="met_nationality",
        classes=4,
        train=100,
        val=10,
        train_lmdb="train_lmdb",
        val_lmdb="val_lmdb",
        mean="mean.binaryproto",
        net="train_val.prototxt",
        snapshot_prefix="snapshot",
    )
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(render(run)["deploy.prototxt"], encoding="utf-8")
    path = tmp_path / "full.caffemodel"
    warm.run(
        "import caffe, sys; caffe.Net(sys.argv[1], caffe.TEST).save(sys.argv[2])", deploy, path
    )
    found = check_weights(warm, path, "fc8_met_nationality", outputs=4)
    assert found.copied == COPIED_LAYERS
    assert found.size > 200e6


# ---- The net that a file carries ----

_ORDERED = """
import sys
import caffe
caffe.Net(sys.argv[1], caffe.TEST).save(sys.argv[2])
"""


_CARD = """---
name: small
caffemodel: small.caffemodel
license: none
mean: mean.binaryproto
last_layer: fc
outputs: 2
source_task: none
citation: none
---
"""


def small_zoo(root: Path, warm: WarmEngine, *, pools_first: bool) -> Card:
    """A model as a zoo gives it out: a net of its own that pools or normalises first."""
    folder = root / "small"
    folder.mkdir(parents=True)
    pool = 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }'
    first, second = (pool, 'type: "LRN"') if pools_first else ('type: "LRN"', pool)
    (folder / "deploy.prototxt").write_text(
        'name: "small"\n'
        'layer { name: "data" type: "Input" top: "data"\n'
        "  input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n"
        'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"\n'
        '  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }\n'
        f'layer {{ name: "one" bottom: "conv1" top: "one" {first} }}\n'
        f'layer {{ name: "two" bottom: "one" top: "two" {second} }}\n'
        'layer { name: "fc" type: "InnerProduct" bottom: "two" top: "fc"\n'
        '  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n'
        'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }\n'
    )
    (folder / "readme.md").write_text(_CARD)
    card = load_card("small", root)
    warm.run(_ORDERED, folder / "deploy.prototxt", card.weights_path)
    return card


def test_another_order_of_layers_is_told(warm: WarmEngine, tmp_path: Path) -> None:
    text = (
        'name: "small"\n'
        'layer { name: "data" type: "Input" top: "data"\n'
        "  input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n"
        'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"\n'
        '  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }\n'
        'layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"\n'
        "  pooling_param { kernel_size: 3 stride: 2 } }\n"
        'layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" }\n'
        'layer { name: "fc" type: "InnerProduct" bottom: "norm1" top: "fc"\n'
        "  inner_product_param { num_output: 2 } }\n"
        'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }\n'
    )
    swapped = (
        text.replace('bottom: "conv1" top: "pool1"', 'bottom: "X" top: "Y"')
        .replace('bottom: "pool1" top: "norm1"', 'bottom: "conv1" top: "norm1"')
        .replace('bottom: "norm1" top: "fc"', 'bottom: "pool1" top: "fc"')
        .replace('bottom: "X" top: "Y"', 'bottom: "norm1" top: "pool1"')
    )
    lines = swapped.split("layer ")
    lines[3], lines[4] = lines[4], lines[3]
    swapped = "layer ".join(lines)
    nets, files = {}, {}
    for name, each in (("pools first", text), ("normalises first", swapped)):
        path = tmp_path / f"{name}.prototxt"
        path.write_text(each)
        files[name] = path.with_suffix(".caffemodel")
        warm.run(_ORDERED, path, files[name])
        nets[name] = describe(warm, path)
    expected = nets["pools first"].weights
    for name, weights in files.items():
        found = compare(warm, weights, expected=expected, net=nets["pools first"])
        assert found.problem is None
        if name == "pools first":
            assert found.require().other_order is None
        else:
            says = "before layer 'fc' it has LRN then Pooling, this net Pooling then LRN"
            with pytest.raises(UserError, match=f"{says}.*ANY_ORDER=1 goes on"):
                found.require()


def test_another_order_goes_on_when_asked(warm: WarmEngine, tmp_path: Path) -> None:
    root = tmp_path / "models"
    card, weights = small_zoo(root, warm, pools_first=True), root / "small" / "x.caffemodel"
    other = small_zoo(tmp_path / "other", warm, pools_first=False)
    shutil.copy(other.weights_path, weights)
    with pytest.raises(UserError, match="ANY_ORDER=1"):
        check_card_weights(warm, weights, card, [card])
    said: list[str] = []
    check_card_weights(warm, weights, card, [card], any_order=True, warn=said.append)
    assert "carries another net" in said[0]
    assert len(said) == 1


def test_a_classifier_of_another_name_is_accepted_and_said(
    warm: WarmEngine, tmp_path: Path
) -> None:
    card = small_zoo(tmp_path, warm, pools_first=True)
    renamed = replace(card, last_layer="fc8")
    said: list[str] = []
    check_card_weights(warm, card.weights_path, renamed, [card], warn=said.append)
    assert said == [
        f"{card.weights_path}: 'fc' is taken for the classifier (its card calls it 'fc8')"
    ]
    with pytest.raises(UserError, match="layer 'fc8': missing from the file"):
        check_card_weights(warm, card.weights_path, replace(renamed, outputs=9), [card])
