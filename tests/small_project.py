"""A copy of the project in a folder of its own, with a task of few images and nets of few weights.

`make` works in it as it does in the project, with this engine. Its runs have prototxts that were
written beforehand, as if edited by hand, so that a training takes a second or two.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lib.caffe.client import Engine
from tests.pictures import scene
from tests.small_world import CLASSES, PROJECT, TASK, Plan, deploy, solver, train_val

_ROOMS = ("datasets", "experiments", "lib", "models", "prototxt", "requirements", "tools")
_CODE = (".py", ".toml", ".md", ".prototxt", ".jinja", ".j2", ".lock", ".csv", ".json", ".html")
_IMAGES = 12  # a class
_TASKS = f"""
[{TASK}]
source = "folder"
collection = "{TASK}"
label = "class"
at_least = 5

[no_material]
source = "folder"
collection = "not_there"
label = "class"
at_least = 5
"""


@dataclass(frozen=True)
class SmallProject:
    """The copy, and how to work in it."""

    path: Path
    environment: dict[str, str]

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a make line and wait for it."""
        return subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m` with these words and wait for it."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def start(self, *words: str, log: Path, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start `python -m` with these words and more environment; what it says goes into `log`."""
        with log.open("ab") as handle:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.path,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
            )

    def write_prototxts(self, name: str, plan: Plan) -> Path:
        """Write a run's three prototxts by hand; return their folder."""
        folder = self.path / "prototxt" / plan.task / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train_val.prototxt").write_text(train_val(plan))
        (folder / "deploy.prototxt").write_text(deploy(plan))
        (folder / "solver.prototxt").write_text(solver(plan, name))
        return folder

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.path / "experiments" / "runs" / TASK / name


def small_project(path: Path, engine: Engine) -> SmallProject:
    """Make a copy at `path`, which must not be there yet, with the small task and its pictures."""
    project = copy_project(path, engine)
    (path / "datasets" / "tasks.toml").write_text(_TASKS)
    _draw(path / "datasets" / "raw" / TASK / "images")
    return project


def copy_project(path: Path, engine: Engine) -> SmallProject:
    """Copy the code alone to `path`, so that make works there with this Python and this engine."""
    for room in _ROOMS:
        shutil.copytree(PROJECT / room, path / room, ignore=_no_code)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(PROJECT / name, path / name)
    python = path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in (".ready", ".with-grid"):
        (path / ".venv" / name).touch()
    left_out = {"PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "TESTS"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return SmallProject(path, kept | {"CAFFE_PYTHON": str(engine.python), "PYTHONUTF8": "1"})


def _no_code(folder: str, names: list[str]) -> set[str]:
    """What copytree leaves out: data, runs, caches."""
    room = Path(folder).relative_to(PROJECT)
    kept = {"nets", "templates"} if room == Path("prototxt") else None
    kept = {"sources"} if room == Path("datasets") else kept
    return {
        name
        for name in names
        if name in ("__pycache__", "runs", "raw")
        or (
            kept is not None and name not in kept
            if Path(folder, name).is_dir()
            else not name.endswith(_CODE)
        )
    }


def _draw(images: Path) -> None:
    """A folder of pictures a class, each with more of one colour."""
    for label, name in enumerate(CLASSES):
        (images / name).mkdir(parents=True)
        for number in range(_IMAGES):
            picture = scene(40, 60, 100 * label + number).astype(int) // 2
            picture[..., label] += 60
            cv2.imwrite(str(images / name / f"{number}.png"), picture.astype(np.uint8))
