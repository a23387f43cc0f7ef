"""`make status`: what it counts, names and foretells, and that it is quick."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.grid import cost
from experiments.grid.definition import GRIDS, load_grid, merge
from experiments.grid.machine import find_places
from experiments.grid.pool import Outcome
from experiments.grid.run_status import DONE, FAILED, INTERRUPTED, MISSING, RUNNING, make_log, stand
from experiments.grid.runner import Progress
from experiments.paper.valid_runs import read_runs
from experiments.single_run.folder import RUNS
from experiments.single_run.plan import RunPlan
from lib.machine import usable_cores
from prototxt.settings import Settings
from tests.made_runs import edit_by_hand, make_run, record
from tests.small_world import PROJECT


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, but for its grids."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / GRIDS).symlink_to(PROJECT / GRIDS)
    return tmp_path


def paper() -> list[RunPlan]:
    return merge(*(load_grid(PROJECT / GRIDS / f"{name}.toml") for name in ("table2", "table3")))


def status(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tools.status", *words],
        env=dict(os.environ, PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_with_nothing_all_is_missing() -> None:
    said = status()
    assert "table2     45 runs: 45 missing" in said
    assert "together   98 runs: 98 missing" in said
    assert "unknown: nothing measured yet" in said


def test_five_hundred_records_take_seconds() -> None:
    for seed in range(1, 7):
        for run in paper():
            settings = Settings(seed=seed)
            make_run(RUNS, RunPlan(run.task, run.init, run.scenario, settings))
    for seed in range(1, 15):
        make_run(RUNS, RunPlan("met_nationality", "scratch", "all", Settings(seed=seed)))
    assert len(list(RUNS.glob("*/*/run.json"))) == 500
    began = time.monotonic()
    said = status("--grid", "table2", "table3")
    assert time.monotonic() - began < 10
    assert "together   81 runs: 81 done" in said
    assert "other runs: 419" in said
    assert "left:" not in said


def test_each_state_is_told_with_its_reason() -> None:
    runs = paper()
    done, failed, interrupted, killed, running, untested, broken = runs[:7]
    make_run(RUNS, done)
    for run, state in ((failed, "failed"), (interrupted, "interrupted"), (killed, "training")):
        folder = make_run(RUNS, run, tested=False)
        (folder / "run.json").write_text(
            json.dumps({**record(run, run.name), "state": state, "reason": f"why it is {state}"})
        )
        os.utime(folder / "caffe.log", (0, 0))
    make_run(RUNS, untested, tested=False)
    make_run(RUNS, broken)
    (RUNS / broken.task / broken.name / "run.json").write_text("{")
    lock = RUNS / running.task / f".{running.name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        states = {run: stand(run.folder) for run in runs[:8]}
        said = status("--grid", "table2")
    assert [states[run].state for run in runs[:8]] == [
        *(DONE, FAILED, INTERRUPTED, INTERRUPTED, RUNNING, INTERRUPTED, FAILED, MISSING)
    ]
    assert "45 runs: 1 done, 1 running, 2 failed, 3 interrupted, 38 missing" in said
    assert "why it is failed" in said
    assert "killed?" in said
    assert "trained, not tested" in said
    assert f"{broken.folder.record}: can't be read" in said
    assert failed.make_line in said
    assert stand(running.folder).state == MISSING  # the lock is gone with its holder


def test_no_word_is_said_twice() -> None:
    """Of runs trained but not tested, and of interrupted ones, in a grid and outside."""
    first, second = paper()[:2]
    for plan, name in ((first, first.name), (second, second.name), (first, "a"), (first, "b")):
        folder = make_run(RUNS, plan, tested=False, name=name)
        (folder / "final.caffemodel").touch()
        if name in (second.name, "b"):
            found = {**record(plan, name), "state": "interrupted", "reason": "interrupted"}
            (folder / "run.json").write_text(json.dumps({**found, "max_iter": 4000}))
    lines = [line.strip() for line in status("--grid", "table2").splitlines()]
    untested = "trained, not tested yet (the same make line tests it)"
    assert f"{first}: {untested}" in lines
    assert f"{first.task}/a: {untested}" in lines
    (planned,) = [line for line in lines if line.startswith(f"{second}: ")]
    (other,) = [line for line in lines if line.startswith(f"{first.task}/b: ")]
    assert re.fullmatch(r"25%, [\d.,]+ images/s", planned.removeprefix(f"{second}: "))
    assert re.fullmatch(r"interrupted, 25%, [\d.,]+ images/s", other.split(": ")[1])


def test_a_run_whose_results_do_not_count_is_not_called_done_alone() -> None:
    plan = paper()[0]
    make_run(RUNS, plan)
    make_run(RUNS, plan, name="again")
    said = status("--grid", "table2")
    assert f"{plan.task}/again: done, but its results are not counted: see below" in said
    assert "/again/results.json: left out: the same experiment" in said


def test_edited_runs_are_named_with_their_accuracy() -> None:
    first, second = paper()[:2]
    make_run(RUNS, first)
    edit_by_hand(make_run(RUNS, first, right=42, name="edit"))
    edit_by_hand(make_run(RUNS, second, right=55))
    said = status("--grid", "table2")
    edited = "edited by hand (train_val.prototxt)"
    assert f"{first.task}/edit: done, test accuracy 42.0%, {edited}" in said
    assert f"{second}: done, test accuracy 55.0%, {edited}" in said
    assert "left out" not in said


def test_killed_is_not_running() -> None:
    """Without its lock, a run of this machine is not at work, however fresh its log is."""
    here, elsewhere = paper()[:2]
    for run, host in ((here, socket.gethostname()), (elsewhere, "another-machine")):
        folder = make_run(RUNS, run, tested=False)
        found = {**record(run, run.name), "state": "training"}
        found["sessions"][-1]["host"] = host
        (folder / "run.json").write_text(json.dumps(found))
    assert stand(here.folder).state == INTERRUPTED
    assert "the same make line goes on" in stand(here.folder).reason
    assert stand(elsewhere.folder).state == RUNNING


def test_what_was_backed_up_is_shown_with_its_size() -> None:
    assert "backed up" not in status("--grid", "table2")
    run = paper()[0]
    old = make_run(RUNS, run).rename(run.folder.path.with_name(f"{run.name}.old-1"))
    (old / "final.caffemodel").write_bytes(bytes(3_000_000))
    said = status("--grid", "table2")
    assert "3.0 MB in 1 run backed up" in said
    assert str(old) in said
    assert "45 runs: 45 missing" in said


def test_an_attempt_that_did_not_get_to_training_is_failed() -> None:
    run = paper()[0]
    log = make_log(run.folder)
    log.parent.mkdir(parents=True)
    log.write_text("$ make\nerror: no such thing\nmake: *** [Makefile:1: x] Error 2\n")
    assert (stand(run.folder).state, stand(run.folder).reason) == (FAILED, "no such thing")
    make_run(RUNS, run)  # done since, by hand
    assert stand(run.folder).state == DONE


def test_what_is_left_is_counted_in_images_and_hours() -> None:
    first, second = paper()[:2]
    # ticc_artist: 58,630 images by Table 1, 70 % of them to learn from, 100 epochs.
    assert cost.work(second) == round(0.7 * 58630) * 100
    made = make_run(RUNS, first, seconds=1000)
    found = json.loads((made / "run.json").read_text())
    speed = found["iteration"] * found["batch"] / 1000
    speeds = cost.measured(read_runs())
    assert speeds.of(second) == pytest.approx(speed)
    assert cost.hours_left([(36_000, 10.0), (36_000, 10.0)], 1) == pytest.approx(2)
    assert cost.hours_left([(36_000, 10.0), (36_000, 10.0)], 2) == pytest.approx(1)
    assert cost.hours_left([(36_000, 10.0), (36_000, None)], 2) is None


def test_the_bar_of_a_grid_has_an_eta_from_measured_speeds() -> None:
    first, second, third = paper()[:3]
    made = make_run(RUNS, first, seconds=1000)
    found = json.loads((made / "run.json").read_text())
    speed = found["iteration"] * found["batch"] / 1000
    outcomes: list[Outcome] = []
    progress = Progress([second, third], outcomes)
    try:
        progress.look(1)
        hours = 2 * (cost.work(second) or 0) / speed / 3600
        assert f"ETA {cost.in_words(hours)}" in str(progress.bar.postfix)
        outcomes.append(Outcome(second, FAILED, "why"))
        progress.say("a line")
        progress.look(1)
        assert "0 running, 1 failed" in str(progress.bar.postfix)
        assert f"ETA {cost.in_words(hours / 2)}" in str(progress.bar.postfix)
    finally:
        progress.close()


def test_lists_that_are_made_count_instead_of_table_1() -> None:
    run = paper()[0]
    run.data.path.mkdir(parents=True)
    counts = {"train": 70, "val": 10, "test": 20}
    record = {"images_root": "datasets/raw/x", "sha256": {}, "counts": counts}
    run.data.record.write_text(json.dumps(record))
    assert cost.work(run) == 7000


def test_space_grows_with_what_is_kept() -> None:
    runs = paper()
    assert cost.space(runs, 4) > cost.space(runs, 1) > cost.space(runs[:80], 1)
    assert cost.space(runs, 1, keep_all=True) > 5 * 81 * 500e6
    assert cost.space([], 4) == 0


def test_places_on_the_cpu_share_its_cores() -> None:
    both = find_places([Settings()], gpu="none", side_by_side=2, threads=None)
    assert both.gpus == ("none", "none")
    assert both.threads == max(1, usable_cores() // 2)
    chosen = find_places([Settings()], gpu="none", side_by_side=None, threads=None)
    assert 1 <= len(chosen) <= usable_cores()
    assert len(chosen) * chosen.threads <= usable_cores()
    large = find_places(
        [Settings(batch=10**6, device_batch=10**6)], gpu="none", side_by_side=None, threads=None
    )
    assert len(large) == 1, "one at least, even if memory is short"
