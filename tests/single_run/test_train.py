"""Training and testing on real Caffe: Caffe's own weights, exact resumption, exact accuracy."""

from __future__ import annotations

import csv
import fcntl
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from experiments.single_run import run_json as records
from experiments.single_run.backups import backups_of
from experiments.single_run.curve import Point, read
from experiments.single_run.fingerprint import digest
from experiments.single_run.snapshots import Snapshot, Snapshots
from experiments.single_run.training import train
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from tests.old_records import write_as_before
from tests.small_world import CLASSES, COUNTS, DATA, TASK, Plan, World, edit, inputs

LONG = Plan(max_iter=400, snapshot=20, test_interval=15)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what several tests of this file start from."""
    return tmp_path_factory.mktemp("kept")


def once(kept: Path, name: str, make: Callable[[], None]) -> None:
    """Make the run `name` in the current world, or take it from an earlier test's."""
    places = (Path("prototxt") / TASK / name, Path("experiments/runs") / TASK / name)
    if not (kept / name).exists():
        make()
        for place in places:
            shutil.copytree(place, kept / name / place)
    for place in places:
        shutil.copytree(kept / name / place, place, dirs_exist_ok=True)


@pytest.fixture
def uninterrupted(world: World, kept: Path) -> str:
    """The weights of a run of LONG that nothing disturbed (their SHA-256); its run is 'whole'."""

    def make() -> None:
        world.write("whole", LONG)
        train(world.job("whole"))

    once(kept, "whole", make)
    return world.weights("whole")


@pytest.fixture
def interrupted(world: World, kept: Path) -> str:
    """The name of a run of LONG that was killed after iteration 40."""

    def make() -> None:
        world.write("half", LONG)
        kill_when(world, "half", lambda: lines(world.folder("half").curve) > 45)

    once(kept, "half", make)
    return "half"


def prefix(world: World, name: str) -> Path:
    return world.folder(name).snapshots / "caffenet"


def own(world: World, name: str) -> Snapshots:
    """The snapshots of a run, as it sees them."""
    known = record(world, name)
    return Snapshots(prefix(world, name), digest(known.inputs), known.id)


def snapshots(prefix: Path) -> list[Snapshot]:
    """All snapshots with a marker, newest first."""
    found = prefix.parent.glob(f"{prefix.name}_iter_*.json")
    known = [Snapshot(int(path.stem.rpartition("_")[2]), path) for path in found]
    return sorted(known, key=lambda each: -each.iteration)


def points(world: World, name: str) -> list[Point]:
    return read(world.folder(name).curve)


def record(world: World, name: str) -> Any:
    found = records.read_run_record(world.folder(name).record)
    assert found
    return found


def in_background(world: World, name: str) -> BaseProcess:
    """Train a run in a process of its own, as make would, without its seconds of starting."""
    context = multiprocessing.get_context("fork")

    def apart() -> None:
        tqdm.set_lock(threading.RLock())  # a killed process would keep the lock of all forks
        train(world.job(name))

    process = context.Process(target=apart)
    process.start()
    return process


def kill_when(world: World, name: str, holds: Callable[[], bool], later: float = 0) -> None:
    """Train in the background and `kill -9`, `later` seconds after something holds."""
    process = in_background(world, name)
    wait(process, holds)
    time.sleep(later)
    process.kill()
    process.join()


def wait(process: BaseProcess, holds: Callable[[], bool]) -> None:
    """Wait until something holds, or the process has ended; fail after a minute."""
    end = time.monotonic() + 60
    while process.is_alive() and not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def worker_of(process: BaseProcess) -> int:
    """The engine's process of a training in the background."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def open_files(pid: int) -> set[Path]:
    """What a process has open; it may close some of it at this very moment."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(link.readlink())
    return found


def lines_reach(path: Path, number: int) -> bool:
    return lines(path) >= number


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


# ---- Caffe's own weights ----


def test_weights_are_those_of_caffe_train(world: World, tmp_path: Path) -> None:
    world.write("a")
    train(world.job("a"))
    by_hand = world.caffe_train("a", tmp_path / "by_hand")
    assert world.folder("a").final.read_bytes() == by_hand.read_bytes()
    # ... and from those weights, with layers frozen and another seed, without testing at first
    folder = world.write("b", Plan(scenario="skip_first", seed=8, iter_size=3, batch=5))
    edit(folder / "solver.prototxt", "display", "test_initialization: false\ndisplay")
    train(world.job("b", f"run:{TASK}/a", "skip_first"))
    by_hand = world.caffe_train("b", tmp_path / "b", weights=world.folder("a").final)
    assert world.folder("b").final.read_bytes() == by_hand.read_bytes()
    assert points(world, "b")[0].iteration > 0  # no validation before training


@pytest.mark.slow
def test_seeds(world: World) -> None:
    for name, seed in (("a", 1), ("again", 1), ("other", 2)):
        world.write(name, Plan(seed=seed))
        train(world.job(name))
    assert world.weights("a") == world.weights("again")
    assert world.weights("a") != world.weights("other")


def test_the_record_of_a_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("a")
    train(world.job("a"))
    found = record(world, "a")
    assert found.state == records.TRAINED
    assert (found.batch, found.max_iter, found.iteration) == (8, 12, 12)
    assert found.sessions[0].engine["caffe"].startswith("1.0")
    assert found.sessions[0].resumed_from is None
    assert set(found.inputs) >= {"train_val", "deploy", "solver", "train", "val", "test", "mean"}
    assert all(layer.changed for layer in found.layers)
    curve = points(world, "a")
    best = max(point.val_accuracy for point in curve if point.val_accuracy is not None)
    assert found.best.val_accuracy == best
    assert [point.lr for point in curve[1:]] == [0.01] * 6 + [0.005] * 6
    folder = world.folder("a")
    for name in ("train_val", "deploy", "solver"):
        here = Path("prototxt") / TASK / "a" / f"{name}.prototxt"
        assert (folder.path / here.name).read_bytes() == here.read_bytes()
    left = sorted(path.name for path in folder.path.iterdir())
    assert left == sorted(
        [
            *(
                "best.caffemodel",
                "caffe.log",
                "curve.csv",
                "curve.pdf",
                "curve.png",
                "deploy.prototxt",
            ),
            *("final.caffemodel", "run.json", "snapshots", "solver.prototxt", "train_val.prototxt"),
        ]
    )
    assert not list(folder.snapshots.iterdir())
    before = {path: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    capsys.readouterr()
    train(world.job("a"))
    assert "trained already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in folder.path.iterdir()}


# ---- Killed and resumed ----


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(world: World, uninterrupted: str) -> None:
    world.write("a", LONG)
    moments = random.Random(1)
    curve = world.folder("a").curve
    for _ in range(6):
        further = lines(curve) // 20 * 20 + moments.randrange(15, 60)  # it goes back some 20 lines
        kill_when(world, "a", partial(lines_reach, curve, further), moments.random() * 0.02)
    assert not world.folder("a").final.exists()
    train(world.job("a"))
    assert world.weights("a") == uninterrupted
    assert world.folder("a").best.read_bytes() == world.folder("whole").best.read_bytes()
    wanted = [(p.iteration, p.val_accuracy) for p in points(world, "whole")]
    assert [(p.iteration, p.val_accuracy) for p in points(world, "a")] == wanted
    assert record(world, "a").state == records.TRAINED
    assert record(world, "a").layers == record(world, "whole").layers
    resumed = [session.resumed_from for session in record(world, "a").sessions]
    assert any(resumed)


def test_a_killed_worker_is_gone_on_with(world: World, uninterrupted: str) -> None:
    world.write("a", LONG)
    process = in_background(world, "a")
    wait(process, lambda: bool(snapshots(prefix(world, "a"))))
    os.kill(worker_of(process), signal.SIGKILL)
    process.join()
    assert record(world, "a").state == records.FAILED
    assert "SIGKILL" in record(world, "a").reason
    train(world.job("a"))
    assert world.weights("a") == uninterrupted


def test_ctrl_c_and_again(world: World, uninterrupted: str) -> None:
    world.write("a", LONG)
    command = world.command("a")
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=world.environment()
    ) as process:
        while not snapshots(prefix(world, "a")) and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    newest = own(world, "a").newest()
    assert newest
    assert f"goes on from iteration {newest.iteration}" in said
    assert "Traceback" not in said
    assert record(world, "a").state == records.INTERRUPTED
    again = world.tool("a")
    assert again.returncode == 0, again.stderr
    assert f"goes on from {newest.state}" in again.stdout
    assert world.weights("a") == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "no_state", "foreign"])
def test_a_damaged_snapshot_is_not_resumed_from(
    world: World,
    uninterrupted: str,
    interrupted: str,
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    newest, older = snapshots(prefix(world, interrupted))[:2]
    weights = newest.marker.with_suffix(".caffemodel")
    if damage == "truncated":
        os.truncate(weights, weights.stat().st_size - 100)
    elif damage == "no_state":
        newest.state.unlink()
    else:  # a whole one, of a training from something else
        marker = json.loads(newest.marker.read_text())
        newest.marker.write_text(json.dumps(marker | {"inputs": "others"}))
    train(world.job(interrupted))
    assert f"goes on from {older.state}" in capsys.readouterr().out
    assert world.weights(interrupted) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 40])
def test_a_snapshot_without_its_marker_is_taken_for_one_of_caffe_train(
    world: World, interrupted: str, left: int
) -> None:
    newest = snapshots(prefix(world, interrupted))[0]
    os.truncate(newest.marker, left)
    kept = [path.read_bytes() for path in (newest.weights, newest.state)]
    train(world.job(interrupted))
    session = record(world, interrupted).sessions[-1]
    assert session.resumed_from == str(newest.state)
    assert session.resumed_from_caffe_train
    assert [path.read_bytes() for path in (newest.weights, newest.state)] == kept


def test_without_any_snapshot_it_begins_again(
    world: World, uninterrupted: str, interrupted: str
) -> None:
    own(world, interrupted).prune(0)
    train(world.job(interrupted))
    assert world.weights(interrupted) == uninterrupted


def test_a_curve_that_a_kill_cut_short(world: World, uninterrupted: str, interrupted: str) -> None:
    with world.folder(interrupted).curve.open("a") as handle:
        handle.write("41,14.9,0.0")
    train(world.job(interrupted))
    assert world.weights(interrupted) == uninterrupted
    iterations = [point.iteration for point in points(world, interrupted)]
    assert iterations == list(range(401))


def test_another_blas_than_before_is_told(
    world: World, interrupted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when .caffe was installed anew with another OpenBLAS in between."""
    folder = world.folder(interrupted)
    text = json.loads(folder.record.read_text())
    engine = text["sessions"][-1]["engine"]
    engine |= {"blas": "/x/libopenblasp-r0.2.20.so", "blas_version": "0.2.20"}
    folder.record.write_text(json.dumps(text))
    train(world.job(interrupted))
    said = capsys.readouterr().err
    assert "the engine has changed (BLAS OpenBLAS 0.2.20, now OpenBLAS 0." in said
    assert "will not be bit-identical" in said
    assert record(world, interrupted).state == records.TRAINED


def test_a_broken_record_is_said_and_forced_aside(
    world: World, interrupted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.folder(interrupted)
    folder.record.write_text(folder.record.read_text()[:100])
    with pytest.raises(
        UserError, match=r"run.json: can't be read.*move that folder away"
    ) as raised:
        train(world.job(interrupted))
    assert "\n" not in str(raised.value)
    world.write(interrupted, Plan(max_iter=2))
    train(world.job(interrupted), force=True)
    assert "FORCE=1" in capsys.readouterr().out
    assert folder.final.exists()
    assert list(folder.path.with_name("half.old-1").glob("snapshots/*.solverstate"))


def test_a_run_without_its_record_is_moved_aside(world: World, uninterrupted: str) -> None:
    world.folder("whole").record.unlink()
    train(world.job("whole"))
    old = world.folder("whole").path.with_name("whole.old-1")
    assert (old / "final.caffemodel").exists()
    assert world.weights("whole") == uninterrupted


def test_two_trainings_of_one_run(world: World) -> None:
    world.write("a", Plan(max_iter=1_000_000, snapshot=0))
    first = in_background(world, "a")
    try:
        wait(first, world.folder("a").curve.exists)
        with pytest.raises(UserError, match=r"a training of .*/a is at work"):
            train(world.job("a"))
    finally:
        first.kill()
        first.join()
    world.write("a", Plan(max_iter=1))
    train(world.job("a"))  # the lock went with the killed one


def test_the_lock_outlives_a_killed_parent_with_its_worker(world: World) -> None:
    world.write("a", Plan(max_iter=1_000_000, snapshot=0))
    first = in_background(world, "a")
    wait(first, lambda: lines(world.folder("a").curve) > 3)
    held = open_files(worker_of(first))
    first.kill()
    first.join()
    lock = Path("experiments/runs", TASK, ".a.lock").absolute()
    assert lock in held
    with lock.open() as handle:
        end = time.monotonic() + 10
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < end
                time.sleep(0.01)


# ---- Files of others ----


def elsewhere(world: World, name: str, stem: Path, plan: Plan | None = None) -> None:
    """Write the prototxts of a run, with its snapshots at another place."""
    solver = world.write(name, plan) / "solver.prototxt"
    edit(solver, f'snapshot_prefix: "{prefix(world, name)}"', f'snapshot_prefix: "{stem}"')


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_snapshots_of_others_stay(world: World, tmp_path: Path) -> None:
    """A prefix in a shared folder, under the very name that others use."""
    stem = tmp_path / "shared" / "caffenet_train"
    elsewhere(world, "theirs", stem, Plan(max_iter=12, snapshot=3, seed=2))
    train(world.job("theirs"), keep_all=True)
    for name in ("iter_7.caffemodel", "iter_450000.caffemodel", "iter_450000.solverstate"):
        (tmp_path / "shared" / f"caffenet_train_{name}").write_bytes(b"of somebody else")
    (tmp_path / "shared" / "caffenet_train_iter_2.json.part").write_text("{}")
    before = contents(tmp_path / "shared")
    assert len(before) == 3 * 3 + 4
    elsewhere(world, "ours", stem)  # snapshots at 5 and 10
    train(world.job("ours"))
    assert contents(tmp_path / "shared") == before
    assert record(world, "ours").state == records.TRAINED


@pytest.mark.parametrize("end", ["caffemodel", "solverstate", "json"])
def test_a_file_of_others_in_the_way_is_refused_before_training(
    world: World, tmp_path: Path, end: str
) -> None:
    elsewhere(world, "a", tmp_path / "shared" / "caffenet_train")
    (tmp_path / "shared").mkdir()
    theirs = tmp_path / "shared" / f"caffenet_train_iter_10.{end}"
    theirs.write_text("{}")
    with pytest.raises(UserError, match=rf"iter_10.{end} is there already .*move it away") as said:
        train(world.job("a"))
    assert "\n" not in str(said.value)
    assert theirs.read_text() == "{}"
    assert not world.folder("a").curve.exists()
    theirs.unlink()
    train(world.job("a"))
    assert not contents(tmp_path / "shared")


def test_a_refusal_leaves_a_finished_run_where_it_is(world: World, tmp_path: Path) -> None:
    elsewhere(world, "a", tmp_path / "shared" / "caffenet_train")
    train(world.job("a"))
    final = world.folder("a").final.read_bytes()
    (tmp_path / "shared" / "caffenet_train_iter_5.caffemodel").touch()
    with pytest.raises(UserError, match="is there already"):
        train(world.job("a"), force=True)
    assert world.folder("a").final.read_bytes() == final
    assert not backups_of(world.folder("a"))


def test_a_file_that_comes_while_it_trains_is_not_written_over(
    world: World, tmp_path: Path
) -> None:
    stem = tmp_path / "shared" / "caffenet_train"
    elsewhere(world, "a", stem, LONG)
    theirs = Path(f"{stem}_iter_60.solverstate")
    process = in_background(world, "a")
    wait(process, Path(f"{stem}_iter_20.json").exists)
    theirs.write_text("of somebody else")
    process.join()
    assert record(world, "a").state == records.FAILED
    assert f"{theirs} is there already" in record(world, "a").reason
    assert theirs.read_text() == "of somebody else"
    names = {path.name for path in theirs.parent.iterdir() if "_60." in path.name}
    assert names == {theirs.name}, "nothing of a snapshot that could not be whole"
    theirs.unlink()
    train(world.job("a"))
    assert record(world, "a").sessions[-1].resumed_from == f"{stem}_iter_40.solverstate"
    assert not contents(theirs.parent)


def test_two_runs_of_the_same_inputs_share_no_snapshots(world: World, tmp_path: Path) -> None:
    """As two checkouts have them: nothing but the run's id tells whose they are."""
    elsewhere(world, "a", tmp_path / "shared" / "caffenet_train")
    train(world.job("a"), keep_all=True)
    before = contents(tmp_path / "shared")
    world.folder("a").path.rename(tmp_path / "another checkout")
    with pytest.raises(UserError, match=r"iter_5.caffemodel \(and 5 more\) is there already"):
        train(world.job("a"))
    assert contents(tmp_path / "shared") == before


def test_a_worker_killed_while_it_writes_a_snapshot(
    world: World, uninterrupted: str, interrupted: str, tmp_path: Path
) -> None:
    """Its unfinished snapshot, part of it in place perhaps, is cleared away, and nothing else."""
    found = own(world, interrupted)
    newest, older = snapshots(found.prefix)[:2]
    theirs = newest.marker.with_name("caffenet_iter_399.caffemodel")
    theirs.write_bytes(b"of somebody else")
    shutil.copytree(newest.marker.parent, tmp_path / "before")

    def again() -> None:
        shutil.rmtree(newest.marker.parent)
        shutil.copytree(tmp_path / "before", newest.marker.parent)
        found.unfinished.mkdir()

    again()  # in place as second names, without the marker
    newest.marker.rename(found.unfinished / newest.marker.name)
    for path in (newest.weights, newest.state):
        os.link(path, found.unfinished / path.name)
    found.clear_halves()
    assert not newest.weights.exists()
    assert not newest.state.exists()
    again()  # moved, on a disk without links: one in place, two not
    newest.marker.rename(found.unfinished / newest.marker.name)
    newest.state.rename(found.unfinished / newest.state.name)
    found.clear_halves()
    assert not newest.weights.exists()
    again()  # another file in place meanwhile
    for path in (newest.marker, newest.state, newest.weights):
        path.rename(found.unfinished / path.name)
    newest.weights.write_bytes(b"of somebody else")
    found.clear_halves()
    assert newest.weights.read_bytes() == b"of somebody else"
    again()  # all in place
    for path in (newest.marker, newest.state, newest.weights):
        os.link(path, found.unfinished / path.name)
    found.clear_halves()
    assert newest.is_as_written()
    again()  # Caffe was at it
    (found.unfinished / "caffenet_iter_60.caffemodel").write_bytes(b"half")
    train(world.job(interrupted))
    assert world.weights(interrupted) == uninterrupted
    assert not found.unfinished.exists()
    assert contents(older.marker.parent) == {theirs.name: b"of somebody else"}


def test_markers_of_before_are_understood(
    world: World, uninterrupted: str, interrupted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Older versions wrote no id, neither into run.json nor into markers."""
    write_as_before(world.folder(interrupted).record)
    old = snapshots(prefix(world, interrupted))
    for each in old:
        marker = json.loads(each.marker.read_text())
        del marker["run"]
        each.marker.write_text(json.dumps(marker))
    train(world.job(interrupted))
    assert f"goes on from {old[0].state}" in capsys.readouterr().out
    assert world.weights(interrupted) == uninterrupted
    assert not contents(world.folder(interrupted).snapshots)


def test_final_weights_of_others_are_backed_up(world: World, interrupted: str) -> None:
    folder = world.folder(interrupted)
    folder.final.write_bytes(b"copied here by hand")
    train(world.job(interrupted))
    backup = folder.path / "final.caffemodel.backup-1"
    assert backup.read_bytes() == b"copied here by hand"


def test_a_folder_without_work_but_with_notes_is_not_deleted(world: World) -> None:
    folder, run = world.write("a"), world.folder("a")
    train(world.job("a"))
    edit(folder / "solver.prototxt", "base_lr: 0.01", "base_lr: 0.02")
    run.path.rename(run.path.with_name("a.old-1"))
    run.path.mkdir()
    (run.path / "notes.txt").write_text("why")
    edit(folder / "solver.prototxt", "base_lr: 0.02", "base_lr: 0.01")
    train(world.job("a"))
    assert run.final.exists()
    assert (run.path.with_name("a.old-2") / "notes.txt").read_text() == "why"


# ---- Gone on with by `caffe train` ----


def caffe_goes_on(world: World, name: str, state: Path, max_iter: int, snapshot: int) -> None:
    """Go on by `caffe train -snapshot`, from the project's folder, until `max_iter`."""
    folder = Path("prototxt") / TASK / name
    text = (folder / "solver.prototxt").read_text()
    text = re.sub(r"max_iter: \d+", f"max_iter: {max_iter}", text)
    by_hand = folder / "by_hand.prototxt"
    by_hand.write_text(re.sub(r"snapshot: \d+", f"snapshot: {snapshot}", text))
    words = [str(world.caffe), "train", "-solver", str(by_hand), "-snapshot", str(state)]
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_caffe_train_made_since_is_gone_on_with(
    world: World, interrupted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = snapshots(prefix(world, interrupted))[0]
    caffe_goes_on(world, interrupted, mine.state, max_iter=104, snapshot=30)
    folder = world.folder(interrupted)
    made = {
        name: data
        for name, data in contents(folder.snapshots).items()
        if not Path(folder.snapshots, name).with_suffix(".json").exists()
    }
    assert sorted(made)[0] == "caffenet_iter_104.caffemodel"
    train(world.job(interrupted))
    said = capsys.readouterr().out
    newest = folder.snapshots / "caffenet_iter_104.solverstate"
    (line,) = [line for line in said.splitlines() if "goes on" in line]
    assert f"goes on from {newest}, made since by `caffe train`" in line
    assert "no promise" in line
    session = record(world, interrupted).sessions[-1]
    assert session.resumed_from == str(newest)
    assert session.resumed_from_caffe_train
    assert record(world, interrupted).state == records.TRAINED
    assert contents(folder.snapshots) == made, "those of `caffe train` stay as they are"
    iterations = [point.iteration for point in points(world, interrupted)]
    assert iterations == [*range(mine.iteration + 1), *range(105, 401)]


def test_an_interrupted_training_goes_on_from_its_own_snapshot_again(
    world: World, interrupted: str
) -> None:
    mine = snapshots(prefix(world, interrupted))[0]
    caffe_goes_on(world, interrupted, mine.state, max_iter=90, snapshot=0)
    kill_when(world, interrupted, lambda: points(world, interrupted)[-1].iteration > 125)
    train(world.job(interrupted))
    resumed = [each.resumed_from_caffe_train for each in record(world, interrupted).sessions]
    assert resumed == [False, True, False]


def test_caffe_train_to_the_very_end(world: World, interrupted: str) -> None:
    mine = snapshots(prefix(world, interrupted))[0]
    caffe_goes_on(world, interrupted, mine.state, max_iter=400, snapshot=0)
    train(world.job(interrupted))
    folder = world.folder(interrupted)
    final = folder.snapshots / "caffenet_iter_400.caffemodel"
    assert folder.final.read_bytes() == final.read_bytes()
    assert points(world, interrupted)[-1].val_accuracy is not None


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["weights", "state", "other_net", "iteration", "older", "alone"])
def test_a_snapshot_that_is_not_fit_is_not_gone_on_with(
    world: World,
    uninterrupted: str,
    interrupted: str,
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It stays, if under another name where the run's own are to be written."""
    folder = world.folder(interrupted)
    mine = snapshots(prefix(world, interrupted))[0]
    due = mine.iteration + 20
    caffe_goes_on(world, interrupted, mine.state, max_iter=due, snapshot=0)
    weights = folder.snapshots / f"caffenet_iter_{due}.caffemodel"
    state = weights.with_suffix(".solverstate")
    if damage == "other_net":
        net = world.write("other", Plan(max_iter=due, snapshot=0)) / "train_val.prototxt"
        edit(net, "num_output: 16", "num_output: 17")
        made = world.caffe_train("other", Path("by_hand").absolute())
        shutil.copyfile(made, weights)
    elif damage == "iteration":
        weights, _ = [each.rename(each.with_stem("caffenet_iter_200")) for each in (weights, state)]
        state = weights.with_suffix(".solverstate")
    elif damage == "older":
        for path in (weights, state):
            os.utime(path, (1, 1))
    elif damage == "alone":
        weights.rename(weights.with_suffix(".mine"))
        weights = weights.with_suffix(".mine")
    else:
        path = weights if damage == "weights" else state
        os.truncate(path, path.stat().st_size - 10)
    kept = sorted([weights.read_bytes(), state.read_bytes()])
    train(world.job(interrupted))
    said = capsys.readouterr().out
    assert f"goes on from {mine.state}" in said
    assert ("is not used: " in said) == (damage not in ("older", "alone"))
    assert world.weights(interrupted) == uninterrupted
    assert sorted(contents(folder.snapshots).values()) == kept


# ---- Edited prototxts ----


def test_an_edited_net_begins_anew_and_loses_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.write("a")
    train(world.job("a"))
    first = world.folder("a").final.read_bytes()
    edit(folder / "train_val.prototxt", "dropout_ratio: 0.3", "dropout_ratio: 0.6")
    train(world.job("a"))
    said = capsys.readouterr().out
    assert "begun anew (train_val changed)" in said
    old = world.folder("a").path.with_name("a.old-1")
    assert (old / "final.caffemodel").read_bytes() == first
    assert (old / "run.json").exists()
    assert world.folder("a").final.read_bytes() != first
    edit(folder / "solver.prototxt", "base_lr: 0.01", "base_lr: 0.005")
    train(world.job("a"))
    assert world.folder("a").path.with_name("a.old-2").is_dir()
    edit(folder / "solver.prototxt", "solver_mode: CPU", "solver_mode: GPU")  # no other experiment
    capsys.readouterr()
    train(world.job("a"))
    assert "trained already" in capsys.readouterr().out


def test_nonsense_is_said_recorded_and_mended(world: World) -> None:
    folder = world.write("a")
    edit(folder / "train_val.prototxt", "group: 2", "group: 4")
    with pytest.raises(UserError, match=r"train_val.prototxt: layer 'conv2'.*caffe.log") as raised:
        train(world.job("a"))
    assert "\n" not in str(raised.value)
    assert record(world, "a").state == records.FAILED
    assert record(world, "a").reason == str(raised.value)
    edit(folder / "train_val.prototxt", "group: 4", "group: 2")
    train(world.job("a"))
    assert record(world, "a").state == records.TRAINED
    assert not backups_of(world.folder("a")), "where nothing was trained there is nothing to keep"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("group: 2", "group: 4", r"train_val.prototxt: layer 'conv2'"),
        ('type: "LRN"', 'type: "LNR"', r"no layer type 'LNR'; did you mean LRN"),
        ("num_output: 6", "num_output: six", r"train_val.prototxt:\d+"),
    ],
)
def test_a_mistake_does_not_cost_a_finished_run(
    world: World, before: str, after: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.write("a")
    train(world.job("a"))
    kept = world.folder("a").record.read_bytes(), world.folder("a").final.read_bytes()
    edit(folder / "train_val.prototxt", before, after)
    with pytest.raises(UserError, match=words):
        train(world.job("a"))
    assert (world.folder("a").record.read_bytes(), world.folder("a").final.read_bytes()) == kept
    assert not backups_of(world.folder("a"))
    edit(folder / "train_val.prototxt", after, before)
    capsys.readouterr()
    train(world.job("a"))
    assert "trained already, up to date" in capsys.readouterr().out


def test_files_as_they_were_bring_their_run_back(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = world.write("a"), world.folder("a")
    train(world.job("a"))
    first = run.final.read_bytes()
    edit(folder / "solver.prototxt", "base_lr: 0.01", "base_lr: 0.02")
    train(world.job("a"))
    second = run.final.read_bytes()
    assert second != first
    for before, after, final in (("0.02", "0.01", first), ("0.01", "0.02", second)):
        edit(folder / "solver.prototxt", f"base_lr: {before}", f"base_lr: {after}")
        capsys.readouterr()
        train(world.job("a"))
        said = capsys.readouterr().out
        assert "is of these very files" in said
        assert "trained already, up to date" in said
        assert run.final.read_bytes() == final
        assert len(backups_of(run)) == 1
    # Killed between the two renames: the run's folder is gone, both are backups.
    run.path.rename(run.path.with_name("a.old-7"))
    train(world.job("a"))
    assert run.final.read_bytes() == second


@pytest.mark.parametrize(
    ("before", "after"),
    [("num_output: 6", "num_output: six"), ("max_iter: 12", "max_iter: many")],
)
def test_prototxts_that_cannot_be_parsed(world: World, before: str, after: str) -> None:
    folder = world.write("a")
    name = "train_val" if "output" in before else "solver"
    edit(folder / f"{name}.prototxt", before, after)
    done = world.tool("a")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert f"{name}.prototxt:" in errors[0]
    assert "\r" not in done.stderr, "where no terminal is, bars are lines"
    assert "Traceback" not in done.stderr


def test_missing_files_are_named(world: World) -> None:
    folder = world.write("a")
    (folder / "solver.prototxt").unlink()
    with pytest.raises(UserError, match=r"solver.prototxt is missing"):
        train(world.job("a"))
    world.write("a")
    edit(folder / "train_val.prototxt", "train_lmdb", "gone_lmdb")
    with pytest.raises(UserError, match=r"layer 'data': its source .*gone_lmdb is not there"):
        train(world.job("a"))
    with pytest.raises(UserError, match=r"INIT=run:tiny/b: .* is no finished run"):
        world.job("c", f"run:{TASK}/b")


def test_a_solver_without_snapshot_prefix_and_another_format(world: World) -> None:
    folder = world.write("a", LONG)
    solver = folder / "solver.prototxt"
    edit(solver, "snapshot_prefix:", "snapshot_format: HDF5 # ")
    kill_when(world, "a", partial(lines_reach, world.folder("a").curve, 30))
    assert snapshots(folder / "solver")
    train(world.job("a"))
    assert record(world, "a").sessions[-1].resumed_from
    assert not list(folder.glob("solver_iter_*"))


@pytest.mark.parametrize("validated", [True, False])
def test_labels_that_do_not_fit_the_net(world: World, validated: bool) -> None:
    folder = world.write("a", Plan(classes=2))
    if not validated:
        edit(folder / "solver.prototxt", "test_iter: 3\ntest_interval: 3\n", "")
    with pytest.raises(
        UserError, match=r"train_val.prototxt: layer 'fc8_tiny' has 2 outputs.*names 3 classes"
    ):
        train(world.job("a"))
    three = DATA.classes.read_text()
    DATA.classes.write_text("blue\ngreen\n")  # the LMDBs still have a third
    try:
        with pytest.raises(UserError, match=r"train_val.prototxt: label 2 but the net has 2"):
            train(world.job("a"))
    finally:
        DATA.classes.write_text(three)
    assert not world.folder("a").final.exists()


def test_nets_that_differ(world: World) -> None:
    """What is trained by train_val must fit into deploy, or single images can't be classified."""
    folder = world.write("a")
    train(world.job("a"))
    edit(folder / "train_val.prototxt", "num_output: 16", "num_output: 20")
    with pytest.raises(
        UserError, match=r"deploy.prototxt and .* differ in layer 'fc6'.*16 x .*20 x"
    ):
        train(world.job("a"))
    assert world.folder("a").final.exists(), "the finished run stays where it is"
    edit(folder / "deploy.prototxt", "num_output: 16", "num_output: 20")
    train(world.job("a"))
    assert len(backups_of(world.folder("a"))) == 1


# ---- Scenarios ----


def test_scenarios_freeze_what_they_say(world: World) -> None:
    world.write("from", Plan(max_iter=5))
    train(world.job("from"))
    first = {layer.name: layer.after for layer in record(world, "from").layers}
    for scenario, frozen in SCENARIOS.items():
        inits = [f"run:{TASK}/from"] + (["scratch"] if scenario == "skip_first2" else [])
        for init in inits:
            name = f"{init.partition(':')[0]}-{scenario}"
            world.write(name, Plan(scenario=scenario, max_iter=4, seed=3))
            train(world.job(name, init, scenario))
            layers = {layer.name: layer for layer in record(world, name).layers}
            assert {each for each, layer in layers.items() if layer.frozen} == set(frozen)
            for each, layer in layers.items():
                assert (layer.before == layer.after) == (each in frozen)
                if init != "scratch":
                    assert layer.before == first[each]
                    assert layer.transferred


def test_the_hashes_of_layers_are_of_their_weights(
    world: World, in_engine: Callable[..., str]
) -> None:
    world.write("a", Plan(scenario="only_last3", max_iter=3))
    train(world.job("a"))
    # Independently of the worker's own reading: what Caffe's own file format holds.
    code = """
import sys, json, hashlib
import numpy
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter()
net.ParseFromString(open(sys.argv[1], "rb").read())
print(json.dumps({
    layer.name: hashlib.sha256(
        b"".join(numpy.array(blob.data, "<f4").tobytes() for blob in layer.blobs)
    ).hexdigest()
    for layer in net.layer if layer.blobs
}))
"""
    hashes = json.loads(in_engine(code, world.folder("a").final))
    assert hashes == {layer.name: layer.after for layer in record(world, "a").layers}


def test_a_bias_that_still_learns_is_not_frozen(world: World) -> None:
    folder = world.write("a", Plan(max_iter=3))
    edit(
        folder / "train_val.prototxt",
        "param { lr_mult: 1 } param { lr_mult: 2 }",
        "param { lr_mult: 0 }",
    )
    train(world.job("a"))
    (conv1,) = [layer for layer in record(world, "a").layers if layer.name == "conv1"]
    assert not conv1.frozen
    assert conv1.changed


# ---- Exact accuracy ----

# argv: deploy.prototxt, images (.npy), weights... Prints the classes of each image for each.
_CLASSIFY = """
import sys, json
import caffe, numpy
images = numpy.load(sys.argv[2])
found = []
for weights in sys.argv[3:]:
    net = caffe.Net(sys.argv[1], caffe.TEST, weights=weights)
    rows = []
    for image in images:
        net.blobs["data"].data[...] = image
        rows.append(net.forward()["prob"][0].tolist())
    found.append(rows)
print(json.dumps(found))
"""


def test_validation_counts_each_image_once(
    world: World, tmp_path: Path, in_engine: Callable[..., str]
) -> None:
    plan = Plan(max_iter=30, test_interval=3, snapshot=3)
    folder = world.write("a", plan)
    train(world.job("a"), keep_all=True)
    validated = {p.iteration: p for p in points(world, "a") if p.val_accuracy is not None}
    assert list(validated) == list(range(0, 31, 3))
    images, labels = inputs("val")
    assert len(images) == COUNTS["val"]
    np.save(tmp_path / "images.npy", images)
    stems = [f"{prefix(world, 'a')}_iter_{iteration}" for iteration in range(3, 30, 3)]
    weights = [*(f"{stem}.caffemodel" for stem in stems), world.folder("a").final]
    answer = in_engine(_CLASSIFY, folder / "deploy.prototxt", tmp_path / "images.npy", *weights)
    probabilities = np.array(json.loads(answer))
    accuracies = (probabilities.argmax(axis=2) == labels).mean(axis=1)
    assert len(set(accuracies)) > 2  # it learns: the count is not the same everywhere
    for iteration, accuracy, rows in zip(range(3, 31, 3), accuracies, probabilities, strict=True):
        assert validated[iteration].val_accuracy == accuracy
        loss = -np.log(rows[np.arange(len(labels)), labels]).mean()
        assert validated[iteration].val_loss == pytest.approx(loss, abs=1e-5)
    best = max(accuracies)
    assert record(world, "a").best.val_accuracy == max(best, validated[0].val_accuracy or 0)


def test_each_test_image_once(world: World, tmp_path: Path, in_engine: Callable[..., str]) -> None:
    folder = world.write("a", Plan(max_iter=20))
    train(world.job("a"))
    done = world.tool("a", tool="evaluate")
    assert done.returncode == 0, done.stderr
    images, labels = inputs("test")
    np.save(tmp_path / "images.npy", images)
    final = world.folder("a").final
    answer = in_engine(_CLASSIFY, folder / "deploy.prototxt", tmp_path / "images.npy", final)
    (probabilities,) = np.array(json.loads(answer))
    right = probabilities.argmax(axis=1) == labels
    results = json.loads(world.folder("a").results.read_text())
    assert results["images"] == COUNTS["test"]
    assert results["top1"] == right.mean()
    assert f"test accuracy {right.mean():.1%} (top-1) of 11 images, 3 classes" in done.stdout
    with (world.folder("a").path / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    listed = [line.rsplit(" ", 1)[0] for line in DATA.list("test").read_text().splitlines()]
    assert [row["image"] for row in rows] == listed
    assert [row["true"] for row in rows] == [CLASSES[label] for label in labels]
    assert [row["right"] == "1" for row in rows] == right.tolist()
    best = [float(row["probability1"]) for row in rows]
    assert best == pytest.approx(probabilities.max(axis=1).tolist(), abs=1e-5)
    with (world.folder("a").path / "confusion.csv").open(newline="") as handle:
        table = list(csv.reader(handle))
    assert table[0][1:] == list(CLASSES)
    counts = np.array([[int(cell) for cell in row[1:]] for row in table[1:]])
    assert counts.sum() == COUNTS["test"]
    assert np.diag(counts).sum() == right.sum()
    for name in ("confusion.png", "curve.png"):
        assert (world.folder("a").path / name).read_bytes().startswith(b"\x89PNG")
    assert not list(world.folder("a").path.glob(".test.*"))
    # A second call tests nothing, and one after a change of the weights tests again.
    before = world.folder("a").results.stat().st_mtime_ns
    assert world.tool("a", tool="evaluate").stdout == done.stdout
    assert world.folder("a").results.stat().st_mtime_ns == before


# ---- NaN ----


def test_a_training_that_diverges(world: World) -> None:
    world.write("a", Plan(max_iter=200, lr=1e4, snapshot=1, test_interval=1000))
    with pytest.raises(UserError, match=r"the loss is nan at iteration \d+ .*smaller LR") as raised:
        train(world.job("a"))
    assert "\n" not in str(raised.value)
    assert not world.folder("a").final.exists()
    failed = record(world, "a")
    assert (failed.state, failed.reason) == (records.FAILED, str(raised.value))
    named = int(str(raised.value).split("at iteration ")[1].split()[0])
    for snapshot in snapshots(prefix(world, "a")):
        assert snapshot.iteration < named
    done = world.tool("a", tool="evaluate")
    assert done.returncode == 2
    assert "is failed: it can be tested once it is trained" in done.stderr


def test_weights_that_end_as_nan(world: World) -> None:
    folder = world.write("a", Plan(max_iter=1, lr=1e39))
    edit(folder / "solver.prototxt", "test_iter: 3\ntest_interval: 3\n", "")
    with pytest.raises(
        UserError, match=r"weights of layer '\w+' are NaN or infinite at iteration 1"
    ):
        train(world.job("a"))
    assert not world.folder("a").final.exists()


def test_nan_in_testing_is_an_error(world: World, in_engine: Callable[..., str]) -> None:
    world.write("a", Plan(max_iter=1))
    train(world.job("a"))
    code = """
import sys
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter()
net.ParseFromString(open(sys.argv[1], "rb").read())
[layer] = [layer for layer in net.layer if layer.name == "fc8_tiny"]
layer.blobs[1].data[1] = float("nan")
open(sys.argv[1], "wb").write(net.SerializeToString())
"""
    in_engine(code, world.folder("a").final)
    broken = record(world, "a")
    broken.final = world.weights("a")
    records.write_run_record(world.folder("a").record, broken)
    done = world.tool("a", tool="evaluate")
    assert done.returncode == 2
    assert "output for record 0 of datasets/tiny/test_lmdb is NaN" in done.stderr
    assert "Traceback" not in done.stderr
    assert not world.folder("a").results.exists()


# ---- GPU, disk ----


def test_a_gpu_that_is_not_there(world: World) -> None:
    world.write("a")
    done = world.tool("a", "--gpu", "9")
    assert done.returncode == 2
    assert "error: GPU=9: the Caffe of " in done.stderr
    assert "GPU=none" in done.stderr
    done = world.tool("a", "--gpu", "fast")
    assert "error: GPU=fast: a GPU's number, none or auto" in done.stderr


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let no file of this process and its children grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_files_that_end_too_early_are_not_taken_for_whole(world: World) -> None:
    def write(name: str, outputs: int) -> Path:
        folder = world.write(name, Plan(max_iter=6))
        for net in ("train_val", "deploy"):
            edit(folder / f"{net}.prototxt", "num_output: 16", f"num_output: {outputs}")
        return folder

    write("probe", 4000)
    train(world.job("probe"))
    probe = world.folder("probe").final.stat().st_size
    # Caffe notices that the disk is full, but for the last bytes of a file, fewer than 1024, which
    # are written when it is closed. So the net is made to leave some after whole blocks of 8192.
    per_output = 4 * (54 + 1 + 16)
    more = next(n for n in range(100) if 100 < (probe + per_output * n) % 8192 < 900)
    size = probe + per_output * more
    for name in ("whole", "best", "snapshot", "log"):
        write(name, 4000 + more)
    solver = Path("prototxt", TASK, "snapshot", "solver.prototxt")
    edit(solver, "test_iter: 3\ntest_interval: 3\n", "")
    train(world.job("whole"))
    assert world.folder("whole").final.stat().st_size == size
    for name, end, words in (
        ("best", size - 1, r"Caffe wrote did not reach the disk .*best.caffemodel.* truncated"),
        ("best", size // 2, r"could not write a file \(is the disk full\?\): .*SerializeToOstream"),
        ("snapshot", size - 1, r"Caffe wrote did not reach the disk .*caffenet_iter_5"),
        ("log", 5000, r"ended by SIGABRT and could not say why \(disk full\?\)"),
    ):
        with files_end_at(end), pytest.raises(UserError, match=words) as raised:
            train(world.job(name))
        assert "\n" not in str(raised.value)
        assert not world.folder(name).final.exists()
        assert not world.folder(name).best.exists()
        assert not snapshots(prefix(world, name))
    train(world.job("best"))
    assert world.weights("best") == world.weights("whole")


_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


def _namespaces() -> bool:
    """Whether this user may mount a file system of its own."""
    mount = "mount -t tmpfs none /mnt"
    try:
        return not subprocess.run([*_UNSHARE, "sh", "-c", mount], capture_output=True).returncode
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(
    not _namespaces(), reason="this machine lets no user mount a tmpfs of their own"
)
def test_a_full_disk_and_then_room_again(world: World, uninterrupted: str) -> None:
    """A real file system that fills up while Caffe trains, and has room again later."""
    world.write("a", LONG)
    script = """
import os, signal, subprocess, sys, time
from pathlib import Path
from typing import Any
runs = Path("experiments/runs")
kept = Path("kept")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1600m", "none", str(runs)], check=True)
(runs / "tiny/a/snapshots").mkdir(parents=True)
first = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
def wait_for(pattern):
    while not list((runs / "tiny/a").glob(pattern)):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.002)
def tell(number):
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    for pid in (first.pid, *map(int, children)):
        os.kill(pid, number)
def fill(name, left):
    tell(signal.SIGSTOP)  # filling takes longer than the training
    disk = os.statvfs(runs)
    with open(runs / name, "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, disk.f_bavail * disk.f_frsize - left)
    tell(signal.SIGCONT)
wait_for("run.json")  # the tool found room enough and starts Caffe
fill("most", 60_000_000)
wait_for("snapshots/*.json")
fill("rest", 4_000_000)
print(first.communicate()[1])
(runs / "most").unlink()
(runs / "rest").unlink()
again = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(again.stdout, again.stderr)
kept.write_bytes((runs / "tiny/a/final.caffemodel").read_bytes())
"""
    done = subprocess.run(
        [*_UNSHARE, sys.executable, "-c", script, *world.command("a")],
        capture_output=True,
        text=True,
        env=world.environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error: no space left on the disk of experiments/runs/tiny/a" in done.stdout
    assert "goes on from experiments/runs/tiny/a/snapshots/caffenet_iter_" in done.stdout
    assert "Traceback" not in done.stdout
    assert Path("kept").read_bytes() == world.folder("whole").final.read_bytes()


def test_too_little_room_is_said_before_training(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.single_run.training._ROOM", 10**18)
    world.write("a")
    with pytest.raises(UserError, match=r"not enough disk space for weights and snapshots"):
        train(world.job("a"))


# ---- Own runs as a start ----


def test_an_own_run_with_an_edited_net_is_a_start(world: World) -> None:
    world.write("a", Plan(max_iter=2))
    train(world.job("a"))
    folder = world.write("b", Plan(max_iter=2))
    for net in (folder / "train_val.prototxt", folder / "deploy.prototxt"):
        net.write_text(net.read_text().replace('"fc7"', '"fc7_new"'))
    train(world.job("b", f"run:{TASK}/a"))
    layers = {layer.name: layer.transferred for layer in record(world, "b").layers}
    assert [name for name, copied in layers.items() if not copied] == ["fc7_new"]
