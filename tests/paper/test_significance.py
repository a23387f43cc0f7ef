"""McNemar's test, the bootstrap interval and their matrix, against independent arithmetic."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.paper import significance
from experiments.paper.valid_runs import read_runs
from experiments.single_run.folder import RUNS
from experiments.single_run.plan import RunPlan
from lib.errors import UserError
from prototxt.settings import PAPER
from tests.made_runs import edit_by_hand, make_run
from tools import significance as program


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_it(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the program as a user does."""
    monkeypatch.setattr("sys.argv", ["significance", *words])
    program.main()


def rights(both: int, only_one: int, only_other: int, none: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images two runs got right."""
    one = [1] * both + [1] * only_one + [0] * only_other + [0] * none
    other = [1] * both + [0] * only_one + [1] * only_other + [0] * none
    return np.array(one, bool), np.array(other, bool)


@pytest.mark.parametrize(("b", "c"), [(25, 10), (3, 12), (8, 8), (1, 0), (40, 5)])
def test_p_is_the_exact_binomial_sum(b: int, c: int) -> None:
    found = significance.pair("one", "other", *rights(50, b, c, 20))
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert found.difference == pytest.approx((b - c) / (70 + b + c))


def test_runs_that_say_the_same_do_not_differ() -> None:
    found = significance.pair("one", "other", *rights(50, 0, 0, 20))
    assert (found.p, found.difference, found.low, found.high) == (1.0, 0.0, 0.0, 0.0)


def test_bootstrap_interval_is_that_of_resampled_images() -> None:
    one, other = rights(600, 130, 70, 200)
    found = significance.pair("one", "other", one, other)
    gaps = one.astype(int) - other.astype(int)
    random = np.random.default_rng(5)
    drawn = [gaps[random.integers(0, len(gaps), len(gaps))].mean() for _ in range(4000)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.003)
    assert found.high == pytest.approx(high, abs=0.003)
    assert significance.pair("one", "other", one, other) == found  # the same every time


def test_holm_as_in_the_textbook() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.04 x 1, which may not be less than the one before: 0.06.
    assert significance.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0]


def test_matrix_of_inits(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (init, right) in enumerate((("flickr", 500), ("hybrid", 700), ("memnet", 690))):
        plan = RunPlan("wga_genre", init, "all", PAPER)
        make_run(RUNS, plan, right=right, images=1000, seed=seed)
    run_it(monkeypatch, "--task", "wga_genre")
    said = capsys.readouterr().out
    assert re.search(
        r"^ +memnet +flickr$", said, re.MULTILINE
    )  # the paper's order; the first init needs no column
    assert re.search(r"^hybrid +\+0.010 \(", said, re.MULTILINE)
    with (place / "experiments/report/significance-wga_genre.csv").open() as handle:
        lines = list(csv.DictReader(handle))
    assert [(line["one"], line["other"]) for line in lines] == [
        ("hybrid", "memnet"),
        ("hybrid", "flickr"),
        ("memnet", "flickr"),
    ]
    for line in lines:
        gap = int(line["only one right"]) - int(line["only other right"])
        assert float(line["difference"]) == pytest.approx(gap / 1000)
        assert float(line["low"]) < float(line["difference"]) < float(line["high"])
    assert float(lines[0]["p after Holm"]) > 0.05
    assert float(lines[1]["p after Holm"]) < 0.05
    pairs = significance.compare({run.plan.init: run for run in reversed(read_runs().tested)})
    columns, rows = significance.matrix(pairs, ["hybrid", "memnet", "flickr"])
    assert columns == ("", "memnet", "flickr")
    assert [cell.endswith("≠") for cell in rows[0][1:]] == [False, True]


def test_named_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for scenario in ("all", "only_last"):
        make_run(RUNS, RunPlan("wga_genre", "hybrid", scenario, PAPER))
    names = ["hybrid-all", "hybrid-only_last"]
    run_it(monkeypatch, "--task", "wga_genre", "--runs", *names)
    said = capsys.readouterr().out
    assert re.search(r"^hybrid-all +\+0.000 \(", said, re.MULTILINE)
    assert "after Holm for 1 pair;" in said
    run_it(monkeypatch, "--task", "wga_genre", "--runs", "wga_genre/hybrid-all", names[1])
    assert re.search(r"^hybrid-all +\+0.000 \(", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(UserError, match="RUNS=hybrid- may be "):
        run_it(monkeypatch, "--task", "wga_genre", "--runs", "hybrid-", "hybrid-all")
    with pytest.raises(UserError, match="unknown run"):
        run_it(monkeypatch, "--task", "wga_genre", "--runs", "wga_artist/hybrid-all", names[1])


def test_an_edited_run_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    edit_by_hand(make_run(RUNS, RunPlan("wga_genre", "flickr", "all", PAPER)))
    run_it(monkeypatch, "--task", "wga_genre")
    said = capsys.readouterr().out
    assert "experiments/runs/wga_genre/flickr-all: edited by hand (train_val.prototxt)" in said


def test_one_run_is_not_enough(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    with pytest.raises(UserError) as caught:
        run_it(monkeypatch, "--task", "wga_genre")
    said = str(caught.value)
    assert "tested runs: 1; two are needed" in said
    assert "`make wga_genre INIT=memnet SCENARIO=all`" in said


def test_other_test_images_cannot_be_compared(place: Path) -> None:
    one = make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    two = make_run(
        RUNS,
        RunPlan("wga_genre", "flickr", "all", PAPER),
        pictures=[f"other {n}.jpg" for n in range(100)],
    )
    runs = {run.name: run for run in read_runs().tested}
    with pytest.raises(UserError, match="not tested on the same images") as caught:
        significance.compare(runs)
    assert one.name in str(caught.value)
    assert two.name in str(caught.value)


def test_predictions_that_disagree_with_the_results_are_refused(place: Path) -> None:
    folder = make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    make_run(RUNS, RunPlan("wga_genre", "flickr", "all", PAPER))
    path = folder / "predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    runs = {run.name: run for run in read_runs().tested}
    with pytest.raises(UserError, match=r"predictions.csv and .*results.json disagree"):
        significance.compare(runs)
    path.write_text("what\n")
    with pytest.raises(UserError, match="can't be read"):
        significance.compare(runs)
    assert json.loads((folder / "results.json").read_text())["images"] == 100
