"""The list files of a data folder, and the tool that makes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.folders import PARTS, DataFolder, data_folder, lists_command
from datasets.lists import read_record
from datasets.records import images_root
from lib.errors import UserError

TASK = '[small]\nsource = "met"\nlabel = "nationality"\nat_least = 5\n'
COUNTS = {"French": 30, "Dutch": 10, "Greek": 2}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a small museum under raw/met and a task for it."""
    images = tmp_path / "raw" / "met" / "images"
    images.mkdir(parents=True)
    records: list[dict[str, object]] = []
    for name, number in COUNTS.items():
        for _ in range(number):
            record: dict[str, object] = {"objectID": len(records), "artistNationality": name}
            record |= {"accessionNumber": f"{len(records) // 2}", "artistDisplayName": ""}
            records.append(record)
            (images / f"{record['objectID']}.jpg").touch()
    write_records(tmp_path, records)
    (tmp_path / "tasks.toml").write_text(TASK, encoding="utf-8")
    return tmp_path


def write_records(place: Path, records: list[dict[str, object]]) -> None:
    text = json.dumps({"total": len(records), "objects": records})
    (place / "raw" / "met" / "objects.json").write_text(text, encoding="utf-8")


def make(place: Path, *more: str, task: str = "small") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.lists", "--task", task]
    command += ["--tasks", str(place / "tasks.toml"), "--raw", str(place / "raw")]
    command += ["--data-folder", str(place / "data"), *more]
    return subprocess.run(command, capture_output=True, text=True)


def test_lists_as_caffe_reads_them(place: Path) -> None:
    done = make(place)
    assert done.returncode == 0, done.stderr
    assert "40 images in 2 classes: train 28, val 4, test 8" in done.stdout
    folder = DataFolder(place / "data")
    assert folder.classes.read_text() == "Dutch\nFrench\n"
    lines = [line for part in PARTS for line in folder.list(part).read_text().splitlines()]
    assert len(lines) == len(set(lines)) == 40
    for line in lines:
        image, label = line.split(" ")
        assert label == ("1" if int(image.removesuffix(".jpg")) < 30 else "0")
    record = read_record(folder)
    assert record.counts == {"train": 28, "val": 4, "test": 8}
    assert record.classes["Dutch"] == {"train": 7, "val": 1, "test": 2}
    assert record.left_out == {"class without at least 5 images": 2}
    assert images_root(folder) == place / "raw" / "met" / "images"


def test_unchanged_lists_keep_their_times(place: Path) -> None:
    make(place)
    files = sorted((place / "data").iterdir())
    for file in files:
        os.utime(file, (1_000_000_000, 1_000_000_000))
    again = make(place)
    assert "(as before)" in again.stdout
    assert {file.stat().st_mtime for file in files} == {1_000_000_000}
    assert make(place, "--split-seed", "2").returncode == 0
    data = DataFolder(place / "data")
    assert data.list("train").stat().st_mtime > 1_000_000_000
    assert data.classes.stat().st_mtime == 1_000_000_000  # the same classes


def test_lists_do_not_depend_on_the_order_of_records(place: Path) -> None:
    make(place)
    folder = DataFolder(place / "data")
    before = {part: folder.list(part).read_bytes() for part in PARTS}
    file = place / "raw" / "met" / "objects.json"
    write_records(place, json.loads(file.read_text())["objects"][::-1])
    shutil.rmtree(folder.path)
    make(place)
    assert {part: folder.list(part).read_bytes() for part in PARTS} == before


def test_by_work_keeps_a_work_on_one_side(place: Path) -> None:
    assert make(place, "--split", "by_work").returncode == 0
    folder = DataFolder(place / "data")
    sides: dict[int, set[str]] = {}
    for part in PARTS:
        for line in folder.list(part).read_text().splitlines():
            sides.setdefault(int(line.split(".")[0]) // 2, set()).add(part)
    assert all(len(side) == 1 for side in sides.values())
    assert read_record(folder).split == "by_work"


@pytest.mark.parametrize("stop_before", ["train.txt", "test.txt", "lists.json"])
def test_killed_between_two_files_leaves_nothing_taken_for_whole(
    place: Path, stop_before: str
) -> None:
    make(place)
    killer = f"""
import os, sys
from pathlib import Path
real = Path.replace
def replace(self, target):
    if Path(target).name == {stop_before!r}:
        os.kill(os.getpid(), 9)
    return real(self, target)
Path.replace = replace
from tools.lists import main
main()
"""
    arguments = ["--task", "small", "--tasks", str(place / "tasks.toml"), "--split-seed", "2"]
    arguments += ["--raw", str(place / "raw"), "--data-folder", str(place / "data")]
    done = subprocess.run([sys.executable, "-c", killer, *arguments])
    assert done.returncode == -9
    folder = DataFolder(place / "data")
    with pytest.raises(UserError, match="no lists in"):
        read_record(folder)
    assert make(place, "--split-seed", "2").returncode == 0
    assert read_record(folder).seed == 2
    left = {path.name for path in folder.path.iterdir()}
    assert left >= {"classes.txt", "train.txt", "val.txt", "test.txt", "lists.json"}


def test_a_list_changed_afterwards_is_noticed_and_kept_till_forced(place: Path) -> None:
    make(place)
    folder = DataFolder(place / "data")
    whole = folder.list("val").read_bytes()
    folder.list("val").write_bytes(whole[:-5])
    with pytest.raises(UserError, match=r"val\.txt is not the list that"):
        read_record(folder)
    refused = make(place)
    assert refused.returncode == 2
    assert "val.txt was changed since it was made: make lists TASK=data FORCE=1" in refused.stderr
    assert folder.list("val").read_bytes() == whole[:-5]
    assert make(place, "--force").returncode == 0
    assert folder.list("val").read_bytes() == whole
    folder.list("val").unlink()  # gone is not changed
    assert make(place).returncode == 0
    assert folder.list("val").read_bytes() == whole


def test_lists_of_others_are_backed_up(place: Path) -> None:
    folder = DataFolder(place / "data")
    folder.path.mkdir()
    folder.list("train").write_text("a list made by hand 0\n")
    done = make(place)
    backup = folder.path / "train.txt.backup-1"
    assert f"it is now {backup}" in done.stdout
    assert backup.read_text() == "a list made by hand 0\n"
    folder.list("val").write_text("changed by hand 0\n")
    make(place, "--force")
    assert (folder.path / "val.txt.backup-1").read_text() == "changed by hand 0\n"
    make(place, "--seed", "5")
    assert len(list(folder.path.glob("*.backup-*"))) == 2, "our own are just replaced"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": 3}'])
def test_a_damaged_record_is_noticed_and_made_again(place: Path, text: str) -> None:
    make(place)
    folder = DataFolder(place / "data")
    whole = folder.record.read_bytes()
    folder.record.write_text(text)
    with pytest.raises(UserError, match=r"is damaged .*; make the lists again"):
        read_record(folder)
    make(place)
    assert folder.record.read_bytes() == whole


def test_a_missing_image_is_a_counted_warning(place: Path) -> None:
    (place / "raw" / "met" / "images" / "3.jpg").unlink()
    done = make(place)
    assert done.returncode == 0
    assert "warning: 1 image of the catalogue not found" in done.stderr
    assert "3.jpg (objects.json object 3)" in done.stderr
    record = read_record(DataFolder(place / "data"))
    assert record.left_out["image file missing"] == 1
    assert record.warnings[0]["rows"] == ["3.jpg (objects.json object 3)"]


def test_a_class_without_images_is_an_error(place: Path) -> None:
    for number in range(30, 40):
        (place / "raw" / "met" / "images" / f"{number}.jpg").unlink()
    done = make(place)
    assert done.returncode == 2
    assert done.stderr.startswith("error: class 'Dutch' of task small has no image below")
    assert not (place / "data").exists()


def test_a_class_too_small_to_split_is_an_error(place: Path) -> None:
    (place / "tasks.toml").write_text(TASK.replace("5", "2"), encoding="utf-8")
    done = make(place)
    assert done.returncode == 2
    assert "error: class 'Greek' has 2 images to split, too few" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_there_says_what_is_missing_and_how_to_get_it(place: Path) -> None:
    shutil.rmtree(place / "raw")
    done = make(place)
    assert done.returncode == 2
    assert f"the catalogue of met: goes into {place}/raw/met/; get it with: make" in done.stderr
    assert f"the images of met: go into {place}/raw/met/images/; get" in done.stderr
    assert not (place / "data").exists()


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"objects": [{"title": "no id"}]}', "{"])
def test_records_that_are_not_the_museums(place: Path, text: str) -> None:
    (place / "raw" / "met" / "objects.json").write_text(text)
    done = make(place)
    assert done.returncode == 2
    assert "does not hold the museum's records" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_misspelt_names(place: Path) -> None:
    assert "did you mean small" in make(place, task="smal").stderr
    assert "invalid choice: 'by_works'" in make(place, "--split", "by_works").stderr


def test_folders_of_other_seeds_and_splits_have_other_names() -> None:
    names = {
        data_folder("a", seed=seed, split=split).path.name
        for seed in (1, 2)
        for split in ("by_image", "by_work")
    }
    assert names == {"a", "a-by_work", "a-seed2", "a-by_work-seed2"}


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("wga_artist", "make lists TASK=wga_artist"),
        ("wga_artist-seed12", "make lists TASK=wga_artist SPLIT_SEED=12"),
        ("wga_artist-by_work-seed2", "make lists TASK=wga_artist SPLIT=by_work SPLIT_SEED=2"),
    ],
)
def test_what_makes_the_lists_is_named(name: str, command: str) -> None:
    assert lists_command(Path("datasets") / name) == command
