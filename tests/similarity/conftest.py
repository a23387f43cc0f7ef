"""One search page for all tests that only look at it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.caffe.client import Engine
from tests.served_page import Served, start, stop
from tests.similar_world import RUNS, TASK, build
from tests.small_world import PROJECT


@pytest.fixture(scope="session")
def folder(
    tmp_path_factory: pytest.TempPathFactory, in_engine: Callable[..., str], engine: Engine
) -> Path:
    """The small world with the features of both runs."""
    place = tmp_path_factory.mktemp("page")
    before = Path.cwd()
    os.chdir(place)
    try:
        build(in_engine)
        subprocess.run(
            [sys.executable, "-m", "tools.features", "--weights", *RUNS, "--task", TASK],
            env=dict(os.environ, PYTHONPATH=str(PROJECT), CAFFE_PYTHON=str(engine.python)),
            check=True,
            capture_output=True,
        )
    finally:
        os.chdir(before)
    return place


@pytest.fixture(scope="session")
def page(folder: Path, engine: Engine) -> Iterator[Served]:
    served = start(folder, engine)
    yield served
    stop(served)
