"""What is typed after make reaches the programs as it is, and nothing else does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.caffe.client import Engine
from tests.small_project import SmallProject, small_project
from tests.small_world import TASK, Plan

_PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> SmallProject:
    made = small_project(tmp_path_factory.mktemp("line") / "project", engine)
    made.environment["PYTHON"] = sys.executable
    return made


@pytest.mark.parametrize(
    "value",
    [
        "l'estaque",
        "$HOME",
        "$(shell touch made)",
        "$$(touch made)",
        "`touch made`",
        'a"b',
        "a;touch made",
        "a#b",
        "a\\b",
        "%",
        "é",
    ],
)
def test_no_character_is_read_by_make_or_a_shell(project: SmallProject, value: str) -> None:
    word = value
    done = project.make("lists", f"TASK={word}")
    assert done.returncode == 2
    assert f"unknown task '{word}'" in done.stderr
    assert not (project.path / "made").exists()


def test_nothing_comes_from_the_environment(project: SmallProject) -> None:
    before = dict(project.environment)
    project.environment.update(
        TASK="nonsense",
        MAKE_LINE="SPLIT",
        MAKE_LINE_SPLIT="nonsense",
        SPLIT="nonsense",
        RAW="/none",
    )
    try:
        done = project.make("lists", f"TASK={TASK}")
    finally:
        project.environment.clear()
        project.environment.update(before)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_when_make_is_gone_its_training_ends_with_a_snapshot(
    project: SmallProject, number: signal.Signals
) -> None:
    name = number.name
    project.write_prototxts(
        name, Plan(lr=0.001, max_iter=400_000, snapshot=100_000, test_interval=4000)
    )
    line = ["make", TASK, "INIT=scratch", f"RUN={name}", "GPU=none", "THREADS=1"]
    make = subprocess.Popen(
        line,
        cwd=project.path,
        env=project.environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = project.run(name)
    _wait(lambda: (run / "caffe.log").exists() and "Iteration 9" in _text(run / "caffe.log"))
    if number == signal.SIGHUP:
        os.killpg(make.pid, number)  # as a closed connection does
    else:
        make.send_signal(number)
    make.wait()
    _wait(lambda: json.loads((run / "run.json").read_text())["state"] != "training")
    assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
    assert list((run / "snapshots").glob("*.solverstate"))


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def _wait(condition: object) -> None:
    end = time.monotonic() + _PATIENCE
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
