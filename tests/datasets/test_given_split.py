"""SPLIT=given: the source's own train, val and test, kept; what it lacks is decided and said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datasets.folders import DataFolder, data_folder, lists_command
from datasets.lists import read_record
from datasets.split import as_given
from lib.errors import UserError


def given(**sizes: int) -> tuple[dict[str, str], dict[str, str]]:
    images = [(f"{part}{n}", part) for part, size in sizes.items() for n in range(size)]
    return (
        {name: "xy"[n % 2] for n, (name, _) in enumerate(images)},
        dict(images),
    )


def test_three_parts_are_kept_and_shuffled() -> None:
    labels, parts = given(train=20, val=4, test=6)
    split, said = as_given(labels, parts, 1)
    assert said == []
    for part, images in split.items():
        assert sorted(images) == sorted(name for name, own in parts.items() if own == part)
    assert split["train"] != [name for name in parts if parts[name] == "train"]
    assert as_given(labels, parts, 2)[0]["train"] != split["train"]


@pytest.mark.parametrize("second", ["val", "test"])
def test_of_two_parts_the_second_is_the_test_set(second: str) -> None:
    labels, parts = given(train=160, **{second: 40})
    split, said = as_given(labels, parts, 1)
    assert {part: len(images) for part, images in split.items()} == {
        "train": 140,
        "val": 20,
        "test": 40,
    }
    assert sorted(split["test"]) == sorted(name for name, own in parts.items() if own == second)
    assert sum(labels[name] == "x" for name in split["val"]) == 10  # an eighth of each class
    assert "an eighth of each class of train is val" in " ".join(said)
    assert ("its val is the test set" in " ".join(said)) == (second == "val")


def test_what_can_not_be_trained_with() -> None:
    labels, parts = given(train=8)
    with pytest.raises(UserError, match="the source has only train"):
        as_given(labels, parts, 1)
    with pytest.raises(UserError, match="the source has no given split"):
        as_given({}, {}, 1)
    labels, parts = given(train=8, val=4, test=4)
    labels |= {"test0": "only in test"}
    with pytest.raises(UserError, match="'only in test' has no image to train with"):
        as_given(labels, parts, 1)


def test_lists_of_a_given_split(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    names = [f"{'ab'[n % 2]}{n}.jpg" for n in range(20)]
    for name in names:
        (root / "images" / name).touch()
    lines = [f"{name} {n % 2}\n" for n, name in enumerate(names)]
    (root / "train.txt").write_text("".join(lines[:12]))
    (root / "val.txt").write_text("".join(lines[12:16]))
    (root / "test.txt").write_text("".join(lines[16:]) + "gone.jpg 1\n")
    (root / "labels.txt").write_text("woodcut\netching\n")
    tasks = tmp_path / "tasks.toml"
    tasks.write_text(
        f'[mine]\nsource = "folder"\ncollection = "{root}"\nlabel = "class"\nat_least = 1\n'
    )
    command = [sys.executable, "-m", "tools.lists", "--task", "mine", "--tasks", str(tasks)]
    command += ["--split", "given", "--data-folder", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning: 1 image of the catalogue not found" in done.stderr
    folder = DataFolder(tmp_path / "data")
    assert folder.classes.read_text() == "woodcut\netching\n"  # the numbers of the lists stay
    assert sorted(folder.list("train").read_text().splitlines(True)) == sorted(lines[:12])
    assert sorted(folder.list("val").read_text().splitlines(True)) == sorted(lines[12:16])
    assert sorted(folder.list("test").read_text().splitlines(True)) == sorted(lines[16:])
    assert read_record(folder).split == "given"


def test_a_given_split_has_a_folder_of_its_own() -> None:
    folder = data_folder("wikiart_style", split="given")
    assert folder.path.name == "wikiart_style-given"
    assert lists_command(folder.path) == "make lists TASK=wikiart_style SPLIT=given"
