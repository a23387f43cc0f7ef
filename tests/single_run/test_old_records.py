"""A checkout of an earlier version: its runs are understood, and gone on with where they were."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from experiments.paper.valid_runs import read_runs
from experiments.single_run.evaluation import evaluate
from experiments.single_run.json_records import InvalidRecord
from experiments.single_run.run_json import TRAINED, read_run_record
from experiments.single_run.training import train
from lib.caffe.client import Interrupted
from prototxt.keep import write_unedited
from tests.old_records import write_as_before
from tests.small_world import Plan, World, edit

OLD = {
    "state": "training",
    "task": "tiny",
    "run": "mine",
    "init": "scratch",
    "scenario": "all",
    "settings": {"epochs": 3, "lr": 0.01},
    "weights": None,
    "mean": "datasets/tiny/mean.binaryproto",
    "data": "datasets/tiny",
    "inputs": {"test": "0" * 64},
    "started": "2025-01-01T00:00:00+00:00",
    "sittings": [{"began": "2025-01-01T00:00:00+00:00", "resumed_from": None, "host": "there"}],
    "reason": None,
    "iteration": 3,
    "seconds": 1.5,
}


@pytest.mark.parametrize(
    ("data", "split", "seed"),
    [
        ("datasets/tiny", "by_image", 1),
        ("datasets/tiny-seed3", "by_image", 3),
        ("datasets/tiny-by_work", "by_work", 1),
        ("datasets/tiny-by_work-seed12", "by_work", 12),
    ],
)
def test_the_split_was_in_the_name_of_the_data(
    tmp_path: Path, data: str, split: str, seed: int
) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**OLD, "data": data}))
    record = read_run_record(path)
    assert record
    assert (record.split, record.split_seed) == (split, seed)
    assert str(record.plan.data.path) == data
    assert record.plan.settings.epochs == 3
    assert record.plan.settings.batch == 256, "what an old record lacks was the paper's"
    assert record.host == "there"
    assert record.plan.name == "mine"
    assert record.edits is None


def test_data_of_another_task_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**OLD, "data": "datasets/other"}))
    with pytest.raises(InvalidRecord, match="learnt from datasets/other") as raised:
        read_run_record(path)
    assert "\n" not in str(raised.value)


def test_a_finished_run_is_left_as_it_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("a")
    train(world.job("a"))
    evaluate(world.job("a").plan, lambda: world.device)
    folder = world.folder("a")
    write_as_before(folder.record)
    files = (folder.record, folder.final, folder.results, folder.curve)
    before = [path.read_bytes() for path in files]
    capsys.readouterr()
    train(world.job("a"))
    evaluate(world.job("a").plan, lambda: world.device)
    assert "trained already, up to date" in capsys.readouterr().out
    assert [path.read_bytes() for path in files] == before
    assert [path.name for path in folder.path.parent.iterdir() if path.is_dir()] == ["a"]


def test_an_interrupted_run_goes_on_from_its_snapshot(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("whole", Plan(max_iter=300, snapshot=20))
    train(world.job("whole"))
    world.write("half", Plan(max_iter=300, snapshot=20))
    folder = world.folder("half")
    _interrupt_when_there_is(world, "half", folder.snapshots / "caffenet_iter_40.json")
    write_as_before(folder.record)
    for marker in folder.snapshots.glob("*.json"):
        known = json.loads(marker.read_text())
        del known["run"]
        marker.write_text(json.dumps(known))
    capsys.readouterr()
    train(world.job("half"))
    assert "half: goes on from " in capsys.readouterr().out
    assert world.weights("half") == world.weights("whole")
    record = read_run_record(folder.record)
    assert record
    assert (record.state, len(record.sessions)) == (TRAINED, 2)
    assert "sittings" not in folder.record.read_text()
    assert sorted(path.name for path in folder.path.parent.iterdir() if path.is_dir()) == [
        "half",
        "whole",
    ]


def test_an_edited_run_is_still_known_as_edited(world: World) -> None:
    made = world.write("a")
    files = ("train_val.prototxt", "deploy.prototxt", "solver.prototxt")
    write_unedited(made, {name: (made / name).read_text() for name in files})
    edit(made / "solver.prototxt", "gamma: 0.5", "gamma: 0.25")
    train(world.job("a"))
    (new,) = read_runs().runs
    assert new.record.edits is not None
    assert "solver.prototxt" in new.edits.what
    write_as_before(world.folder("a").record)
    (old,) = read_runs().runs
    assert old.record.edits is None
    assert old.edits == new.edits


def _interrupt_when_there_is(world: World, name: str, path: Path) -> None:
    """Train in a child, and send it SIGTERM when a file is there."""
    child = os.fork()
    if child == 0:
        try:
            train(world.job(name))
        except Interrupted:
            os._exit(0)
        os._exit(1)
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
