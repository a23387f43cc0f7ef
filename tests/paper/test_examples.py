"""Figures 1 and 4: example paintings on one page, the same for the same seed, with labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from datasets.catalogue import read_catalogue
from datasets.folders import PARTS, DataFolder, data_folder
from datasets.tasks import get_task
from experiments.paper.figures.examples import choose
from experiments.paper.painting_labels import PaintingLabel, painting_labels
from lib.errors import UserError
from tests.pictures import write_jpeg
from tools import fig as program

REPORT = Path("experiments/report")


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Three classes of 2, 6 and 9 images."""
    made = DataFolder(tmp_path / "task")
    made.path.mkdir()
    made.classes.write_text("still life\nportrait\nlandscape\n")
    root = tmp_path / "images"
    made.record.write_text(json.dumps({"images_root": str(root), "sha256": {}}))
    lines: dict[str, list[str]] = {part: [] for part in PARTS}
    for label, number in enumerate((2, 6, 9)):
        for row in range(number):
            name = f"{label} é/{row}.jpg"
            write_jpeg(root / name, 10 * label + row, height=30 + row * 60, width=50)
            lines[PARTS[row % 3]].append(f"{name} {label}\n")
    for part in PARTS:
        made.list(part).write_text("".join(lines[part]))
    return made


def _names(folder: DataFolder, seed: int) -> dict[str, list[str]]:
    chosen = choose(folder, each=4, seed=seed)
    return {name: [path for path, _ in pictures] for name, pictures in chosen.items()}


def test_each_class_shows_its_own_images_and_the_seed_decides(folder: DataFolder) -> None:
    first = _names(folder, 1)
    assert {name: len(paths) for name, paths in first.items()} == {
        "still life": 2,
        "portrait": 4,
        "landscape": 4,
    }
    for label, paths in enumerate(first.values()):
        assert all(path.startswith(f"{label} ") for path in paths)
        assert len(set(paths)) == len(paths)
    assert _names(folder, 1) == first
    assert any(_names(folder, seed) != first for seed in (2, 3, 4))


def test_the_choice_does_not_depend_on_the_order_of_the_lists(folder: DataFolder) -> None:
    first = _names(folder, 1)
    lines = folder.list("train").read_text().splitlines(keepends=True)
    folder.list("train").write_text("".join(reversed(lines)))
    assert _names(folder, 1) == first


def test_broken_images_are_passed_over(folder: DataFolder, tmp_path: Path) -> None:
    (tmp_path / "images" / "0 é" / "0.jpg").write_bytes(b"no image")
    assert _names(folder, 1)["still life"] == ["0 é/1.jpg"]
    (tmp_path / "images" / "0 é" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"class 'still life' .* has no image"):
        choose(folder, each=4, seed=1)


def place_lists(folder: DataFolder, task: str) -> None:
    """Let the three classes be a task's."""
    there = data_folder(task).path
    there.parent.mkdir(exist_ok=True)
    there.symlink_to(folder.path.resolve())


def run_it(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the program as a user does."""
    monkeypatch.setattr("sys.argv", ["fig", *words])
    program.main()


def test_figure_1_is_one_page_with_a_painting_of_each_class(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place_lists(folder, "wikiart_genre")
    run_it(monkeypatch, "fig1")
    table = pd.read_csv(REPORT / "fig1.csv")
    assert list(table["group"]) == ["still life", "portrait", "landscape"]
    with Image.open(REPORT / "fig1.png") as image:
        width, height = (side / 200 * 2.54 for side in image.size)  # cm at 200 dots an inch
    assert width == pytest.approx(18, abs=0.02)
    assert height < 27
    for kind in ("fig1.pdf", "fig1-9cm.pdf"):
        assert (REPORT / kind).read_bytes().startswith(b"%PDF")
    run_it(monkeypatch, "fig1", "--seed", "2")
    assert list(pd.read_csv(REPORT / "fig1.csv")["image"]) != list(table["image"])
    run_it(monkeypatch, "fig1")
    assert pd.read_csv(REPORT / "fig1.csv").equals(table)


def test_figure_4_is_one_page_of_each_source(
    folder: DataFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        run_it(monkeypatch, "fig4")
    for task in ("wikiart_artist", "wga_artist"):
        assert f"`make lists TASK={task}`" in str(caught.value)
    place_lists(folder, "wga_artist")
    place_lists(folder, "ticc_artist")
    run_it(monkeypatch, "fig4")
    said = capsys.readouterr().out
    assert "wrote experiments/report/fig4.png" in said
    assert "fig4 is not complete: it lacks 1 list: `make lists TASK=wikiart_artist`" in said
    table = pd.read_csv(REPORT / "fig4.csv")
    assert list(table["group"]) == ["WGA"] * 5 + ["TICC"] * 5
    with Image.open(REPORT / "fig4.png") as image:
        assert image.height / 200 * 2.54 < 27
    place_lists(folder, "wikiart_artist")
    run_it(monkeypatch, "fig4")
    assert len(pd.read_csv(REPORT / "fig4.csv")) == 15


def test_of_hundreds_of_classes_as_many_are_shown_as_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = data_folder("ticc_artist")
    made.path.mkdir(parents=True)
    made.classes.write_text("".join(f"artist {n}\n" for n in range(60)))
    made.record.write_text(json.dumps({"images_root": str(tmp_path / "i"), "sha256": {}}))
    for start, part in enumerate(PARTS):
        made.list(part).write_text("".join(f"{n}.jpg {n}\n" for n in range(start, 60, 3)))
    for n in range(60):
        write_jpeg(tmp_path / "i" / f"{n}.jpg", n, height=60, width=50)
    run_it(monkeypatch, "fig1", "--task", "ticc_artist")
    assert len(pd.read_csv(REPORT / "fig1-ticc_artist.csv")) == 40
    assert "20 of its 60 classes have no room" in capsys.readouterr().out


def test_labels_name_the_painting(tmp_path: Path) -> None:
    """Artist, title and date have lines of their own; a long artist does not eat the title."""
    (tmp_path / "wga").mkdir()
    head = "AUTHOR;TITLE;DATE;TECHNIQUE;LOCATION;URL;FORM;TYPE;SCHOOL;TIMEFRAME"
    page = "https://www.wga.hu/html/a/aachen/athena.html"
    line = f"AACHEN, Hans von;Pallas Athena;1590s;Oil;Museum;{page};painting;other;German;1601-1650"
    (tmp_path / "wga" / "catalog.csv").write_text(f"{head}\n{line}\n", encoding="cp1252")
    catalogue = read_catalogue(get_task("wga_genre"), tmp_path)
    (image,) = catalogue.table["image"]
    labels = painting_labels("wga_genre", [image, "unknown/name of a file.jpg"], tmp_path)
    assert labels[image].title == "Pallas Athena"
    assert "Hans von" in labels[image].artist.replace("Aachen", "")
    assert labels["unknown/name of a file.jpg"].lines(40) == ["name of a file"]
    long = PaintingLabel("An artist whose name is long beyond all bounds", "A title", "1590")
    assert long.lines(12) == ["An artist w…", "A title", "1590"]
    wordy = PaintingLabel("A", "one two three four five six seven", "1590").lines(12)
    assert wordy == ["A", "one two", "three four …", "1590"]


def test_mistakes_are_one_line() -> None:
    command = [sys.executable, "-m", "tools.fig", "fig1", "--task", "wga_gener"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "did you mean wga_genre" in done.stderr
    assert "Traceback" not in done.stderr
