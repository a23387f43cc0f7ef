"""Explanations against finite differences on plain pycaffe; the search tools from end to end."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from datasets.catalogue import read_catalogue
from datasets.mean import read_mean
from datasets.tasks import get_task
from datasets.works import write_works
from experiments.similarity.artworks import query_pixels
from experiments.similarity.attribution import explain, training_images
from experiments.similarity.collection import task_collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import find_model
from lib.caffe.device import Device
from lib.errors import UserError
from tests.similar_world import CLASSES, DATA, ROOT, RUNS, TASK, SimilarWorld, build, image_name
from tests.small_world import PROJECT

IMAGE = ROOT / image_name(20)

# argv: deploy, weights, input as .npy, class, target. Derivatives of the class score by differences
# at each number of conv5, and at some pixels.
_DIFFERENCES = """
import sys
import caffe, numpy
deploy, weights, data, label, target = sys.argv[1:]
net = caffe.Net(deploy, weights, caffe.TEST)
net.blobs["data"].reshape(1, *net.blobs["data"].data.shape[1:])
net.reshape()
data, label = numpy.load(data), int(label)
score = net.bottom_names["prob"][0]

def at(values):
    net.blobs["data"].data[...] = values
    net.forward()
    return float(net.blobs[score].data.reshape(-1)[label])

at(data)
probabilities = net.blobs["prob"].data.reshape(-1).copy()
maps = net.blobs["conv5"].data.copy()
gradient = numpy.zeros(maps.shape)
step = 1e-3 * numpy.abs(maps).max()
for place in numpy.ndindex(*maps.shape):
    both = []
    for sign in (1, -1):
        net.blobs["conv5"].data[...] = maps
        net.blobs["conv5"].data[place] += sign * step
        net.forward(start="fc6")
        both.append(float(net.blobs[score].data.reshape(-1)[label]))
    gradient[place] = (both[0] - both[1]) / (2 * step)
places = numpy.random.RandomState(0).randint(0, 64, (40, 2))
pixels = []
for row, column in places:
    three = []
    for channel in range(3):
        both = []
        for sign in (1, -1):
            moved = data.copy()
            moved[0, channel, row, column] += sign * 0.5
            both.append(at(moved))
        three.append(abs(both[0] - both[1]))
    pixels.append(max(three))
numpy.savez(target, probabilities=probabilities, maps=maps[0], gradient=gradient[0],
            places=places, pixels=pixels)
"""


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, in_engine: Callable[..., str], device: Device
) -> SimilarWorld:
    """The small world with the features of both runs, built once. Nothing here changes it."""
    folder = tmp_path_factory.mktemp("explain")
    before = Path.cwd()
    os.chdir(folder)
    try:
        made = build(in_engine)
        tool(device, "tools.features", "--weights", *RUNS, "--task", TASK)
    finally:
        os.chdir(before)
    made.__dict__["place"] = folder
    return made


@pytest.fixture(autouse=True)
def inside(world: SimilarWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in the small world."""
    monkeypatch.chdir(world.__dict__["place"])


def start(device: Device, name: str, *words: str, path: str = "") -> CompletedProcess[str]:
    """Run a tool to its end; `path` comes before the project in Python's path."""
    python_path = f"{path}{os.pathsep}{PROJECT}" if path else str(PROJECT)
    return subprocess.run(
        [sys.executable, "-m", name, *words],
        env=dict(os.environ, PYTHONPATH=python_path, CAFFE_PYTHON=str(device.engine.python)),
        capture_output=True,
        text=True,
    )


def tool(device: Device, name: str, *words: str, code: int = 0) -> str:
    """What a tool prints; with `code` 2 its last line on stderr."""
    done = start(device, name, *words)
    assert done.returncode == code, done.stderr
    return done.stderr.splitlines()[-1] if code else done.stdout


# ---- Maps ----


@pytest.mark.parametrize("label", range(3))
def test_the_maps_are_the_derivatives(world: SimilarWorld, device: Device, label: int) -> None:
    model = find_model("first")
    pixels = query_pixels(IMAGE)
    with Extractor(device) as extractor:
        said = extractor.explain(model, pixels, label=label)
        features = extractor.vectors(model, "fc7", pixels, batch=1)
        again = extractor.explain(model, pixels, label=label)  # nothing adds up between calls
    at = (256 - 64) // 2
    window = slice(at, at + 64)
    np.save("data.npy", (pixels - read_mean(DATA.mean)).astype("f4")[:, :, window, window])
    world.in_engine(
        _DIFFERENCES, model.deploy, model.weights, "data.npy", str(label), "differences.npz"
    )
    with np.load("differences.npz") as found:
        weighted = (found["gradient"].mean(axis=(1, 2))[:, None, None] * found["maps"]).sum(axis=0)
        cam = np.maximum(weighted, 0)
        cam = cam / (cam.max() or 1)
        assert np.allclose(said["cam"], cam, atol=0.02)
        assert np.allclose(said["probabilities"], found["probabilities"], atol=1e-5)
        there = said["saliency"][found["places"][:, 0], found["places"][:, 1]]
        assert np.corrcoef(there, found["pixels"])[0, 1] > 0.97
    assert np.allclose(said["features"], features[0], rtol=1e-5, atol=1e-5)
    for name in ("cam", "saliency", "probabilities"):
        assert np.array_equal(said[name], again[name])


def test_what_cannot_be_explained(world: SimilarWorld, device: Device) -> None:
    model = find_model("first")
    pixels = query_pixels(IMAGE)
    with Extractor(device) as extractor:
        with pytest.raises(UserError, match="unknown class 'Duch': did you mean Dutch"):
            explain(extractor, model, pixels, label="Duch")
        with pytest.raises(UserError, match="no convolution 'conv9'"):
            explain(extractor, model, pixels, layer="conv9")
        with pytest.raises(UserError, match="no convolution 'fc7'"):
            explain(extractor, model, pixels, layer="fc7")
        Path("w.caffemodel").write_bytes(model.weights.read_bytes())
        with pytest.raises(UserError, match="is no run"):
            explain(extractor, find_model("w.caffemodel", DATA.mean), pixels)
        said = explain(extractor, model, pixels)
        assert said.explained == said.classes[0][0]
        assert {name for name, _ in said.classes} == set(CLASSES)


# ---- The tools ----


def test_explain(device: Device) -> None:
    out = tool(device, "tools.explain", "--image", str(IMAGE), "--run", f"{TASK}/first", "-k", "3")
    picture = next(Path("experiments/runs").glob("*/first/explained/*.png"))
    assert str(picture) in out
    assert Image.open(picture).size[0] > 400
    assert "no image" not in out
    wrong = tool(device, "tools.explain", "--image", "none.jpg", "--run", "first", code=2)
    assert wrong == "error: none.jpg: no such file"


def test_search(device: Device) -> None:
    words = ["--query", str(IMAGE), "--models", *RUNS, "--task", TASK]
    out = tool(device, "tools.similar", *words, "-k", "4", "--out", "found")
    assert "met_nationality/first" in out
    with Path("found.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["model"] for row in rows] == [f"{TASK}/first"] * 4 + [f"{TASK}/second"] * 4
    assert all(row["artist"] and row["title"] for row in rows)
    assert image_name(20) not in {row["image"] for row in rows}  # the query itself
    far = [float(row["distance"]) for row in rows[:4]]
    assert far == sorted(far)
    assert Image.open("found.png").size[0] > 400
    for kind in ("half", "hnsw"):
        assert "recall@10" in tool(device, "tools.similar", *words, "--index", kind)


@pytest.mark.slow
def test_a_folder_of_images_has_no_empty_columns(device: Device) -> None:
    tool(device, "tools.features", "--weights", "first", "--images", str(ROOT))
    words = ["--query", str(IMAGE), "--models", "first", "--images", str(ROOT), "-k", "3"]
    out = tool(device, "tools.similar", *words, "--out", "of-folder")
    assert not any(line.endswith(" ") for line in out.splitlines())
    lines = Path("of-folder.csv").read_text().splitlines()
    assert lines[0] == "model,rank,distance,image"
    assert len(lines) == 4
    assert all(line.endswith(".jpg") for line in lines[1:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--query", "none.jpg", "--models", "first"], "none.jpg: no such file"),
        (["--query", "text.jpg", "--models", "first"], "text.jpg: "),
        (["--query", str(IMAGE), "--models", "first", "-k", "28"], "K=28: the collection has 27"),
        (["--query", str(IMAGE), "--models", "first", "-k", "0"], "must be 1 or more"),
        (["--query", str(IMAGE), "--models", "frist"], "unknown model 'frist': did you mean first"),
        (["--query", str(IMAGE), "--models", "first", "--index", "hsnw"], "did you mean hnsw"),
        (["--query", str(IMAGE), "--models", "first", "--blob", "fc6"], f"TASK={TASK} BLOB=fc6"),
        (["--query", str(IMAGE), "--models", "first", "--blob", "fc9"], "did you mean fc7"),
    ],
)
def test_searches_that_cannot_be(device: Device, words: list[str], message: str) -> None:
    Path("text.jpg").write_text("no image")
    assert message in tool(device, "tools.similar", *words, "--task", TASK, code=2)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "tools.similar",
            ["--query", "none.jpg", "--models", "frist", "--index", "foo"],
            "INDEX",
        ),
        ("tools.similar", ["--query", "none.jpg", "--models", "first"], "none.jpg"),
        (
            "tools.similar",
            ["--query", str(IMAGE), "--models", "first", "-k", "28"],
            "K=28",
        ),
        (
            "tools.similar",
            ["--query", str(IMAGE), "--models", "first", "--blob", "fc9"],
            "blob",
        ),
        ("tools.features", ["--weights", "first", "--blob", "fc9"], "blob"),
        ("tools.features", ["--weights", "first", "frist"], "unknown model 'frist'"),
        (
            "tools.retrieval_scores",
            ["--models", "first", "-k", "1", "9"],
            "K=9: only 9 images",
        ),
        (
            "tools.retrieval_scores",
            ["--models", "first", "frist"],
            "unknown model 'frist'",
        ),
        ("tools.explain", ["--image", "none.jpg", "--run", "first"], "none.jpg"),
        ("tools.explain", ["--image", str(IMAGE), "--run", "first", "--label", "Duch"], "Dutch"),
        (
            "tools.serve",
            ["--models", "frist", "--index", "foo"],
            "unknown INDEX 'foo'",
        ),
    ],
)
def test_mistakes_are_said_before_any_work(
    device: Device, name: str, words: list[str], message: str
) -> None:
    """There is no Caffe to be asked: that would be the error, were it asked for."""
    nowhere = replace(device, engine=replace(device.engine, python=Path("/nowhere/python")))
    done = start(nowhere, name, *words, "--task", TASK)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message.lower() in line.lower()


def test_retrieval_of_a_folder_is_refused_before_its_features_are_taken(device: Device) -> None:
    Path("unlabelled").mkdir()
    Image.new("RGB", (60, 60)).save("unlabelled/1.jpg")
    words = ["--models", "second", "--images", "unlabelled", "--part", "all"]
    assert "no labels to score" in tool(device, "tools.retrieval_scores", *words, code=2)
    assert not list(Path("experiments/features").glob("unlabelled*"))


def test_files_that_are_gone_are_shown_from_the_lmdbs(device: Device) -> None:
    gone = ROOT / image_name(21)
    gone.rename("moved.jpg")
    try:
        words = ["--query", str(IMAGE), "--models", "first", "--task", TASK, "-k", "26"]
        assert image_name(21) in tool(device, "tools.similar", *words)
    finally:
        Path("moved.jpg").rename(gone)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["gone", "kept", "elsewhere"])
def test_raw_material_that_is_gone_or_elsewhere(device: Device, where: str) -> None:
    query = Path(f"{where}.jpg")
    shutil.copy(IMAGE, query)
    if where == "kept":  # beside the lists, since they were made
        table = read_catalogue(get_task(TASK)).table
        write_works(DATA, table, table["image"])
    Path("datasets/raw").rename("other")
    raw = ["--raw", "other"] if where == "elsewhere" else []
    known = "Dutch" if where == "gone" else "Judith Leyster"
    try:
        words = ["--task", TASK, *raw]
        found = tool(
            device, "tools.similar", "--query", str(query), "--models", "first", *words, "-k", "26"
        )
        assert known in found
        said = tool(device, "tools.retrieval_scores", "--models", "first", *words, "--k", "3")
        assert "same class" in said
        said = tool(device, "tools.explain", "--image", str(query), "--run", "first", *raw)
        assert "no nearest" not in said
        sheets = tool(device, "tools.fig15", "--models", "first", *words, "--count", "1")
        assert Path(sheets.strip()).is_file()
    finally:
        Path("other").rename("datasets/raw")
        DATA.works.unlink(missing_ok=True)


@pytest.mark.slow
def test_the_query_is_left_out_of_what_the_run_learnt_from(device: Device) -> None:
    """An image that a run was trained on is no proof: it is said, and not its own neighbour."""
    trained = ROOT / image_name(3)
    out = tool(device, "tools.explain", "--image", str(trained), "--run", "first", "-k", "13")
    assert "a training image of this run" in out
    assert "true class Dutch: " in out
    tested = tool(device, "tools.explain", "--image", str(IMAGE), "--run", "first")
    assert "a test image of this run" in tested
    model = find_model("first")
    own = task_collection(DATA)
    with Extractor(device) as extractor:
        vector = extractor.vectors(model, "fc7", query_pixels(trained))[0]
    training = training_images(own, model, vector, 13, {}, image_name(3))
    assert len(training.nearest) == 13
    assert image_name(3) not in {each.image for each in training.nearest}
    assert {each.part for each in training.nearest} == {"train"}
    assert (training.part, training.truth) == ("train", "Dutch")


@pytest.mark.slow
def test_figures_and_scores(device: Device) -> None:
    models = ["--models", *RUNS, "--task", TASK]
    words = ["--images-chosen", "20", "--out", "f16"]
    out = tool(device, "tools.fig16", *models, *words)
    assert "of the first 26 neighbours" in out
    with Path("f16.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[0][f"{TASK}/first"]) == 0
    assert float(rows[0][f"{TASK}/second"]) == float(rows[1][f"{TASK}/first"]) > 0
    assert Image.open("f16.png").size[0] > 200
    first = Path("f16.csv").read_bytes()
    tool(device, "tools.fig16", *models, *words)
    assert Path("f16.csv").read_bytes() == first
    one = ["--models", "first", "--task", TASK]
    assert "two or more" in tool(device, "tools.fig16", *one, code=2)
    sheets = tool(device, "tools.fig15", *models, "--count", "2").split()
    assert len(sheets) == 2
    assert all(Path(each).is_file() for each in sheets)
    said = tool(
        device,
        "tools.retrieval_scores",
        *models,
        "-k",
        "1",
        "3",
        "--out",
        "scores.csv",
    )
    # What the classes are from is not said twice; here each class has one artist, too.
    assert said.count("same ") == len(RUNS)
    assert said.count("same class (artist, nationality): P@1 ") == len(RUNS)
    with Path("scores.csv").open(newline="") as handle:
        scores = list(csv.DictReader(handle))
    assert {row["same"] for row in scores} == {"class", "artist", "nationality"}
    assert all(0 <= float(row["mAP"]) <= 1 for row in scores)


# ---- Without the extra 'search' ----

# Python runs it at its start: the extra's packages can't be imported, as where they are missing.
_BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("faiss", "fastapi", "uvicorn", "starlette", "multipart"):
            raise ModuleNotFoundError("No module named %r" % name, name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A folder for PYTHONPATH that takes the extra 'search' away."""
    (tmp_path / "sitecustomize.py").write_text(_BARE)
    return str(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "tools.similar",
        "tools.explain",
        "tools.retrieval_scores",
        "tools.features",
        "tools.serve",
        "tools.fig15",
        "tools.fig16",
    ],
)  # fmt: skip
def test_help_needs_no_extra(device: Device, bare: str, name: str) -> None:
    done = start(device, name, "--help", path=bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--task" in done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tools.similar", ["--query", str(IMAGE)]),
        ("tools.serve", ["--port", "0"]),
    ],
)
def test_a_missing_extra_is_one_line(
    device: Device, bare: str, name: str, words: list[str]
) -> None:
    done = start(device, name, "--models", "first", "--task", TASK, *words, path=bare)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the package faiss is not there")
    assert "make features" in line
    assert ".venv/bin/python -m pip install --requirement requirements/search.lock" in line


def test_what_searches_nothing_does_without_the_extra(device: Device, bare: str) -> None:
    explain_words = ["--image", str(IMAGE), "--run", f"{TASK}/first", "--out", "bare.png"]
    score_words = ["--models", "first", "--task", TASK, "--out", "bare.csv"]
    done = start(device, "tools.retrieval_scores", *score_words, "-k", "3", path=bare)
    assert done.returncode == 0, done.stderr
    done = start(device, "tools.explain", *explain_words, "-k", "3", path=bare)
    assert done.returncode == 0, done.stderr
    assert "no nearest training images: the package faiss is not there" in done.stdout
