"""What every test may use: the real engine and Caffe's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.caffe.client import Engine, find_engine
from lib.caffe.device import Device
from tests.small_world import DATA, World, build_data

# The tests run side by side, a process a core: each computes with one thread.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_variable] = "1"


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real Caffe (CAFFE_PYTHON, or the one that `make caffe` installed), with one thread."""
    return find_engine(threads=1)


@pytest.fixture(scope="session")
def engine_python(engine: Engine) -> Path:
    """The path of a Python that can `import caffe`."""
    return engine.python


@pytest.fixture(scope="session")
def caffe_bin(engine_python: Path) -> Callable[[str], Path]:
    """A function from a Caffe program's name (convert_imageset, ...) to its path."""

    def find(name: str) -> Path:
        beside = engine_python.parent / name
        path = beside if beside.exists() else shutil.which(name)
        assert path, f"Caffe's own program {name} is neither beside {engine_python} nor on PATH"
        return Path(path)

    return find


@pytest.fixture(scope="session")
def in_engine(engine_python: Path) -> Callable[..., str]:
    """Run a piece of Python inside the engine and return what it prints."""

    def run(code: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [str(engine_python), "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def device(engine: Engine) -> Device:
    """The engine on the CPU, and what it says of itself."""
    return Device(engine, engine.call("about", {"gpu": None}), None)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists, LMDBs and mean of the small world's task, built once."""
    folder = tmp_path_factory.mktemp("small") / DATA.path.name
    build_data(folder)
    return folder


@pytest.fixture
def world(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_data: Path,
    device: Device,
    caffe_bin: Callable[[str], Path],
) -> World:
    """A small project (tests/small_world.py) in a new folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    DATA.path.parent.mkdir()
    DATA.path.symlink_to(small_data)
    return World(device, caffe_bin("caffe"))
