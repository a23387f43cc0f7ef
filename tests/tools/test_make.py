"""make itself, in a copy of the project: what it lists, refuses, joins, keeps and makes again."""

from __future__ import annotations

import csv
import json
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.caffe.client import Engine
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings
from tests.pictures import scene
from tests.small_project import SmallProject, copy_project

PICTURES = 20  # a class
TASK = "prints"
_TASK = f"""
[{TASK}]
source = "folder"
collection = "{TASK}"
label = "class"
at_least = 10
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> SmallProject:
    """A copy of the project in a folder with spaces and letters in its path, with a task added."""
    made = copy_project(tmp_path_factory.mktemp("make") / "my papers é" / "project", engine)
    with (made.path / "datasets" / "tasks.toml").open("a") as handle:
        handle.write(_TASK)
    for label, name in enumerate(("black prints", "white")):
        folder = made.path / "datasets" / "raw" / TASK / "images" / name
        folder.mkdir(parents=True)
        for number in range(PICTURES):
            picture = scene(30, 40, 100 * label + number).astype(int) // 2 + 100 * label
            cv2.imwrite(str(folder / f"{number}.jpg"), picture.astype(np.uint8))
    made.environment["PYTHON"] = sys.executable
    return made


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """make failed with one plain error that says these words, and no traceback."""
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    for word in words:
        assert word in said


# ---- What there is ----


def test_make_alone_lists_everything(project: SmallProject) -> None:
    done = project.make()
    assert done.returncode == 0, done.stderr
    text = (project.path / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z0-9 -]*):[^#=\n]*##", text, re.MULTILINE)
    listed = [name for line in targets for name in line.split()]
    assert {"demo", "caffe", "lists", "train", "evaluate", "test", "lint"} <= set(listed)
    tasks = tomllib.loads((project.path / "datasets" / "tasks.toml").read_text())
    inits = [path.parent.name for path in (project.path / "models").glob("*/readme.md")]
    assert len(inits) >= 5
    variables = tomllib.loads((project.path / "tools" / "variables.toml").read_text())
    names = [*variables, *(each.name.upper() for each in fields(Settings))]
    for name in [*listed, *tasks, "scratch", *inits, *SCENARIOS, *names]:
        if name != "sources":
            assert re.search(rf"(^|\W){name}\b", done.stdout, re.MULTILINE), name
    assert project.make("help").stdout == done.stdout


def test_make_alone_needs_no_packages_and_no_caffe(project: SmallProject) -> None:
    venv = project.path / ".venv"
    venv.rename(project.path / ".venv.away")
    try:
        bare = project.path / "bare python"
        bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
        bare.chmod(0o755)
        done = project.make(f"PYTHON={bare}")
        assert done.returncode == 0, done.stderr
        assert not venv.exists()
    finally:
        (project.path / ".venv.away").rename(venv)


# ---- Misspelt and senseless ----


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wikiart_gerne", ["unknown target 'wikiart_gerne'", "wikiart_genre"]),
        ("dmeo", ["unknown target 'dmeo'", "demo"]),
        ("lists TASK=wga_gerne", ["unknown task 'wga_gerne'", "wga_genre"]),
        ("prints EPOCH=3", ["unknown variable 'EPOCH'", "EPOCHS"]),
        ("prints lr=3", ["unknown variable 'lr'"]),
        ("prints INIT=hybird", ["unknown init 'hybird'", "hybrid"]),
        ("prints INIT=scratch SCENARIO=skip_frist", ["unknown scenario", "skip_first"]),
        ("prints INIT=scratch SPLIT=by_artist", ["unknown split 'by_artist'", "by_"]),
        ("prints INIT=run:prints/none", ["is no finished run"]),
        ("prints INIT=run:prints", ["run:<task>/<run>"]),
        ("lists", ["make lists needs TASK="]),
        ("prints INIT=scratch LR=-1", ["setting lr is -1", "more than 0"]),
        ("prints INIT=scratch BATCH=0", ["setting batch is 0", "more than 0"]),
        ("prints INIT=scratch EPOCHS=ten", ["setting epochs is ten", "must be a number"]),
        ("prints INIT=scratch SEED=1.5", ["setting seed is 1.5", "must be a whole number"]),
        ("prints INIT=scratch GPU=first", ["GPU=first", "a GPU's number, none or auto"]),
        ("prints INIT=scratch GPU=77", ["GPU=77", "cannot use GPU 77", "GPU=none"]),
        ("prints INIT=scratch THREADS=many", ["THREADS=many", "must be a whole number"]),
        ("prints INIT=scratch WORKERS=0", ["WORKERS=0", "must be 1 or more"]),
        ("prints INIT=scratch SPLIT_SEED=x", ["SPLIT_SEED=x", "must be a whole number"]),
        ("prints INIT=scratch KEEP=every", ["KEEP=every", "some", "all"]),
        ("prints INIT=scratch FORCE=yes", ["FORCE=yes", "0 or 1"]),
        ("prints INIT=scratch SKIP_BROKEN=2", ["SKIP_BROKEN=2", "0 or 1"]),
        ("features", ["make features needs WEIGHTS="]),
        ("similar QUERY=a.jpg MODELS=prints/x", ["make similar needs TASK="]),
        ("compare", ["LOG=their.log RUN=<task>/<run>", "WEIGHTS=a.caffemodel WITH=b.caffemodel"]),
        ("compare LOG=x.log", ["make compare needs RUN="]),
        ("similar", ["make similar needs QUERY= MODELS= TASK=, as"]),
        ("prints INIT=scratch LR=", ["LR= is empty"]),
        ("prints epochs=3", ["did you mean EPOCHS?"]),
        ("prints INIT=scratch BATCH=10 DEVICE_BATCH=4", ["device_batch is 4", "divide"]),
        ("prints INIT=scratch RUN=../../x", ["RUN=../../x", "letters, digits"]),
    ],
)
def test_what_is_wrong_is_said(project: SmallProject, line: str, words: list[str]) -> None:
    refused(project.make(*line.split()), *words)
    assert not (project.path / "experiments" / "runs").exists()


def test_everything_that_is_missing_is_said_at_once(project: SmallProject) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = project.make("wikiart_genre", "INIT=sentiment")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    refused(done, "wikiart_genre can't be made yet", "the catalogue of wikiart")
    refused(done, "the images of wikiart", "make weights INIT=sentiment")
    # Computing time, for a machine may be busy with other things.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_a_step_asks_for_what_it_needs_and_no_more(project: SmallProject) -> None:
    """Lists and LMDBs need no weights; reading LMDBs again needs the LMDBs alone."""
    done = project.make("lmdb", "TASK=wikiart_genre")
    refused(done, "the catalogue of wikiart")
    assert "make weights" not in done.stderr
    refused(project.make("verify-lmdb", "TASK=wikiart_genre"), "make lists TASK=wikiart_genre")


@pytest.mark.slow
def test_the_whole_paper_without_any_painting(project: SmallProject) -> None:
    """What is missing is said, what can be made is made all the same, and make fails."""
    done = project.make("paper", "GPU=none")
    refused(
        done, "98 of 98 runs failed", "the catalogue of wikiart: goes into datasets/raw/wikiart/"
    )
    report = project.path / "experiments" / "report"
    assert "wrote" in done.stdout
    assert (report / "table1.csv").exists()
    assert "Table 2" in (report / "index.html").read_text()


# ---- Steps ----


def test_steps_join_and_nothing_is_made_twice(project: SmallProject) -> None:
    line = (f"TASK={TASK}", "INIT=scratch", "EPOCHS=2", "BATCH=7")
    done = project.make("prototxt", *line)
    assert done.returncode == 0, done.stderr
    data = project.path / "datasets" / TASK
    assert sorted(data.glob("*_lmdb/data.mdb"))
    assert (data / "classes.txt").read_text() == "black prints\nwhite\n"
    folder = project.path / "prototxt" / TASK / "scratch-all-epochs2-batch7"
    assert "max_iter: 8\n" in (folder / "solver.prototxt").read_text()  # 2 x 28 / 7
    made = [path for path in (*data.rglob("*"), *folder.iterdir()) if path.name != "lock.mdb"]
    before = {path: path.stat().st_mtime_ns for path in made}
    again = project.make("prototxt", *line)
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in made}
    # Another run of the same data makes its prototxts only.
    assert project.make("prototxt", *line, "SCENARIO=skip_first").returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in made}


def test_a_changed_list_makes_new_lmdbs(project: SmallProject, tmp_path: Path) -> None:
    line = ("lmdb", f"TASK={TASK}", "INIT=scratch", "SPLIT_SEED=3")
    assert project.make(*line).returncode == 0
    data = project.path / "datasets" / f"{TASK}-seed3"
    before = (data / "lmdb.json").read_text()
    images = project.path / "datasets" / "raw" / TASK / "images" / "white"
    shutil.copy2(images / "1.jpg", images / "one more.jpg")
    try:
        done = project.make(*line)
        assert done.returncode == 0, done.stderr
        assert (data / "lmdb.json").read_text() != before
        lists = "".join((data / f"{part}.txt").read_text() for part in ("train", "val", "test"))
        assert "white/one more.jpg 1\n" in lists
    finally:
        (images / "one more.jpg").unlink()


@pytest.mark.caffenet
def test_the_main_job(project: SmallProject) -> None:
    """From pictures to the test accuracy with the full CaffeNet; again; edited; forced."""
    line = (TASK, "INIT=scratch", "EPOCHS=0.25", "BATCH=4", "GPU=none")
    name = "scratch-all-epochs0.25-batch4"
    done = project.make(*line)
    assert done.returncode == 0, done.stderr
    run = project.path / "experiments" / "runs" / TASK / name
    results = json.loads((run / "results.json").read_text())
    assert results["images"] == 8  # 20 % of 2 x 20
    assert f"of 8 images, 2 classes; chance {0.5:.1%}" in done.stdout
    with (run / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    tested = (project.path / "datasets" / TASK / "test.txt").read_text().splitlines()
    assert [row["image"] for row in rows] == [line.rsplit(" ", 1)[0] for line in tested]
    assert sum(row["right"] == "1" for row in rows) == round(results["top1"] * 8)
    record = json.loads((run / "run.json").read_text())
    assert (record["state"], record["iteration"], record["batch"]) == ("trained", 2, 4)
    assert record["sessions"][0]["engine"]["caffe"].startswith("1.0")
    wanted = {"caffe.log", "curve.csv", "curve.png", "confusion.csv", "confusion.png"}
    wanted |= {"train_val.prototxt", "deploy.prototxt", "solver.prototxt", "final.caffemodel"}
    assert wanted <= {path.name for path in run.iterdir()}

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    again = project.make(*line)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert again.returncode == 0, again.stderr
    assert "trained already, up to date" in again.stdout
    assert "test accuracy" in again.stdout
    assert json.loads((run / "run.json").read_text()) == record
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20

    solver = project.path / "prototxt" / TASK / name / "solver.prototxt"
    edited = solver.read_text().replace("max_iter: 2\n", "max_iter: 1  # mine\n")
    solver.write_text(edited)
    done = project.make(*line)
    assert done.returncode == 0, done.stderr
    assert "solver.prototxt: edited by hand, used as it is" in done.stdout
    assert "begun anew (solver changed)" in done.stdout
    assert solver.read_text() == edited
    assert json.loads((run / "run.json").read_text())["iteration"] == 1
    old = json.loads((run.with_name(f"{name}.old-1") / "run.json").read_text())
    assert old == record

    done = project.make("prototxt", f"TASK={TASK}", *line[1:], "FORCE=1")
    assert done.returncode == 0, done.stderr
    assert "max_iter: 2\n" in solver.read_text()
    assert solver.with_name("solver.prototxt.edited-1").read_text() == edited
