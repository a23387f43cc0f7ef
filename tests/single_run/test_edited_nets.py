"""Prototxts edited by hand: what Caffe trains by is validated, tested and recorded right.

Or it is refused before the training, in one line. The right numbers are computed apart from the
worker: the deploy net in pycaffe, images and mean in plain NumPy, weights by `caffe train`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from experiments.single_run.backups import backups_of
from experiments.single_run.curve import read
from experiments.single_run.training import train
from lib.caffe.messages import Datum
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from tests.small_world import DATA, TASK, Plan, World, edit, inputs

pytestmark = pytest.mark.slow

InEngine = Callable[..., str]
SHORT = Plan(max_iter=6, test_interval=3, snapshot=0)

# argv: deploy.prototxt, weights, images (.npy). Prints what the net gives for each, class by class.
_CLASSIFY = """
import sys, json
import caffe, numpy
net = caffe.Net(sys.argv[1], caffe.TEST, weights=sys.argv[2])
rows = []
for image in numpy.load(sys.argv[3]):
    net.blobs[net.inputs[0]].data[...] = image
    rows.append(net.forward()[net.outputs[0]][0].tolist())
print(json.dumps(rows))
"""


@pytest.fixture
def check(world: World, tmp_path: Path, in_engine: InEngine) -> Callable[[str], None]:
    """Train a run, test it, and compare with what Caffe gives apart from us."""

    def check(name: str) -> None:
        train(world.job(name))
        folder = world.folder(name)
        by_hand = world.caffe_train(name, tmp_path / f"by_hand_{name}")
        assert folder.final.read_bytes() == by_hand.read_bytes()
        done = world.tool(name, tool="evaluate")
        assert done.returncode == 0, done.stderr
        images, labels = zip(*(inputs(part) for part in ("val", "test")), strict=True)
        np.save(tmp_path / "images.npy", np.concatenate(images))
        said = in_engine(_CLASSIFY, folder.deploy, folder.final, tmp_path / "images.npy")
        val, test = np.split(np.array(json.loads(said)), [len(labels[0])])
        last = read(folder.curve)[-1]
        assert last.val_accuracy == (val.argmax(axis=1) == labels[0]).mean()
        loss = -np.log(val[np.arange(len(val)), labels[0]]).mean()
        assert last.val_loss == pytest.approx(loss, abs=1e-4)
        results = json.loads(folder.results.read_text())
        assert results["images"] == len(test)
        assert results["top1"] == (test.argmax(axis=1) == labels[1]).mean()
        with (folder.path / "predictions.csv").open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        best = [float(row["probability1"]) for row in rows]
        assert best == pytest.approx(test.max(axis=1).tolist(), abs=1e-5)

    return check


def refused(world: World, name: str, words: str) -> None:
    """The training is refused in one line, and nothing was trained."""
    with pytest.raises(UserError, match=words) as raised:
        train(world.job(name))
    assert "\n" not in str(raised.value)
    assert not world.folder(name).final.exists()
    curve = world.folder(name).curve
    assert not curve.exists() or not read(curve)


def split(net: Path) -> tuple[str, str, str]:
    """The texts of a train_val: its TRAIN data layer, its TEST one, the layers after them."""
    text = net.read_text()
    train_data, test_data, rest = re.split(r"(?m)^(?=layer)", text, maxsplit=3)[1:]
    return train_data, test_data, rest


# ---- Where the nets are ----


def test_another_file_than_ours(world: World, check: Callable[[str], None]) -> None:
    folder = world.write("a", SHORT)
    theirs = Path("nets/theirs.prototxt")
    theirs.parent.mkdir()
    (folder / "train_val.prototxt").rename(theirs)
    edit(theirs, "dropout_ratio: 0.3", "dropout_ratio: 0.4")
    (folder / "train_val.prototxt").write_text("name: 'left behind'\n")
    edit(folder / "solver.prototxt", f"{folder}/train_val.prototxt", str(theirs))
    check("a")
    assert world.folder("a").train_val.read_bytes() == theirs.read_bytes()
    # It is what the run is made from: an edit there is noticed, one of the file left behind is not.
    (folder / "train_val.prototxt").write_text("name: 'still not read'\n")
    before = world.weights("a")
    train(world.job("a"))
    assert not backups_of(world.folder("a"))
    edit(theirs, "dropout_ratio: 0.4", "dropout_ratio: 0.5")
    train(world.job("a"))
    assert len(backups_of(world.folder("a"))) == 1
    assert world.weights("a") != before


def test_two_solvers_for_one_net(world: World, check: Callable[[str], None]) -> None:
    world.write("a", SHORT)
    folder = world.write("b", SHORT)
    (folder / "train_val.prototxt").unlink()
    edit(folder / "solver.prototxt", f"/{TASK}/b/train_val", f"/{TASK}/a/train_val")
    edit(folder / "solver.prototxt", "random_seed: 7", "random_seed: 8")
    check("a")
    check("b")
    assert world.weights("a") != world.weights("b")
    edit(
        Path(f"prototxt/{TASK}/a/train_val.prototxt"), "negative_slope: 0.1", "negative_slope: 0.2"
    )
    for name in ("a", "b"):
        train(world.job(name))
        assert len(backups_of(world.folder(name))) == 1


def apart(folder: Path) -> tuple[str, str]:
    """A train_val as two nets: the text of the one that trains, and of the one that tests."""
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    trains = re.sub(r"(?m)^layer \{ name: \"accuracy\".*\n", "", rest)
    clean = re.compile(r" ?include \{ phase: T\w+ \}")
    return clean.sub("", train_data + trains), clean.sub("", test_data + rest)


@pytest.mark.parametrize("form", ["files", "inline", "net_param", "test_inline", "test_beside_net"])
def test_nets_of_their_own_for_training_and_test(
    world: World, check: Callable[[str], None], form: str
) -> None:
    folder = world.write("a", SHORT)
    solver = folder / "solver.prototxt"
    net_line = f'net: "{folder}/train_val.prototxt"\n'
    training, testing = apart(folder)
    training_file, testing_file = folder / "training.prototxt", folder / "testing.prototxt"
    whole = (folder / "train_val.prototxt").read_text()
    if form == "net_param":
        lines = f"net_param {{\n{whole}}}\n"
    elif form == "inline":
        lines = f"train_net_param {{\n{training}}}\ntest_net_param {{\n{testing}}}\n"
    elif form == "test_inline":
        training_file.write_text(training)
        lines = f'train_net: "{training_file}"\ntest_net_param {{\n{testing}}}\n'
    elif form == "test_beside_net":
        testing_file.write_text(testing)
        lines = f'{net_line}test_net: "{testing_file}"\n'
    else:
        training_file.write_text(training)
        testing_file.write_text(testing)
        lines = f'train_net: "{training_file}"\ntest_net: "{testing_file}"\n'
    edit(solver, net_line, lines)
    if form != "test_beside_net":
        (folder / "train_val.prototxt").unlink()
    check("a")


def test_one_of_several_test_nets_reads_the_validation_images(
    world: World, check: Callable[[str], None]
) -> None:
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    on_val = test_data.replace("phase: TEST", 'phase: TEST stage: "val"')
    on_train = train_data.replace("phase: TRAIN", 'phase: TEST stage: "train"')
    on_train = on_train.replace("mirror: true", "mirror: false")
    (folder / "train_val.prototxt").write_text(train_data + on_train + on_val + rest)
    both = (
        'test_iter: 4\ntest_state { stage: "train" }\ntest_iter: 3\ntest_state { stage: "val" }\n'
    )
    edit(folder / "solver.prototxt", "test_iter: 3\n", both)
    check("a")
    edit(folder / "train_val.prototxt", str(DATA.lmdb("val")), str(DATA.lmdb("train")))
    world.write("b", SHORT)
    for name in ("train_val", "solver"):
        text = (folder / f"{name}.prototxt").read_text()
        Path(f"prototxt/{TASK}/b/{name}.prototxt").write_text(
            text.replace(f"{TASK}/a", f"{TASK}/b")
        )
    refused(
        world,
        "b",
        "solver.prototxt: several test nets, and none of them reads .*val_lmdb: which one",
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "solver.prototxt: no `net:` line"),
        ('train_net: "z.prototxt"\nnet: "y.prototxt"\n', "both net and train_net"),
        ('train_net: "x.prototxt"\n', "x.prototxt is missing"),
        ('train_net: "y.prototxt"\n', "0 test nets, but 1 test_iter"),
        (
            'train_net: "y.prototxt"\ntest_net: "y.prototxt"\ntest_net: "z.prototxt"\n',
            "2 test nets, but 1 test_iter",
        ),
    ],
)
def test_solvers_that_name_no_such_nets(world: World, line: str, words: str) -> None:
    folder = world.write("a", SHORT)
    for name in re.findall(r"[yz].prototxt", line):
        Path(name).write_bytes((folder / "train_val.prototxt").read_bytes())
    edit(folder / "solver.prototxt", f'net: "{folder}/train_val.prototxt"\n', line)
    refused(world, "a", words)


def test_weights_in_a_solver_are_refused(world: World) -> None:
    folder = world.write("a", SHORT)
    edit(folder / "solver.prototxt", "max_iter", 'weights: "some.caffemodel"\nmax_iter')
    refused(world, "a", "solver.prototxt: `weights: .some.caffemodel.`.*INIT=")


# ---- Rules ----


@pytest.mark.parametrize(
    ("ours", "other", "state"),
    [
        (
            'include { phase: TEST stage: "a" }',
            'include { phase: TEST not_stage: "a" }',
            'stage: "a"',
        ),
        ("include { phase: TEST }", 'include { phase: TEST stage: "b" }', 'stage: "a"'),
        (
            'include { phase: TEST stage: "a" stage: "b" }',
            'include { stage: "c" }',
            'stage: "b" stage: "a"',
        ),
        (
            "include { phase: TEST min_level: 1 }",
            "include { phase: TEST max_level: 0 }",
            "level: 1",
        ),
        (
            "exclude { phase: TRAIN }",
            "exclude { phase: TRAIN } exclude { min_level: 1 }",
            "level: 2",
        ),
        ('include { stage: "a" }', 'exclude { phase: TRAIN } exclude { stage: "a" }', 'stage: "a"'),
    ],
)
def test_rules_are_those_of_caffe(
    world: World, check: Callable[[str], None], ours: str, other: str, state: str
) -> None:
    """Another TEST data layer, of other images, is in the file, but not in the net."""
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    right = test_data.replace("include { phase: TEST }", ours)
    wrong = test_data.replace("include { phase: TEST }", other).replace("val_lmdb", "test_lmdb")
    (folder / "train_val.prototxt").write_text(wrong + train_data + right + rest)
    edit(folder / "solver.prototxt", "max_iter", f"test_state {{ {state} }}\nmax_iter")
    check("a")


def test_rules_of_the_training_net(world: World, check: Callable[[str], None]) -> None:
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    right = train_data.replace("phase: TRAIN", 'phase: TRAIN stage: "a"')
    wrong = train_data.replace("phase: TRAIN", 'phase: TRAIN not_stage: "a"')
    wrong = wrong.replace("train_lmdb", "test_lmdb").replace("batch_size: 4", "batch_size: 2")
    (folder / "train_val.prototxt").write_text(wrong + right + test_data + rest)
    edit(folder / "solver.prototxt", "max_iter", 'train_state { stage: "a" }\nmax_iter')
    check("a")
    record = json.loads(world.folder("a").record.read_text())
    assert record["batch"] == 8
    assert read(world.folder("a").curve)[-1].epoch == round(6 * 8 / 22, 4)


def test_a_state_in_the_net_itself(world: World, check: Callable[[str], None]) -> None:
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    right = test_data.replace("phase: TEST", 'phase: TEST stage: "a"')
    wrong = test_data.replace("phase: TEST", 'phase: TEST not_stage: "a"')
    net = 'state { stage: "a" }\n' + train_data + wrong.replace("val_lmdb", "test_lmdb")
    (folder / "train_val.prototxt").write_text(net + right + rest)
    check("a")


# ---- V1 ----

_V1_TYPES = {
    "Data": "DATA",
    "Convolution": "CONVOLUTION",
    "ReLU": "RELU",
    "Pooling": "POOLING",
    "LRN": "LRN",
    "InnerProduct": "INNER_PRODUCT",
    "Dropout": "DROPOUT",
    "Accuracy": "ACCURACY",
    "SoftmaxWithLoss": "SOFTMAX_LOSS",
    "Softmax": "SOFTMAX",
}


def as_v1(text: str) -> str:
    """A net in the form of 2014: `layers`, types in capitals, blobs_lr in place of param."""
    text = re.sub(r"(?m)^layer \{", "layers {", text)
    text = re.sub(
        r'type: "(\w+)"', lambda match: f"type: {_V1_TYPES.get(match[1], match[0])}", text
    )
    text = re.sub(r"type: type: (\S+)", r"type: \1", text)
    return re.sub(r"param \{ lr_mult: (\d+) \}", r"blobs_lr: \1", text)


@pytest.mark.parametrize("scenario", ["all", "skip_first2"])
@pytest.mark.parametrize("deploy_too", [True, False])
def test_nets_of_2014(
    world: World, check: Callable[[str], None], scenario: str, deploy_too: bool
) -> None:
    folder = world.write("a", Plan(max_iter=6, snapshot=0, scenario=scenario))
    for name in ("train_val", "deploy") if deploy_too else ("train_val",):
        net = folder / f"{name}.prototxt"
        text = as_v1(net.read_text())
        if name == "deploy":
            text = re.sub(
                r"(?m)^layers \{ name: \"data\".*$",
                'input: "data" input_dim: 1 input_dim: 3 input_dim: 64 input_dim: 64',
                text,
            )
        net.write_text(text)
    check("a")
    layers = json.loads(world.folder("a").record.read_text())["layers"]
    frozen = {layer["name"] for layer in layers if layer["frozen"]}
    assert frozen == set(SCENARIOS[scenario])


# ---- Where the images come from ----


def image_list(path: Path, part: str) -> Path:
    """A part's list as ImageData reads it, with whole paths."""
    root = json.loads(DATA.record.read_text())["images_root"]
    path.write_text(
        "".join(f"{root}/{line}\n" for line in DATA.list(part).read_text().splitlines())
    )
    return path


def from_list(layer: str, source: Path, more: str = "new_height: 256 new_width: 256") -> str:
    """A Data layer's text as one of ImageData."""
    layer = layer.replace('type: "Data"', 'type: "ImageData"')
    (batch,) = re.findall(r"batch_size: (\d+)", layer)
    read = f'image_data_param {{ source: "{source}" batch_size: {batch} {more} }}'
    return re.sub(r"data_param \{ source.*?\}", read, layer)


@pytest.mark.parametrize("where", ["both", "train", "test"])
def test_images_of_a_list(
    world: World, check: Callable[[str], None], tmp_path: Path, where: str
) -> None:
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    if where != "test":
        train_data = from_list(train_data, image_list(tmp_path / "train.txt", "train"))
    if where != "train":
        test_data = from_list(test_data, image_list(tmp_path / "val.txt", "val"))
    (folder / "train_val.prototxt").write_text(train_data + test_data + rest)
    check("a")
    assert read(world.folder("a").curve)[-1].epoch == round(6 * 8 / 22, 4)


def test_a_shuffled_list_is_no_list_to_validate_by(world: World, tmp_path: Path) -> None:
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    source = image_list(tmp_path / "val.txt", "val")
    test_data = from_list(test_data, source, "new_height: 256 new_width: 256 shuffle: true")
    (folder / "train_val.prototxt").write_text(train_data + test_data + rest)
    refused(world, "a", "layer 'data': .*shuffle")


@pytest.mark.parametrize("skip", ["", "rand_skip: 5"])
def test_encoded_images(
    world: World, check: Callable[[str], None], tmp_path: Path, skip: str
) -> None:
    """The same pixels as PNGs in the LMDBs, as `convert_imageset -encoded` writes them."""
    folder = world.write("a", SHORT)
    for part in ("train", "val"):
        with (
            lmdb.open(str(DATA.lmdb(part)), readonly=True, lock=False) as plain,
            lmdb.open(str(tmp_path / part), map_size=1 << 28) as encoded,
            plain.begin() as reader,
            encoded.begin(write=True) as writer,
        ):
            for key, value in reader.cursor():
                datum = Datum()
                datum.ParseFromString(value)
                pixels = np.frombuffer(datum.data, np.uint8).reshape(3, 256, 256)
                png = cv2.imencode(".png", pixels.transpose(1, 2, 0))[1].tobytes()
                new = Datum(data=png, label=datum.label, encoded=True)
                writer.put(key, new.SerializeToString())
        edit(folder / "train_val.prototxt", str(DATA.lmdb(part)), str(tmp_path / part))
    if skip:
        edit(folder / "train_val.prototxt", "batch_size: 5", f"batch_size: 5 {skip}")
    check("a")


def test_test_images_that_the_net_cannot_take_are_found_out_first(world: World) -> None:
    """What evaluate would stumble over is said before the training."""
    folder = world.write("a", SHORT)
    for name in ("train_val", "deploy"):
        net = folder / f"{name}.prototxt"
        net.write_text(net.read_text().replace("crop_size: 64", "crop_size: 300"))
    refused(world, "a", "300|crop")
    folder = world.write("b", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    (folder / "train_val.prototxt").write_text(
        train_data + test_data.replace("crop_size: 64", "crop_size: 96") + rest
    )
    refused(world, "b", "the TEST net .* layer 'fc6'")


# argv: images, labels (.npy), the file to write.
_HDF5 = """
import sys, caffe, numpy
images, labels = numpy.load(sys.argv[1]), numpy.load(sys.argv[2])
out = sys.argv[3]
text = 'force_backward: true input: "data" input: "label" '
text += "input_shape { dim: %d dim: 3 dim: 64 dim: 64 } " % len(images)
text += "input_shape { dim: %d } " % len(images)
text += 'layer { name: "out" type: "HDF5Output" bottom: "data" bottom: "label" '
text += 'hdf5_output_param { file_name: "%s" } }' % out
open(out + ".prototxt", "w").write(text)
net = caffe.Net(out + ".prototxt", caffe.TEST)
net.blobs["data"].data[...] = images
net.blobs["label"].data[...] = labels
net.forward()
"""


def hdf5(layer: str, source: Path) -> str:
    """A Data layer's text as one of HDF5Data."""
    layer = re.sub(
        r"transform_param \{.*?\}", "", layer.replace('type: "Data"', 'type: "HDF5Data"')
    )
    (batch,) = re.findall(r"batch_size: (\d+)", layer)
    read = f'hdf5_data_param {{ source: "{source}" batch_size: {batch} }}'
    return re.sub(r"data_param \{ source.*?\}", read, layer)


def test_images_in_hdf5(
    world: World, check: Callable[[str], None], tmp_path: Path, in_engine: InEngine
) -> None:
    """They can be trained on; but how test images become such numbers is not known."""
    images, labels = inputs("train")
    np.save(tmp_path / "i.npy", images)
    np.save(tmp_path / "l.npy", labels.astype(np.float32))
    in_engine(_HDF5, tmp_path / "i.npy", tmp_path / "l.npy", tmp_path / "train.h5")
    source = tmp_path / "train_h5.txt"
    source.write_text(f"{tmp_path / 'train.h5'}\n")
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    (folder / "train_val.prototxt").write_text(hdf5(train_data, source) + test_data + rest)
    check("a")
    world.write("b", SHORT)
    net = Path(f"prototxt/{TASK}/b/train_val.prototxt")
    net.write_text(train_data + hdf5(test_data, source) + rest)
    refused(world, "b", "layer 'data' .HDF5Data.: the TEST net must read a Data or ImageData layer")


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_images_in_memory_are_refused(world: World, phase: str) -> None:
    folder = world.write("a", SHORT)
    train_data, test_data, rest = split(folder / "train_val.prototxt")
    memory = (
        f'layer {{ name: "data" type: "MemoryData" include {{ phase: {phase} }} '
        'top: "data" top: "label" '
        "memory_data_param { batch_size: 4 channels: 3 height: 64 width: 64 } }\n"
    )
    both = memory + test_data if phase == "TRAIN" else train_data + memory
    (folder / "train_val.prototxt").write_text(both + rest)
    refused(world, "a", "layer 'data' .MemoryData.")


# ---- Several heads ----

_AUX = """
layer { name: "aux_fc" type: "InnerProduct" bottom: "pool1" top: "aux_fc" inner_product_param {
  num_output: 3 weight_filler { type: "gaussian" std: 0.0001 } } }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux_fc" bottom: "label" top: "aux_loss"
  loss_weight: 0.001 }
layer { name: "aux_accuracy" type: "Accuracy" bottom: "aux_fc" bottom: "label" top: "aux_accuracy"
  include { phase: TEST } }
"""


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_head_is_that_of_the_deploy_net(
    world: World, check: Callable[[str], None], place: str
) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    if place == "last":
        net.write_text(net.read_text() + _AUX)
    else:
        edit(net, 'layer { name: "norm1"', _AUX + 'layer { name: "norm1"')
    check("a")
    # The other head, when that is what the deploy net ends in.
    other = world.write("b", SHORT)
    (other / "train_val.prototxt").write_text(net.read_text().replace(f"{TASK}/a", f"{TASK}/b"))
    deploy = (other / "deploy.prototxt").read_text()
    cut = deploy[: deploy.index('layer { name: "norm1"')]
    head = _AUX[: _AUX.index('layer { name: "aux_loss"')]
    last = 'layer { name: "prob" type: "Softmax" bottom: "aux_fc" top: "prob" }\n'
    (other / "deploy.prototxt").write_text(cut + head + last)
    check("b")


def test_a_deploy_net_without_softmax_says_the_head_too(world: World) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    net.write_text(net.read_text() + _AUX)
    deploy = folder / "deploy.prototxt"
    deploy.write_text(re.sub(r"(?m)^layer \{ name: \"prob\".*\n", "", deploy.read_text()))
    train(world.job("a"))
    done = world.tool("a", tool="evaluate")
    assert done.returncode == 0, done.stderr


def test_heads_that_nobody_can_tell_apart_are_refused(world: World) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    net.write_text(net.read_text() + _AUX)
    deploy = folder / "deploy.prototxt"
    deploy.write_text(deploy.read_text()[: deploy.read_text().index('layer { name: "fc8')])
    refused(world, "a", "several losses")


_LOSS = re.compile(r"(?m)^layer \{ name: \"loss\".*\n")
_SOFTMAX = 'layer { name: "p" type: "Softmax" bottom: "fc8_tiny" top: "p" }\n'
_MULTINOMIAL = (
    'layer { name: "loss" type: "MultinomialLogisticLoss" bottom: "p" bottom: "label" '
    'top: "loss" }\n'
)


@pytest.mark.parametrize("kind", ["only_accuracy", "multinomial", "accuracy_of_softmax"])
def test_other_ways_to_say_a_classifier(
    world: World, check: Callable[[str], None], kind: str
) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    text = net.read_text()
    if kind == "only_accuracy":
        text = text.replace('layer { name: "loss"', 'layer { include { phase: TRAIN } name: "loss"')
    elif kind == "multinomial":
        text = _LOSS.sub(_SOFTMAX + _MULTINOMIAL, text)
    else:
        text = text.replace('layer { name: "loss"', 'layer { include { phase: TRAIN } name: "loss"')
        text = text.replace('layer { name: "accuracy"', _SOFTMAX + 'layer { name: "accuracy"')
        text = text.replace('"Accuracy" bottom: "fc8_tiny"', '"Accuracy" bottom: "p"')
    net.write_text(text)
    check("a")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('type: "SoftmaxWithLoss"', 'type: "HingeLoss"', "layer 'loss' .HingeLoss."),
        (
            'type: "SoftmaxWithLoss"',
            'type: "SoftmaxWithLoss" loss_param { ignore_label: 1 }',
            "ignore_label",
        ),
        ('top: "loss" }', 'top: "loss" include { phase: TRAIN } }', "nothing to score"),
    ],
)
def test_what_evaluate_could_not_score_is_refused_first(
    world: World, before: str, after: str, words: str
) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    if "TRAIN" in after:
        net.write_text(re.sub(r"(?m)^layer \{ name: \"accuracy\".*\n", "", net.read_text()))
    edit(net, before, after)
    refused(world, "a", words)


# ---- Layers with other blobs ----

_NORMALISED = """layer { name: "bn3" type: "BatchNorm" bottom: "conv3" top: "conv3" }
layer { name: "scale3" type: "Scale" bottom: "conv3" top: "conv3" scale_param { bias_term: true } }
layer { name: "prelu3" type: "PReLU" bottom: "conv3" top: "conv3" }
"""


def normalise(folder: Path) -> None:
    """Put BatchNorm, Scale and PReLU in the place of a ReLU, in both nets."""
    for name in ("train_val", "deploy"):
        net = folder / f"{name}.prototxt"
        new = re.sub(r"(?m)^layer \{ name: \"relu_conv3\".*\n", _NORMALISED, net.read_text())
        assert new != net.read_text()
        net.write_text(new)


def test_layers_with_other_blobs(world: World, check: Callable[[str], None]) -> None:
    """The statistics of BatchNorm move though their lr_mult is 0; frozen ones stay."""
    folder = world.write("a", SHORT)
    normalise(folder)
    check("a")
    layers = {
        each["name"]: each for each in json.loads(world.folder("a").record.read_text())["layers"]
    }
    assert layers["bn3"]["shapes"] == [[6], [6], [1]]
    for name in ("bn3", "scale3", "prelu3"):
        assert layers[name]["changed"]
        assert not layers[name]["frozen"]
    # From there, all of it frozen.
    folder = world.write("b", Plan(max_iter=6, snapshot=0, scenario="only_last3"))
    normalise(folder)
    net = folder / "train_val.prototxt"
    edit(net, 'name: "bn3"', 'name: "bn3" batch_norm_param { use_global_stats: true }')
    edit(net, 'name: "scale3"', 'name: "scale3" param { lr_mult: 0 } param { lr_mult: 0 }')
    edit(net, 'name: "prelu3"', 'name: "prelu3" param { lr_mult: 0 }')
    train(world.job("b", f"run:{TASK}/a", "only_last3"))
    layers = {
        each["name"]: each for each in json.loads(world.folder("b").record.read_text())["layers"]
    }
    for name in ("bn3", "scale3", "prelu3", "conv3"):
        assert layers[name]["transferred"]
        assert layers[name]["frozen"]
        assert not layers[name]["changed"]
    done = world.tool("b", tool="evaluate")
    assert done.returncode == 0, done.stderr


def test_a_learning_layer_that_nothing_reaches_is_no_failure(
    world: World, check: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    net.write_text(net.read_text() + _AUX.replace("loss_weight: 0.001", "loss_weight: 0"))
    edit(folder / "solver.prototxt", "weight_decay: 0.0005", "weight_decay: 0")
    check("a")
    assert "warning: aux_fc did not change" in capsys.readouterr().err


def test_a_layer_of_the_test_net_that_is_not_trained_is_refused(world: World) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    text = net.read_text().splitlines(keepends=True)
    place = next(n for n, line in enumerate(text) if line.startswith('layer { name: "accuracy"'))
    text.insert(
        place,
        'layer { name: "more" type: "InnerProduct" bottom: "fc8_tiny" top: "fc8_tiny_2" '
        "inner_product_param { num_output: 3 } include { phase: TEST } }\n",
    )
    net.write_text("".join(text))
    refused(world, "a", "layer 'more'")
