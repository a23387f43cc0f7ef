"""What every test may use: the real engine and Caffe's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.client import Engine, find_engine


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
