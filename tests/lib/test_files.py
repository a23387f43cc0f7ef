"""Files and folders that are there whole or not at all, also when many write at once."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from lib import files
from lib.files import remove_leftovers, whole_file, whole_folder


def test_two_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    both = threading.Barrier(2)
    errors = []

    def write(letter: str) -> None:
        try:
            with whole_file(path) as aside:
                aside.write_text(letter * 1000)
                both.wait(5)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert list(tmp_path.iterdir()) == [path]


def test_two_threads_that_write_one_folder_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "set"
    both = threading.Barrier(8)
    errors = []

    def write(number: int) -> None:
        try:
            with whole_folder(path) as aside:
                both.wait(5)
                (aside / "a").write_text(str(number))
                (aside / "b").write_text(str(number))
        except Exception as error:
            errors.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert (path / "a").read_text() == (path / "b").read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    name = "é" * 125 + ".jpg"
    with whole_file(tmp_path / name) as aside:
        aside.write_bytes(b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_leftovers_go_when_their_writer_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if not child:
        with whole_folder(tmp_path / "set"), whole_file(tmp_path / "sub" / "f") as file:
            file.touch()
            os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / ".set.123.part").mkdir()  # as versions of before named them
    with whole_folder(tmp_path / "set") as mine:
        assert len(list(tmp_path.glob(".*.part"))) == 1
        remove_leftovers(tmp_path, below=True)
        assert mine.is_dir()  # this process lives
        assert not list(tmp_path.glob("sub/.*"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_machine", lambda: "00000000")
        theirs = files._aside(tmp_path / "set")
    theirs.mkdir()
    remove_leftovers(tmp_path)
    assert theirs.is_dir()  # another machine may be at it
    long_ago = time.time() - 2 * 86_400
    os.utime(theirs, (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert not theirs.exists()
