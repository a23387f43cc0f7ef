"""Whole files and folders: leftovers of ours go, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.files import back_up, whole_file, whole_folder, whole_name


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
