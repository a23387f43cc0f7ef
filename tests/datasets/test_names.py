"""Names of image files: any bytes that Linux allows, from lists to LMDBs and their verification."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from datasets.folders import PARTS, DataFolder
from datasets.imagelist import read_classes, read_list
from datasets.lists import read_record
from datasets.records import read_lmdb_record
from datasets.works import read_works
from lib.display import escaped
from lib.errors import UserError
from tests.pictures import write_jpeg

ODD = [
    b"caf\xe9.jpg",  # not UTF-8
    "nel\x85.jpg".encode(),
    "line\u2028sep.jpg".encode(),
    "para\u2029.jpg".encode(),
    b"two  blanks .jpg",
    b'quote\'s "double".jpg',
    b"$HOME $(x) `y`.jpg",
    b"100%25 %s.jpg",
    b"#hash;semi&amp.jpg",
    b"back\\slash.jpg",
    b"tab\tform\x0c\x1b.jpg",
    b"-dash.jpg",
]
TASKS = '[mine]\nsource = "folder"\ncollection = "mine"\nlabel = "class"\nat_least = 3\n'


def tool(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"tools.{name}", *map(str, words)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tasks.toml").write_text(TASKS)
    for row, kind in enumerate(("a", "b")):
        folder = tmp_path / "raw" / "mine" / "images" / kind
        write_jpeg(folder / "0.jpg", row)
        for number, name in enumerate(ODD):
            (folder / os.fsdecode(name)).write_bytes((folder / "0.jpg").read_bytes())
            write_jpeg(folder / os.fsdecode(name), 20 * row + number)
    return tmp_path


def lists(place: Path) -> DataFolder:
    done = tool(
        *("lists", "--task", "mine", "--raw", place / "raw", "--tasks", place / "tasks.toml"),
        *("--data-folder", place / "data"),
    )
    assert done.returncode == 0, done.stderr
    return DataFolder(place / "data")


def test_odd_names_pass_through_lists_lmdbs_and_verify(place: Path) -> None:
    data = lists(place)
    listed = {
        os.fsencode(entry.path) for part in PARTS for entry in read_list(data.list(part), classes=2)
    }
    assert listed == {b"%s/%s" % (kind, name) for kind in (b"a", b"b") for name in [*ODD, b"0.jpg"]}
    assert read_record(data).counts == {"train": 18, "val": 2, "test": 6}
    done = tool("lmdb", "--data", data.path, "--workers", 1)
    assert done.returncode == 0, done.stderr
    keys = set()
    for part in PARTS:
        with lmdb.open(str(data.lmdb(part)), readonly=True, lock=False) as env, env.begin() as one:
            keys |= {bytes(key)[9:] for key, _ in one.cursor()}
    assert keys == listed
    done = tool("verify_lmdb", "--data", data.path, "--decode", 100)
    assert done.returncode == 0, done.stderr
    assert set(map(os.fsencode, read_works(data))) == listed
    assert read_works(data)[os.fsdecode(b"a/caf\xe9.jpg")]["class"] == "a"


def test_a_broken_image_of_an_odd_name_is_left_out_and_recorded(place: Path) -> None:
    data = lists(place)
    name = b"a/caf\xe9.jpg"
    (place / "raw" / "mine" / "images" / os.fsdecode(name)).write_bytes(b"no image")
    done = tool("lmdb", "--data", data.path, "--workers", 1)
    assert done.returncode == 2
    assert "a/caf\\xe9.jpg: not an image" in done.stderr
    done = tool("lmdb", "--data", data.path, "--workers", 1, "--skip-broken")
    assert done.returncode == 0, done.stderr
    left_out = read_lmdb_record(data).left_out
    assert [os.fsencode(path) for part in PARTS for path in left_out[part]] == [name]
    assert name in data.lmdb_record.read_bytes()
    done = tool("verify_lmdb", "--data", data.path, "--decode", 100)
    assert done.returncode == 0, done.stderr
    assert "up to date" in tool("lmdb", "--data", data.path).stdout


def test_a_line_break_in_a_name_is_said_and_left_out(place: Path) -> None:
    write_jpeg(place / "raw" / "mine" / "images" / "a" / "line\nbreak.jpg", 1)
    done = tool(
        *("lists", "--task", "mine", "--raw", place / "raw", "--tasks", place / "tasks.toml"),
        *("--data-folder", place / "data"),
    )
    assert done.returncode == 0
    (line,) = [one for one in done.stderr.split("\n") if "line break" in one]
    assert "1 image left out" in line


def test_class_names_are_lines_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("one\u2028half\ntwo\x85half\n", newline="")
    assert read_classes(path) == ["one\u2028half", "two\x85half"]
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_classes(path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("a\nb\x85\u2028", "a\\nb\\x85\\u2028"),
        ('Ångström\'s "$1" %\\ ', 'Ångström\'s "$1" %\\ '),
    ],
)
def test_names_are_shown_escaped(name: str, shown: str) -> None:
    assert escaped(name) == shown
    assert json.dumps(escaped(name)).encode()


@pytest.mark.parametrize(
    "text",
    ['{"images_root": 3, "sha256": {}}', "[]", "{", '{"sha256": {}}', "[" * 100_000, "\xff", ""],
)
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str) -> None:
    data = DataFolder(tmp_path)
    for path in (data.record, data.lmdb_record):
        path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="damaged") as error:
        read_record(data)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="damaged"):
        read_lmdb_record(data)
