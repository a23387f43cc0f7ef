"""Files and folders that are there whole or not at all, also when many write at once."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from lib import files
from lib.files import back_up, remove_leftovers, whole_file, whole_folder, whole_name


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
        remove_leftovers([tmp_path / "set", tmp_path / "sub" / "f"])
        assert mine.is_dir()  # this process lives
        assert not list(tmp_path.glob("sub/.*"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_machine", lambda: "00000000")
        theirs = files._aside(tmp_path / "set")
    theirs.mkdir()
    remove_leftovers([tmp_path / "set"])
    assert theirs.is_dir()  # another machine may be at it
    long_ago = time.time() - 2 * 86_400
    os.utime(theirs, (long_ago, long_ago))
    remove_leftovers([tmp_path / "set"])
    assert not theirs.exists()


def test_leftovers_of_a_folder_are_told_from_others(tmp_path: Path) -> None:
    ours = [".a.x1_abcde.part", ".a.x1_abcde.old.part"]
    others = [".a.b.x1_abcde.part", ".a.mine.part", ".a.X1_ABCDE.part", "a.x1_abcde.part"]
    for name in ours + others:
        (tmp_path / name).mkdir()
    with whole_folder(tmp_path / "a") as aside:
        (aside / "file").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a", *others}


def test_a_folder_with_a_star_in_its_name(tmp_path: Path) -> None:
    (tmp_path / ".abc.x1_abcde.part").mkdir()
    with whole_folder(tmp_path / "a*"):
        pass
    assert (tmp_path / ".abc.x1_abcde.part").exists()


def test_a_folder_of_others_is_backed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "a"
    place.mkdir()
    (place / "file").write_text("of somebody else")
    with pytest.raises(KeyboardInterrupt), whole_folder(place, is_ours=False):
        raise KeyboardInterrupt
    assert (place / "file").read_text() == "of somebody else"
    with whole_folder(place, is_ours=False):
        pass
    assert (tmp_path / "a.backup-1" / "file").read_text() == "of somebody else"
    assert str(tmp_path / "a.backup-1") in capsys.readouterr().out
    with whole_folder(place):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.backup-1"}


def test_backups_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.backup-2").symlink_to("nowhere")
    for number in (1, 3):
        (tmp_path / "a").write_text(str(number))
        backup = back_up(tmp_path / "a")
        assert backup == tmp_path / f"a.backup-{number}"
        assert backup.read_text() == str(number)


def test_the_name_that_a_half_file_is_of(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a b.jpg") as aside:
        aside.touch()
        assert whole_name(aside) == "a b.jpg"
    for name in (".a.part", "a.1.part", ".a.x.part", ".a.1.part.txt", "a"):
        assert whole_name(tmp_path / name) is None
