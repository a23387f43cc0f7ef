"""Features: bit for bit those of plain pycaffe, whole or not there, stale ones refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.similarity import feature_models
from experiments.similarity.artworks import query_pixels
from experiments.similarity.collection import folder_collection, task_collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import find_model
from experiments.similarity.feature_set import FeatureSet, Item, Source, Writer, same_images
from experiments.similarity.make_features import make_features
from lib.caffe.client import Engine
from lib.caffe.device import Device
from lib.caffe.service import EngineDied, Service
from lib.errors import UserError
from lib.files import sha256
from models.cards import load_card
from prototxt.read import classifier_input
from tests.pictures import write_jpeg
from tests.prototxt import made_nets
from tests.similar_world import DATA, ROOT, RUNS, TASK, SimilarWorld, build, pixels_of
from tests.small_world import CROP, PROJECT

# argv: deploy, weights, mean as .npy, pixels as .npy, batch, blob, target
_PLAIN = """
import sys
import caffe, numpy
deploy, weights, mean, pixels, batch, blob, target = sys.argv[1:]
net = caffe.Net(deploy, weights, caffe.TEST)
pixels, mean = numpy.load(pixels), numpy.load(mean)
net.blobs["data"].reshape(int(batch), *net.blobs["data"].data.shape[1:])
net.reshape()
side = net.blobs["data"].data.shape[-1]
at = (256 - side) // 2
values = []
for start in range(0, len(pixels), int(batch)):
    some = pixels[start:start + int(batch)]
    data = numpy.zeros(net.blobs["data"].data.shape, numpy.float32)
    data[:len(some)] = (some.astype(numpy.float32) - mean)[:, :, at:at + side, at:at + side]
    net.blobs["data"].data[...] = data
    net.forward()
    values.append(net.blobs[blob].data[:len(some)].reshape(len(some), -1).copy())
numpy.save(target, numpy.concatenate(values))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, in_engine: Callable[..., str]) -> Path:
    """The small world, built once; each test works on a copy."""
    folder = tmp_path_factory.mktemp("similar")
    before = Path.cwd()
    os.chdir(folder)
    try:
        build(in_engine)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def world(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_engine: Callable[..., str]
) -> SimilarWorld:
    """A copy of the small world, which is the current folder."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return SimilarWorld(in_engine)


def plain(
    world: SimilarWorld, name: str, pixels: NDArray[np.uint8], batch: int, blob: str
) -> NDArray[np.float32]:
    """The blob as a few lines of pycaffe give it."""
    from datasets.mean import read_mean

    np.save("mean.npy", read_mean(DATA.mean))
    np.save("pixels.npy", pixels)
    run = world.run(name)
    world.in_engine(
        _PLAIN, run.deploy, run.final, "mean.npy", "pixels.npy", str(batch), blob, "values.npy"
    )
    values: NDArray[np.float32] = np.load("values.npy")
    return values


def all_pixels() -> NDArray[np.uint8]:
    return np.concatenate([pixels_of(DATA, part) for part in ("train", "val", "test")])


# ---- The same bits ----


@pytest.mark.parametrize(("blob", "batch"), [("fc7", 32), ("fc7", 10), ("fc7", 4), ("pool2", 5)])
def test_bit_for_bit_those_of_plain_pycaffe(
    world: SimilarWorld, device: Device, blob: str, batch: int
) -> None:
    model = find_model("first")
    collection = task_collection(DATA)
    made = make_features(collection, model, device, blob=blob, batch=batch, workers=2)
    expected = plain(world, "first", all_pixels(), batch, blob)
    assert made.vectors.dtype == np.float32
    assert np.array_equal(made.vectors, expected)
    assert len(np.unique(made.vectors, axis=0)) == len(made)  # no two pictures are the same
    lines = [line for part in ("train", "val", "test") for line in DATA.list(part).open()]
    assert [item.image for item in made.items] == [line.split(" ")[0] for line in lines]
    assert {item.part for item in made.items} == {"train", "val", "test"}


def test_a_folder_of_the_same_images_has_the_same_features(
    world: SimilarWorld, device: Device
) -> None:
    model = find_model("first")
    by_lmdb = make_features(task_collection(DATA), model, device, batch=1)
    by_file = make_features(folder_collection(ROOT), model, device, batch=1)
    row = {item.image: row for row, item in enumerate(by_file.items)}
    order = [row[item.image] for item in by_lmdb.items]
    assert np.array_equal(by_lmdb.vectors, by_file.vectors[order])


@pytest.mark.caffenet
def test_caffenet_fc7_is_that_of_plain_pycaffe(
    world: SimilarWorld, device: Device, in_engine: Callable[..., str]
) -> None:
    from prototxt.render import Run, render

    texts = render(
        Run(
            task=TASK,
            classes=3,
            train=1000,
            val=100,
            train_lmdb="x",
            val_lmdb="x",
            mean=str(DATA.mean),
            net="x",
            snapshot_prefix="x",
        )
    )
    world.run("first").deploy.write_text(texts["deploy.prototxt"])
    world.weights("first", 3)
    model = find_model("first")
    made = make_features(task_collection(DATA, ["test"]), model, device, batch=10, workers=1)
    assert made.vectors.shape == (9, 4096)
    assert (made.vectors >= 0).all()  # after ReLU
    assert np.array_equal(made.vectors, plain(world, "first", pixels_of(DATA, "test"), 10, "fc7"))


# ---- Whole or not at all ----


def source(**changes: object) -> Source:
    values = dict.fromkeys(Source.__dataclass_fields__, "x") | {"batch": 3} | changes
    return Source(**values)  # type: ignore[arg-type]


def test_an_extraction_is_gone_on_with(tmp_path: Path) -> None:
    items = [Item(f"{n}.jpg") for n in range(8)]
    first = Writer(tmp_path / "fc7", source(), items, 2)
    assert first.missing == [0, 1, 2]
    first.put(1, np.full((3, 2), 1, np.float32))
    first.save()
    first.put(0, np.full((3, 2), 7, np.float32))  # never saved: to be made again
    del first
    with pytest.raises(UserError, match="no features"):
        FeatureSet(tmp_path / "fc7")
    again = Writer(tmp_path / "fc7", source(), items, 2)
    assert again.missing == [0, 2]
    again.put(0, np.full((3, 2), 0, np.float32))
    again.put(2, np.full((2, 2), 2, np.float32))
    made = again.finish()
    assert made.vectors[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert Writer(tmp_path / "fc7", source(weights="others"), items, 2).missing == [0, 1, 2]


def test_other_files_in_a_folder_of_features_are_kept(tmp_path: Path) -> None:
    def extract_all(weights: str) -> Path:
        writer = Writer(tmp_path / "fc7", source(weights=weights), [Item("a.jpg")], 2)
        writer.put(0, np.zeros((1, 2), np.float32))
        return writer.finish().path

    made = extract_all("first")
    (made / "notes.txt").write_text("first notes")
    (made / "index-hnsw").mkdir()
    extract_all("second")
    assert (made / "notes.txt").read_text() == "first notes"
    assert not (made / "index-hnsw").exists()
    # Killed while the old folder was being emptied.
    old = made.with_name(".fc7.old")
    old.mkdir()
    (old / "notes.txt").write_text("older notes")
    extract_all("third")
    texts = {path.read_text() for path in made.glob("notes.txt*")}
    assert texts == {"first notes", "older notes"}
    assert not old.exists()


def test_killed_extractions_end_with_the_same_bytes(world: SimilarWorld, device: Device) -> None:
    words = [sys.executable, "-m", "tools.features", "--weights", "first", "--task", TASK]
    words += ["--batch", "1", "--workers", "1", "--gpu", "none", "--threads", "1"]
    environment = dict(os.environ, PYTHONPATH=str(PROJECT), CAFFE_PYTHON=str(device.engine.python))
    place = find_model("first").features(task_collection(DATA))
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if list(place.parent.glob(".*.part/features.npy")):
                time.sleep(0.02 * killed)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        killed += process.wait() == -signal.SIGKILL
        assert not (place / "features.npy").exists() or FeatureSet(place)
    assert killed
    subprocess.run(words, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert np.array_equal(FeatureSet(place).vectors, plain(world, "first", all_pixels(), 1, "fc7"))


def test_broken_images_are_named_or_left_out(
    world: SimilarWorld, device: Device, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    for number in range(5):
        write_jpeg(folder / f"{number}.jpg", number)
    (folder / "2.jpg").write_bytes(b"no image")
    model = find_model("first")
    with pytest.raises(UserError, match=r"2\.jpg"):
        make_features(folder_collection(folder), model, device, batch=2)
    made = make_features(folder_collection(folder), model, device, batch=2, skip_broken=True)
    assert [item.image for item in made.items] == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]
    assert list(made.record["left_out"]) == ["2.jpg"]
    with Extractor(device) as extractor:
        alone = extractor.vectors(model, "fc7", query_pixels(folder / "4.jpg"), batch=2)
    assert np.allclose(made.vectors[3], alone[0], atol=1e-5)


# ---- Refused ----


def test_other_weights_and_other_images_make_features_stale(
    world: SimilarWorld, device: Device
) -> None:
    model = find_model("first")
    made = make_features(task_collection(DATA), model, device)
    made.check(model.source(task_collection(DATA)))
    world.weights("first", 99)
    with pytest.raises(UserError, match=r"stale: the weights changed"):
        made.check(find_model("first").source(task_collection(DATA)))
    with pytest.raises(UserError, match=r"stale: .*its images"):
        made.check(model.source(task_collection(DATA, ["test"])))
    other = make_features(task_collection(DATA, ["test"]), model, device)
    with pytest.raises(UserError, match="different images"):
        same_images([made, other])
    again = make_features(task_collection(DATA), find_model("first"), device)
    assert not np.array_equal(again.vectors, made.vectors)


def test_a_model_without_fc7(world: SimilarWorld, device: Device) -> None:
    deploy = world.run("first").deploy
    deploy.write_text(deploy.read_text().replace('"fc7"', '"seventh"'))
    assert find_model("first").blob == "seventh"
    with pytest.raises(UserError, match=r"no blob 'fc7'; it has .*seventh"):
        make_features(task_collection(DATA), find_model("first"), device, blob="fc7")


def test_weights_that_lack_a_layer(world: SimilarWorld, device: Device) -> None:
    deploy = world.run("first").deploy
    deploy.write_text(deploy.read_text().replace('name: "conv3"', 'name: "conv3_new"'))
    with pytest.raises(UserError, match="no weights for layer conv3_new"):
        make_features(task_collection(DATA), find_model("first"), device)


def test_weights_that_are_not_those_of_the_training(world: SimilarWorld) -> None:
    run = world.run("first")
    record = json.loads(run.record.read_text())
    run.record.write_text(json.dumps(record | {"final": sha256(run.final)}))
    assert find_model("first").run is not None
    whole = run.final.read_bytes()
    run.final.write_bytes(whole[:-300] + bytes(byte ^ 255 for byte in whole[-300:]))
    for word in ("first", str(run.final)):
        with pytest.raises(UserError, match=r"is not what its training gave .* FORCE=1"):
            find_model(word)
    run.record.write_text(json.dumps(record | {"final": None}))  # from before it was written down
    assert find_model("first").weights == run.final


def test_a_net_that_writes_files_writes_none(world: SimilarWorld, device: Device) -> None:
    deploy, mine = world.run("first").deploy, Path("mine.txt")
    mine.write_text("do not touch")
    before = make_features(task_collection(DATA), find_model("first"), device).path
    values = {path.name: path.read_bytes() for path in before.glob("*.npy")}
    assert values
    text = 'layer { name: "out" type: "HDF5Output" bottom: "data" bottom: "data" '
    text += f'hdf5_output_param {{ file_name: "{mine}" }} }}\n'
    first = deploy.read_text().index("layer {", deploy.read_text().index("layer {") + 1)
    deploy.write_text(deploy.read_text()[:first] + text + deploy.read_text()[first:])
    after = make_features(task_collection(DATA), find_model("first"), device).path
    assert mine.read_text() == "do not touch"
    assert {path.name: path.read_bytes() for path in after.glob("*.npy")} == values


def test_broken_weights(world: SimilarWorld, device: Device) -> None:
    world.in_engine(
        "import caffe, sys; n = caffe.Net(sys.argv[1], sys.argv[2], caffe.TEST)\n"
        "n.params['fc6'][0].data[...] = float('nan'); n.save(sys.argv[2])",
        world.run("first").deploy,
        world.run("first").final,
    )
    with pytest.raises(UserError, match="NaN or infinite"):
        make_features(task_collection(DATA), find_model("first"), device)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("frist", "unknown model 'frist': did you mean"),
        ("nowhere.caffemodel", "no weights file"),
        ("", "no model named"),
        ("caffenet", "make weights INIT=caffenet"),
    ],
)
def test_models_that_are_not_there(world: SimilarWorld, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_model(word)


def test_an_init_has_caffenets_deploy_net(
    world: SimilarWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path("some.caffemodel")
    weights.write_bytes(b"x")
    with pytest.raises(UserError, match="MEAN="):
        find_model(str(weights))
    model = find_model(str(weights), DATA.mean)
    assert "fc7" in model.deploy.read_text()
    assert find_model(str(world.run("first").final)).name == f"{TASK}/first"


_CARD = """---
name: small
caffemodel: small.caffemodel
license: none
mean: mean.binaryproto
scale: 0.5
last_layer: fc
outputs: 5
source_task: none
citation: none
---
"""


def test_a_card_brings_its_own_net(
    world: SimilarWorld, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("models/small").absolute()
    folder.mkdir(parents=True)
    (folder / "readme.md").write_text(_CARD)
    (folder / "deploy.prototxt").write_text(made_nets.RESIDUAL)
    card = load_card("small", folder.parent)
    world.in_engine(
        "import caffe, sys; net = caffe.Net(sys.argv[1], caffe.TEST)\n"
        "for blobs in net.params.values(): blobs[0].data[...] = 0.01\n"
        "net.save(sys.argv[2])",
        folder / "deploy.prototxt",
        card.weights_path,
    )
    shutil.copy(DATA.mean, card.mean_path)
    monkeypatch.setattr(feature_models, "init_names", lambda: ["small"])
    monkeypatch.setattr(feature_models, "find_card", lambda word: card)
    monkeypatch.setattr(feature_models, "load_cards", lambda: [card])
    monkeypatch.setattr(feature_models, "missing", lambda word: [])
    model = find_model("small")
    assert model.blob == "conv3"
    assert model.transformation  # its pixels are scaled
    made = make_features(task_collection(DATA), model, device)
    assert (made.source.blob, made.dims, made.path.name) == ("conv3", 4 * 16 * 16, "conv3")
    whole = replace(card, scale=1.0)
    monkeypatch.setattr(feature_models, "find_card", lambda word: whole)
    other = make_features(task_collection(DATA), find_model("small"), device)
    assert not np.array_equal(made.vectors, other.vectors)
    assert find_model(str(card.weights_path)).deploy == model.deploy  # known by its folder


@pytest.mark.parametrize(
    ("bytes_", "says"),
    [
        (b"\xef\xbb\xbf" + made_nets.PLAIN.encode(), "UTF-8 with a byte order mark"),
        (made_nets.PLAIN.encode("utf-16"), "UTF-16"),
        (made_nets.INPUT.encode(), "no classifier found"),
        (b"layer {", r"deploy\.prototxt can't be read: .*line 1"),
    ],
)
def test_a_deploy_net_without_a_classifier(tmp_path: Path, bytes_: bytes, says: str) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_bytes(bytes_)
    with pytest.raises(UserError, match=says) as caught:
        classifier_input(path)
    assert "\n" not in str(caught.value)


def test_collections_that_are_not_there(world: SimilarWorld, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        folder_collection(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        folder_collection(tmp_path / "empty")
    DATA.list("test").write_text("1000.jpg 0\n")
    with pytest.raises(UserError, match="no LMDBs, or not those of its lists"):
        task_collection(DATA)


def test_a_damaged_feature_folder(world: SimilarWorld, device: Device) -> None:
    made = make_features(task_collection(DATA), find_model("first"), device)
    (made.path / "features.npy").write_bytes(b"half")
    with pytest.raises(UserError, match="damaged"):
        FeatureSet(made.path)
    make_features(task_collection(DATA), find_model("first"), device)  # mends it
    assert len(FeatureSet(made.path)) == 27


# ---- The worker that lives on ----


def test_a_dead_worker_is_noticed_and_replaced(world: SimilarWorld, device: Device) -> None:
    model = find_model("first")
    pixels = query_pixels(ROOT / "1000.jpg")
    with Extractor(device) as extractor:
        before = extractor.vectors(model, "fc7", pixels)
        pid = extractor.service.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while extractor.service.pid is not None:
            time.sleep(0.01)
        assert np.array_equal(extractor.vectors(model, "fc7", pixels), before)
        assert extractor.service.starts == 2
        assert extractor.service.pid != pid


def test_what_caffe_aborts_on_is_said(world: SimilarWorld, engine: Engine) -> None:
    model = find_model("first")
    deploy = Path("bad.prototxt")
    deploy.write_text(model.deploy.read_text().replace('bottom: "norm1"', 'bottom: "nothing"'))
    request = {
        **model.request(), "deploy": str(deploy), "blob": "fc7", "batch": None, "images": "",
        "count": 0, "size": [], "out": None, "gpu": None,
    }  # fmt: skip
    with Service(engine) as service:
        with pytest.raises(EngineDied, match="Unknown bottom blob 'nothing'"):
            service.call("extract", request)
        answer = service.call("extract", {**request, "deploy": str(model.deploy)})
        assert answer["dims"] == 16
        with pytest.raises(UserError, match=r"no blob 'fc9'"):  # said by a worker that lives on
            service.call("extract", {**request, "deploy": str(model.deploy), "blob": "fc9"})
        assert service.starts == 2


def test_a_worker_that_does_not_answer_is_ended(world: SimilarWorld, engine: Engine) -> None:
    with Service(engine) as service:
        service.call("about", {})
        pid = service.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineDied, match="no answer within 1 s"):
            service.call("about", {}, timeout=1)
        assert "caffe" in service.call("about", {}, timeout=60)


# ---- The tool ----


def test_the_tool(world: SimilarWorld, device: Device) -> None:
    words = [sys.executable, "-m", "tools.features", "--weights", *RUNS, "--task", TASK]
    environment = dict(os.environ, PYTHONPATH=str(PROJECT), CAFFE_PYTHON=str(device.engine.python))
    done = subprocess.run(
        [*words, "--gpu", "none"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in RUNS:
        path = find_model(name).features(task_collection(DATA))
        assert str(path) in done.stdout
        record = json.loads((path / "record.json").read_text())
        assert record["source"]["weights"] == find_model(name).hashes["weights"]
        assert record["source"]["blob"] == "fc7"
    wrong = subprocess.run(
        [*words, "--blob", "fc9"], env=environment, capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("error: ")
    assert CROP == 64  # the small nets' own: images are cropped to what the net takes
