"""RUN=: runs by any part of their name that only one has, and the one that was finished last."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from experiments.paper.next_steps import next_steps
from experiments.single_run.find_run import find_run, note_finished
from experiments.single_run.folder import RUNS, run_folder
from experiments.single_run.plan import RunPlan
from lib.errors import UserError
from prototxt.settings import PAPER, Settings
from tests.made_runs import make_run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs of two tasks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    grids = Path(__file__).resolve().parents[2] / "experiments" / "grids"
    (tmp_path / "experiments" / "grids").symlink_to(grids)
    for task in ("wga_genre", "wga_artist"):
        make_run(RUNS, RunPlan(task, "hybrid", "all", PAPER))
        make_run(RUNS, RunPlan(task, "flickr", "only_last", Settings(epochs=20)))
    return tmp_path


@pytest.mark.parametrize(
    ("word", "task", "found"),
    [
        ("wga_genre/hybrid-all", None, "wga_genre/hybrid-all"),
        ("genre/hyb", None, "wga_genre/hybrid-all"),
        ("hybrid-all", "wga_artist", "wga_artist/hybrid-all"),
        ("epochs20", "wga_artist", "wga_artist/flickr-only_last-epochs20"),
        ("artist/flickr", None, "wga_artist/flickr-only_last-epochs20"),
    ],
)
def test_a_part_that_only_one_has_is_enough(
    word: str, task: str | None, found: str, place: Path
) -> None:
    assert find_run(word, task).path == RUNS / found


def test_a_whole_name_counts_before_parts_of_others(place: Path) -> None:
    make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER), name="hybrid-all-more")
    assert find_run("wga_genre/hybrid-all").path.name == "hybrid-all"


def test_what_may_be_several_or_none_is_said(place: Path) -> None:
    with pytest.raises(UserError, match=r"RUN=hybrid may be wga_artist/hybrid-all, wga_genre/hy"):
        find_run("hybrid")
    with pytest.raises(UserError, match=r"unknown run .*'wga_genre/hybird-all'.*hybrid-all"):
        find_run("wga_genre/hybird-all")
    with pytest.raises(UserError, match=r"RUN=x: no runs of wga_style yet"):
        find_run("x", "wga_style")


def test_last_goes_by_a_number_kept_with_the_runs_and_not_by_a_clock(place: Path) -> None:
    with pytest.raises(UserError, match=r"RUN=last: which of the 4 finished runs was last"):
        find_run("last")
    one, other = run_folder("wga_genre", "hybrid-all"), run_folder("wga_artist", "hybrid-all")
    assert note_finished(one) == 1
    assert note_finished(other) == 2
    for path in (other.path / "run.json", other.path / "results.json", other.path):
        os.utime(path, (0, 0))  # the clock went back
    assert find_run("last").path == other.path
    assert find_run("last", "wga_genre").path == one.path
    assert note_finished(one) == 3
    assert note_finished(one) == 3  # the same run again
    assert find_run("last").path == one.path
    other.path.rename(other.path.with_name("hybrid-all.old-1"))
    assert find_run("last").path == one.path


def test_three_lines_to_go_on_with(place: Path) -> None:
    data = Path("datasets/wga_genre")
    data.mkdir(parents=True)
    record = {"images_root": "datasets/raw/wga/images", "sha256": {}}
    (data / "lists.json").write_text(json.dumps(record))
    said = next_steps("wga_genre", "hybrid-all").splitlines()
    assert said[:3] == [
        "what next:",
        "  xdg-open experiments/report/index.html",
        "  make serve MODELS=wga_genre/hybrid-all TASK=wga_genre",
    ]
    assert said[3].startswith("  make explain RUN=wga_genre/hybrid-all IMAGE=")
    assert "datasets/raw/wga/images/" in said[3]
    page = Path("experiments/report/index.html")
    made = page.stat().st_mtime_ns  # the report is there already
    assert next_steps("wga_genre", "hybrid-all")
    assert page.stat().st_mtime_ns == made
    assert next_steps("wga_genre", "none") == ""
