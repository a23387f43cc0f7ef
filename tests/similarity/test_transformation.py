"""What a run's TEST net makes of pixels is what features and explanations make of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.similarity.collection import task_collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import find_model
from experiments.similarity.make_features import make_features
from lib.caffe.device import Device
from lib.caffe.messages import Datum
from lib.errors import UserError
from tests.similar_world import CLASSES, DATA, TASK, SimilarWorld, build, pixels_of
from tests.small_world import TEST_BATCH, Plan, deploy, train_val

# argv: train_val, weights, target, score. One batch of the TEST net, as `caffe test` runs it.
_TEST_NET = """
import sys
import caffe, numpy
net = caffe.Net(sys.argv[1], sys.argv[2], caffe.TEST)
net.forward()
score = net.blobs[sys.argv[4]].data
powers = numpy.exp(score - score.max(axis=1, keepdims=True))
numpy.savez(sys.argv[3], data=net.blobs["data"].data, fc7=net.blobs["fc7"].data,
            probabilities=powers / powers.sum(axis=1, keepdims=True))
"""

PLAN = Plan(task=TASK, classes=len(CLASSES))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, in_engine: Callable[..., str]) -> SimilarWorld:
    """The small world, built once; each test writes the run's nets and weights anew."""
    folder = tmp_path_factory.mktemp("transformation")
    before = Path.cwd()
    os.chdir(folder)
    try:
        made = build(in_engine)
    finally:
        os.chdir(before)
    made.__dict__["place"] = folder
    return made


@pytest.fixture(autouse=True)
def inside(world: SimilarWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.__dict__["place"])


def encoded_lmdb(path: Path) -> NDArray[np.uint8]:
    """The validation images as PNGs in an LMDB, as convert_imageset --encoded makes them."""
    pixels = pixels_of(DATA, "val")
    with lmdb.open(str(path), map_size=1 << 28) as env, env.begin(write=True) as writer:
        for number, image in enumerate(pixels):
            png = cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes()
            writer.put(b"%08d" % number, Datum(data=png, encoded=True, label=0).SerializeToString())
    return pixels


def net_of(transform: str, lmdb_path: Path, channels: int = 3, crop: int = 64) -> None:
    """Write the run's train_val with this TEST transformation, and its deploy net."""
    head, word, rest = train_val(PLAN).partition("phase: TEST")
    before, _, after = rest.partition("transform_param {")
    text = head + word + before + "transform_param {" + transform + after[after.index("}") :]
    place = text.index('source: "', len(head))
    end = text.index('"', place + 9)
    run = SimilarWorld(lambda *_: "").run("first")
    run.train_val.write_text(text[:place] + f'source: "{lmdb_path}' + text[end:])
    run.deploy.write_text(
        deploy(PLAN).replace("dim: 3 dim: 64 dim: 64", f"dim: {channels} dim: {crop} dim: {crop}")
    )


MEAN = f'mean_file: "{DATA.mean}"'
CASES = {
    "as made": f"crop_size: 64 {MEAN}",
    "scale": f"crop_size: 64 scale: 0.0078125 {MEAN}",
    "a scale that rounds": f"crop_size: 64 scale: 0.017 {MEAN}",
    "mean_value": "crop_size: 64 mean_value: 104 mean_value: 117 mean_value: 123",
    "one mean_value": "crop_size: 64 mean_value: 118.5 scale: 0.02",
    "no mean": "crop_size: 64 scale: 0.00390625",
    "another mean_file": 'crop_size: 64 mean_file: "other.binaryproto"',
    "another crop": f"crop_size: 80 {MEAN}",
    "an odd crop": f"crop_size: 75 {MEAN}",
    "force_gray of raw pixels": f"crop_size: 64 force_gray: true {MEAN}",
    "force_gray": "crop_size: 64 force_gray: true mean_value: 110",
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_the_test_net(
    world: SimilarWorld, device: Device, in_engine: Callable[..., str], name: str, tmp_path: Path
) -> None:
    crop = {"another crop": 80, "an odd crop": 75}.get(name, 64)
    gray = name == "force_gray"
    pixels = encoded_lmdb(tmp_path / "encoded") if gray else pixels_of(DATA, "train")
    source = tmp_path / "encoded" if gray else DATA.lmdb("train")
    other = DATA.mean.read_bytes()
    Path("other.binaryproto").write_bytes(other.replace(other[100:140], other[140:180], 1))
    net_of(CASES[name], source, 1 if gray else 3, crop)
    world.weights("first", 5)
    run = world.run("first")
    in_engine(_TEST_NET, run.train_val, run.final, tmp_path / "said.npz", f"fc8_{TASK}")
    with np.load(tmp_path / "said.npz") as said:
        seen, fc7, probabilities = said["data"], said["fc7"], said["probabilities"]
    assert seen.shape[1:] == (1 if gray else 3, crop, crop)
    count = len(seen)
    pixels = np.resize(pixels, (count, *pixels.shape[1:]))  # the cursor wraps
    model = find_model("first")
    with Extractor(device) as extractor:
        ours = extractor.vectors(model, "data", pixels, batch=TEST_BATCH)
        assert np.array_equal(ours.reshape(seen.shape), seen)  # the input, bit for bit
        assert np.array_equal(extractor.vectors(model, "fc7", pixels, batch=TEST_BATCH), fc7)
        one = extractor.explain(model, pixels[:1])
        assert np.allclose(one["probabilities"], probabilities[0], rtol=1e-5, atol=1e-7)
    plain = name in ("as made", "another crop", "an odd crop")
    assert (model.transformation == "") == plain  # "": features of before are those of this


def test_features_of_before_an_edit_are_stale(world: SimilarWorld, device: Device) -> None:
    net_of(f"crop_size: 64 {MEAN}", DATA.lmdb("train"))
    world.weights("first", 5)
    collection = task_collection(DATA)
    plain = make_features(collection, find_model("first"), device)
    plain.check(find_model("first").source(collection))
    net_of(f"crop_size: 64 scale: 0.5 {MEAN}", DATA.lmdb("train"))
    with pytest.raises(UserError, match="stale: the transformation changed"):
        plain.check(find_model("first").source(collection))
    made = make_features(collection, find_model("first"), device)
    assert not np.array_equal(made.vectors, plain.vectors)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (f"crop_size: 70 {MEAN}", "crops images to 70 x 70 in TEST, but the deploy net takes 64"),
        (f"crop_size: 64 {MEAN} mean_value: 1", "mean_file and mean_value at once"),
        ('crop_size: 64 mean_file: "none.binaryproto"', "none.binaryproto is no mean file"),
    ],
)
def test_what_does_not_fit(
    world: SimilarWorld, device: Device, transform: str, message: str
) -> None:
    net_of(transform, DATA.lmdb("train"))
    world.weights("first", 5)
    with Extractor(device) as extractor, pytest.raises(UserError, match=message):
        extractor.vectors(find_model("first"), "fc7", pixels_of(DATA, "val"))
