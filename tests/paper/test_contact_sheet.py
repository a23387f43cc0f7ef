"""Contact sheets: a row of examples for each class, the same for the same seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from datasets.folders import PARTS, DataFolder, data_folder
from experiments.paper import contact_sheet
from experiments.paper.contact_sheet import choose, draw_sheet
from lib.errors import UserError
from tests.pictures import write_jpeg


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


def test_the_tool_writes_the_same_picture_twice(folder: DataFolder, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.paper.contact_sheet", "--task", "mine"]
    options = ["--data-folder", str(folder.path), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out" / "examples_mine.png"
    assert str(path) in done.stdout
    with Image.open(path) as image:
        image.load()
        assert image.width > 400
        assert image.height > 400
    draw_sheet(folder, tmp_path / "again.png", title="mine", each=4, seed=1)
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["wga_gener"], "did you mean wga_genre"),
        (["wga_genre", "--each", "0"], "--each is 0, must be 1 to 20"),
        (["wga_genre", "--each", "21"], "--each is 21, must be 1 to 20"),
    ],
)
def test_mistakes_are_one_line(options: list[str], words: str) -> None:
    command = [sys.executable, "-m", "experiments.paper.contact_sheet", "--task", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_tasks_without_lists_are_named_with_what_makes_them(
    folder: DataFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--task", "wikiart_artist", "wga_artist", "--each", "1"]
    monkeypatch.setattr("sys.argv", ["contact_sheet", *words])
    with pytest.raises(UserError) as caught:
        contact_sheet.main()
    for task in ("wikiart_artist", "wga_artist"):
        assert f"`make lists TASK={task}`" in str(caught.value)
    there = data_folder("wga_artist").path
    there.parent.mkdir()
    folder.path.rename(there)
    contact_sheet.main()  # one of two is drawn
    said = capsys.readouterr().out
    assert "wrote experiments/report/examples_wga_artist.png" in said
    assert "not drawn: no lists of wikiart_artist: `make lists TASK=wikiart_artist`" in said
    monkeypatch.setattr("sys.argv", ["contact_sheet", *words, "--data-seed", "2"])
    with pytest.raises(UserError, match="`make lists TASK=wga_artist SPLIT_SEED=2`"):
        contact_sheet.main()
