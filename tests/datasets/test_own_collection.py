"""A user's own collection, by folders and by CSV, and TICC, which is read alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.catalogue import missing, read_catalogue
from datasets.folders import PARTS, DataFolder
from datasets.lists import read_record
from datasets.select import select, with_images
from datasets.tasks import Task, get_task
from lib.errors import UserError

NAMES = ("Röda häst", "blå fågel")


def task(label: str = "class", minimum: int = 3) -> Task:
    rule = f"at least {minimum}"
    return Task("mine", "folder", label, minimum, rule, collection="my pictures")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "my pictures" / "images"
    for name in NAMES:
        (root / name).mkdir(parents=True)
        for number in range(10):
            (root / name / f"bild {number}.jpg").touch()
    return root


def catalogue(root: Path, text: str) -> None:
    (root.parent / "catalog.csv").write_text(text, encoding="utf-8")


def test_folders_are_classes(tmp_path: Path, images: Path) -> None:
    (images / NAMES[0] / "notes.txt").touch()
    (images / NAMES[0] / ".hidden.jpg").touch()
    (images / "loose.jpg").touch()
    found = read_catalogue(task(), tmp_path)
    chosen = with_images(select(found, task()), found.images)
    assert chosen.counts == dict.fromkeys(NAMES, 10)
    assert [str(note) for note in chosen.notes] == [
        "1 image in no class's folder left out: loose.jpg"
    ]


def test_folders_to_lists_with_spaces_and_letters(tmp_path: Path, images: Path) -> None:
    done = run_lists(tmp_path, images)
    assert done.returncode == 0, done.stderr
    folder = DataFolder(tmp_path / "data")
    assert folder.classes.read_text(encoding="utf-8") == f"{NAMES[0]}\n{NAMES[1]}\n"
    lines = [
        line
        for part in PARTS
        for line in folder.list(part).read_text(encoding="utf-8").splitlines()
    ]
    assert sorted(lines) == sorted(
        f"{name}/bild {number}.jpg {label}"
        for label, name in enumerate(NAMES)
        for number in range(10)
    )


def run_lists(tmp_path: Path, images: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "tasks.toml"
    file.write_text(
        f'[mine]\nsource = "folder"\ncollection = "{images.parent}"\n'
        'label = "class"\nat_least = 3\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "tools.lists", "--task", "mine", "--tasks", str(file)]
    return subprocess.run(
        [*command, "--data-folder", str(tmp_path / "data")], capture_output=True, text=True
    )


def test_names_that_no_text_can_hold(tmp_path: Path, images: Path) -> None:
    latin = os.fsencode(images / NAMES[0]) + b"/\xe9t\xe9.jpg"  # Latin-1, no UTF-8
    Path(os.fsdecode(latin)).touch()
    (images / NAMES[0] / "two\nlines.jpg").touch()
    done = run_lists(tmp_path, images)
    assert done.returncode == 0, done.stderr
    assert "warning: 1 image left out: a list has no room for a line break" in done.stderr
    folder = DataFolder(tmp_path / "data")
    lists = b"".join(folder.list(part).read_bytes() for part in PARTS)
    assert f"{NAMES[0]}/".encode() + b"\xe9t\xe9.jpg 0\n" in lists
    assert lists.count(b"\n") == 21
    assert read_record(folder).left_out == {"line break in the path": 1}


def test_a_class_whose_name_cannot_be_written(tmp_path: Path, images: Path) -> None:
    (images / NAMES[0]).rename(os.fsdecode(os.fsencode(images) + b"/r\xf6d"))
    done = run_lists(tmp_path, images)
    assert done.returncode == 2
    assert "cannot be written; rename it" in done.stderr


def test_csv_with_label_columns(tmp_path: Path, images: Path) -> None:
    rows = [f"{name}/bild {i}.jpg,Åsa,{name[0]}" for name in NAMES for i in range(4)]
    catalogue(images, "Path,Artist,Colour of it\n" + "\n".join(rows) + "\n")
    found = read_catalogue(task("Colour of it"), tmp_path)
    assert set(found.table["artist"]) == {"Åsa"}
    chosen = with_images(select(found, task("Colour of it")), found.images)
    assert chosen.counts == {"R": 4, "b": 4}
    with pytest.raises(UserError, match="did you mean Colour of it"):
        select(found, task("colour"))


def test_names_without_folder_or_suffix_or_composed_letters_find_their_files(
    tmp_path: Path, images: Path
) -> None:
    (images / NAMES[0] / "u\u0308ber.png").touch()
    catalogue(
        images,
        "image;artist\n\u00fcber.png;A\n\u00fcber;B\nbild 1.jpg;C\nRöda häst\\bild 2.jpg;D\n",
    )
    table = read_catalogue(task("artist"), tmp_path).table
    assert table["image"].tolist() == [
        f"{NAMES[0]}/u\u0308ber.png",
        f"{NAMES[0]}/u\u0308ber.png",
        "bild 1.jpg",  # two files answer to this name
        f"{NAMES[0]}/bild 2.jpg",
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/x.jpg", "a/../../x.jpg", "C:\\x.jpg"])
def test_paths_that_lead_outside_are_refused(tmp_path: Path, images: Path, path: str) -> None:
    catalogue(images, f"image,artist\na.jpg,A\n{path},B\n")
    with pytest.raises(UserError, match=r"1 path not below .* \(catalog\.csv row 3\)"):
        read_catalogue(task("artist"), tmp_path)


def test_csv_without_a_column_of_images(tmp_path: Path, images: Path) -> None:
    catalogue(images, "work,artist\nThe Nightwatch,A\n")
    with pytest.raises(UserError, match="no column image; it has 'work', 'artist'"):
        read_catalogue(task("artist"), tmp_path)


def test_nothing_there_yet(tmp_path: Path) -> None:
    lacks = missing(task(), tmp_path)
    assert [f"{tmp_path}/my pictures/" in line for line in lacks] == [True, True]
    (tmp_path / "my pictures" / "images").mkdir(parents=True)
    assert len(missing(task(), tmp_path)) == 2


TICC = get_task("ticc_artist")


@pytest.mark.parametrize("header", ["image,artist", "Filename;Creator", "path\tARTIST"])
def test_ticc_with_a_list(tmp_path: Path, header: str) -> None:
    separator = next(mark for mark in ",;\t" if mark in header)
    rows = [
        f"RP-P-{artist}-{number}{separator}{artist}"
        for artist in ("Rembrandt", "Goltzius", "Few")
        for number in range(95 if artist == "Few" else 96)
    ]
    (tmp_path / "ticc" / "images" / "Rembrandt").mkdir(parents=True)
    (tmp_path / "ticc" / "images" / "Rembrandt" / "RP-P-Rembrandt-0.jpg").touch()
    (tmp_path / "ticc" / "catalog.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    found = read_catalogue(TICC, tmp_path)
    assert found.table["image"].iloc[0] == "Rembrandt/RP-P-Rembrandt-0.jpg"
    assert select(found, TICC).counts == {"Goltzius": 96, "Rembrandt": 96}


def test_ticc_with_a_folder_per_artist(tmp_path: Path) -> None:
    for artist, number in (("Rembrandt van Rijn", 96), ("Hendrick Goltzius", 100), ("Few", 95)):
        folder = tmp_path / "ticc" / "images" / artist
        folder.mkdir(parents=True)
        for i in range(number):
            (folder / f"{i}.jpg").touch()
    counts = select(read_catalogue(TICC, tmp_path), TICC).counts
    assert counts == {"Hendrick Goltzius": 100, "Rembrandt van Rijn": 96}


def test_ticc_without_a_column_of_artists(tmp_path: Path) -> None:
    (tmp_path / "ticc").mkdir()
    (tmp_path / "ticc" / "catalog.csv").write_text("image,year\na.jpg,1600\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"no column artist in catalog\.csv, 1 row; it has image, year"
    ):
        read_catalogue(TICC, tmp_path)
