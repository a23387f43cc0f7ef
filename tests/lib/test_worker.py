"""The engine's worker and its client, on real Caffe: events, Caffe's own words, signals, deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.single_run.snapshots import Snapshots
from lib.caffe import client
from lib.caffe.client import Engine, Event, Interrupted, find_engine
from lib.caffe.device import Device
from lib.errors import UserError
from tests.small_world import CLASSES, DATA, Plan, World, edit

FOREVER = Plan(max_iter=1_000_000, snapshot=0, test_interval=1_000_000)


def request(world: World, name: str, plan: Plan | None = None, **more: Any) -> dict[str, Any]:
    """What the verb `train` is asked, for a run whose prototxts it writes."""
    folder = world.write(name, plan)
    asked = {
        "solver": str(folder / "solver.prototxt"),
        "deploy": str(folder / "deploy.prototxt"),
        "classes": [len(CLASSES), str(DATA.classes)],
        "validation": str(DATA.lmdb("val")),
        "image_size": 256,
        "weights": None,
        "run": str(world.folder(name).path),
        "snapshot_prefix": str(world.folder(name).snapshots / "caffenet"),
        "unfinished": str(world.folder(name).snapshots / ".unfinished.part"),
        "inputs": "these",
        "id": "this",
        "resume": None,
        "validated": -1,
        "best": None,
        "gpu": None,
    }
    return asked | more


def workers(pid: int) -> list[int]:
    """The workers that a process has started, on Linux."""
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [
        child for child in found if b"worker/main.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something, and fail when it does not come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s"
        time.sleep(0.01)


# ---- What it answers ----


def test_about_says_what_the_engine_is(device: Device) -> None:
    about = device.about
    assert about["caffe"].startswith("1.0")
    assert Path(about["caffe_path"]).is_dir()
    assert about["threads"] in (1, None)  # as the fixture asked; None: no OpenBLAS
    assert about["gpu"] is None
    assert "event" not in about


def test_events_of_a_training(world: World, tmp_path: Path) -> None:
    events: list[Event] = []
    log = tmp_path / "caffe.log"
    log.write_text("what was there\n")
    done = world.device.engine.call("train", request(world, "a"), log=log, on_event=events.append)
    assert done["iteration"] == 12
    start = events[0]
    assert (start["event"], start["batch"], start["max_iter"]) == ("start", 8, 12)
    layers = {layer["name"]: layer for layer in start["layers"]}
    assert set(layers) == set(done["layers"])
    assert layers["conv2"]["shapes"] == [[6, 2, 5, 5], [6]]
    iterations = [event for event in events if event["event"] == "iteration"]
    assert [event["iteration"] for event in iterations] == list(range(1, 13))  # display: 1
    assert sum(event["images"] for event in iterations) == 12 * 8
    assert [event["lr"] for event in iterations] == [0.01] * 6 + [0.005] * 6
    validations = [event for event in events if event["event"] == "validation"]
    assert [event["iteration"] for event in validations] == [0, 3, 6, 9, 12]
    assert all(event["images"] == 13 for event in validations)
    assert [event["iteration"] for event in events if event["event"] == "snapshot"] == [5, 10]
    text = log.read_text()
    assert text.startswith("what was there\n")
    assert "solver.cpp" in text
    assert "Iteration 11, lr = 0.005" in text


# ---- Nonsense, in Caffe's own words ----


def spoil(name: str, before: str, after: str) -> Callable[[Path], None]:
    """An edit of one of the prototxts."""
    return lambda folder: edit(folder / name, before, after)


NET, SOLVER = "train_val.prototxt", "solver.prototxt"


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (spoil(NET, "num_output: 6", "num_outputs: 6"), [f"{NET}:", '"num_outputs"']),
        (spoil(NET, "num_output: 6", "num_output: six"), [f"{NET}:", "six"]),
        (spoil(NET, 'bottom: "norm1"', 'bottom: "norm9"'), [f"{NET}: ", "conv2", "norm9"]),
        (
            spoil(NET, '"Pooling"', '"Poling"'),
            [f"{NET}: layer 'pool1': ", "'Poling'", "mean Pooling?"],
        ),
        (spoil(NET, "group: 2", "group: 4"), [f"{NET}: layer 'conv2'", "group_", "base_conv"]),
        (spoil(NET, "train_lmdb", "no_lmdb"), [f"{NET}: layer 'data'", "no_lmdb is not there"]),
        (spoil(NET, "train_lmdb", "images"), [f"{NET}: layer 'data'", "images is no LMDB"]),
        (spoil(NET, "mean.binary", "no.binary"), [f"{NET}: layer 'data'", "no.binaryproto"]),
        (spoil(NET, "crop_size: 64", "crop_size: 640"), [f"{NET}: layer 'data'", "crop_size"]),
        (spoil(NET, '"SoftmaxWithLoss"', '"Softmax"'), [f"{NET}: layer 'loss'", "1 bottom"]),
        (spoil(SOLVER, "momentum:", "momentun:"), [f"{SOLVER}:8:", '"momentun"']),
        (spoil(SOLVER, "net:", "#"), [SOLVER, "no `net:`"]),
        (spoil(SOLVER, NET, "gone.prototxt"), ["gone.prototxt", "No such file"]),
        (spoil(SOLVER, "max_iter: 12", "max_iter: 0"), [SOLVER, "max_iter"]),
        (spoil(SOLVER, 'lr_policy: "step"', 'lr_policy: "sometimes"'), ["sometimes"]),
    ],
)
def test_a_prototxt_edited_into_nonsense(
    world: World, spoiled: Callable[[Path], None], words: list[str]
) -> None:
    asked = request(world, "a")
    spoiled(Path(asked["solver"]).parent)
    with pytest.raises(UserError) as raised:
        world.device.engine.call("train", asked)
    said = str(raised.value)
    assert "\n" not in said
    for word in words:
        assert word in said


# ---- Layers in Python ----

A_LAYER = """\
import caffe


class Same(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data

    def backward(self, top, down, bottom):
        bottom[0].diff[...] = top[0].diff
"""
NORM = 'layer { name: "norm1" type: "LRN" bottom: "pool1" '
SAME = (
    'layer { name: "same" type: "Python" bottom: "pool1" top: "same" '
    'python_param { module: "a_layer" layer: "Same" } }\n'
)


def with_python_layer(world: World, plan: Plan | None = None) -> tuple[dict[str, Any], Path]:
    """What `train` is asked for a net with a Python layer, and the folder of its prototxts."""
    asked = request(world, "a", plan)
    folder = Path(asked["solver"]).parent
    for name in (NET, "deploy.prototxt"):
        edit(folder / name, NORM, SAME + NORM.replace("pool1", "same"))
    return asked, folder


@pytest.mark.parametrize("place", ["prototxt's folder", "root", "CAFFE_LAYERS"])
def test_the_module_of_a_python_layer_is_found(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    asked, folder = with_python_layer(world, Plan(max_iter=1))
    mine = tmp_path / "my layers"
    mine.mkdir()
    monkeypatch.setenv("CAFFE_LAYERS", f"/nowhere:{mine}")
    where = {"prototxt's folder": folder, "root": Path(), "CAFFE_LAYERS": mine}[place]
    (where / "a_layer.py").write_text(A_LAYER)
    assert world.device.engine.call("train", asked)["iteration"] == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, ["no Python module 'a_layer'", "CAFFE_LAYERS="]),
        ("import no_such_thing\n", ["No module named 'no_such_thing'", "a_layer.py, line 1"]),
        ("x = 1\nx = [\n", ["SyntaxError", "a_layer.py, line 2"]),
        ("def f():\n    return 1 / 0\nf()\n", ["ZeroDivisionError: division", "line 2"]),
        ("Other = 1\n", ["a_layer.py has no 'Same'"]),
        (A_LAYER.replace("pass", "raise ValueError('7 is no size')"), ["ValueError: 7 is no size"]),
        (A_LAYER.replace("top[0].data[...] =", "top[0].data[9:, 7] ="), ["IndexError", "bounds"]),
    ],
)
def test_the_error_of_a_python_layer_is_shown(
    world: World, code: str | None, words: list[str]
) -> None:
    asked, folder = with_python_layer(world)
    if code:
        (folder / "a_layer.py").write_text(code)
    with pytest.raises(UserError) as raised:
        world.device.engine.call("train", asked)
    said = str(raised.value)
    assert "\n" not in said
    for word in words:
        assert word in said


def test_pythonpath_is_for_a_foreign_caffe_only(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As make hands it on: our own Python does not see it, the one of CAFFE_PYTHON does."""
    foreign = tmp_path / "python"
    foreign.write_text(
        f'#!/bin/sh\necho "$PYTHONPATH" > {tmp_path}/seen\nexec {engine.python} "$@"\n'
    )
    foreign.chmod(0o755)
    monkeypatch.setenv("CAFFE_PYTHONPATH", "/their/caffe/python")
    Engine(foreign).call("about", {})
    assert (tmp_path / "seen").read_text() == "/their/caffe/python\n"


def test_weights_of_another_shape(world: World, tmp_path: Path) -> None:
    world.device.engine.call("train", request(world, "a", Plan(max_iter=1)))
    asked = request(world, "b", weights=str(world.folder("a").final))
    for name in (NET, "deploy.prototxt"):
        edit(Path(asked["solver"]).with_name(name), "num_output: 16", "num_output: 17")
    log = tmp_path / "b.log"
    with pytest.raises(
        UserError, match=r"weights from layer 'fc6'; shape mismatch.* 16 54 .* 17 54 "
    ) as raised:
        world.device.engine.call("train", asked, log=log)
    assert "\n" not in str(raised.value)
    assert "layer 'loss'" not in str(raised.value)  # the last that was built
    assert str(log) in str(raised.value)


def test_weights_that_are_no_weights(world: World, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.caffemodel"
    rubbish.write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=r"Caffe stopped: .*rubbish.caffemodel") as raised:
        world.device.engine.call("train", request(world, "a", weights=str(rubbish)))
    assert "\n" not in str(raised.value)


# ---- Signals and deaths ----


def at_iteration(number: int, act: Callable[[], object]) -> Callable[[Event], None]:
    """An event handler that acts once, when an iteration is reached."""
    left = [act]

    def on_event(event: Event) -> None:
        if event["event"] == "iteration" and event["iteration"] >= number and left:
            left.pop()()

    return on_event


def test_ctrl_c_ends_in_good_order_with_a_snapshot(world: World) -> None:
    stop = at_iteration(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        world.device.engine.call("train", request(world, "a", FOREVER), on_event=stop)
    assert signal.getsignal(signal.SIGINT) is before
    snapshot = Snapshots(world.folder("a").snapshots / "caffenet", "these", "this").newest()
    assert snapshot
    assert snapshot.iteration >= 3


@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGTERM, signal.SIGHUP, signal.SIGTERM]]
)
def test_other_signals_end_it_in_good_order_too(
    world: World, signals: list[signal.Signals]
) -> None:
    def send() -> None:
        for number in signals:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted):
        world.device.engine.call(
            "train", request(world, "a", FOREVER), on_event=at_iteration(3, send)
        )
    assert Snapshots(world.folder("a").snapshots / "caffenet", "these", "this").newest()


def test_a_second_ctrl_c_kills(world: World) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        world.device.engine.call(
            "train", request(world, "a", FOREVER), on_event=at_iteration(3, twice)
        )
    assert not workers(os.getpid())


def test_a_killed_worker(world: World) -> None:
    def kill() -> None:
        (worker,) = workers(os.getpid())
        os.kill(worker, signal.SIGKILL)

    with pytest.raises(UserError, match=r"ended by SIGKILL .out of memory"):
        world.device.engine.call(
            "train", request(world, "a", FOREVER), on_event=at_iteration(3, kill)
        )


def test_an_error_in_the_parent_ends_the_worker(world: World) -> None:
    def fail() -> None:
        raise RuntimeError("the parent's own")

    with pytest.raises(RuntimeError, match=r"own"):
        world.device.engine.call(
            "train", request(world, "a", FOREVER), on_event=at_iteration(3, fail)
        )
    assert not workers(os.getpid())


def test_the_worker_dies_with_a_killed_parent(world: World) -> None:
    asked = request(world, "a", FOREVER)
    code = (
        "import sys; from pathlib import Path; from lib.caffe.client import Engine\n"
        "tell = lambda event: print(event['event'], flush=True)\n"
        f"Engine(Path(sys.argv[1]), 1).call('train', {asked!r}, on_event=tell)"
    )
    command = [sys.executable, "-c", code, str(world.device.engine.python)]
    environment = world.environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "start\n"
        (worker,) = workers(parent.pid)
        parent.kill()
        wait_until(lambda: not alive(worker), 10)


# ---- Engines that are none ----


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CAFFE_PYTHON", raising=False)
    monkeypatch.setattr(client, "INSTALLED", tmp_path / "python")
    with pytest.raises(UserError, match=r"make caffe.*CAFFE_PYTHON"):
        find_engine()


@pytest.mark.parametrize("name", ["missing", "folder", "plain_file"])
def test_caffe_python_is_no_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain_file").touch()
    monkeypatch.setenv("CAFFE_PYTHON", str(tmp_path / name))
    with pytest.raises(UserError, match=f"CAFFE_PYTHON=.*{name} is not a program"):
        find_engine()


def test_a_python_without_caffe() -> None:
    with pytest.raises(UserError, match=r"No module named 'caffe'") as raised:
        Engine(Path(sys.executable)).call("about", {"gpu": None})
    assert sys.executable in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho hello", "exit code 0 and no answer"),
        ("#!/bin/sh\nexit 3", "exit code 3 and no answer"),
        ('#!/bin/sh\nprintf \'{"event": "don\'', "exit code 0 and no answer"),
        ("#!/not/there", "cannot start .*: No such file"),
        ("\x7fELF nonsense", "cannot start .*: Exec format error"),
    ],
)
def test_a_program_that_is_no_python(tmp_path: Path, script: str, words: str) -> None:
    program = tmp_path / "python"
    program.write_text(script)
    program.chmod(0o755)
    with pytest.raises(UserError, match=words):
        Engine(program).call("about", {"gpu": None, "padding": "x" * 100_000})


def test_an_exception_in_the_worker_is_one_line(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"'predict' failed in .*KeyError: 'gpu'") as raised:
        engine.call("predict", {})
    assert "\n" not in str(raised.value)


def test_a_gpu_that_is_not_there(world: World) -> None:
    with pytest.raises(UserError, match=r"GPU 9 was asked for.*GPU=none"):
        world.device.engine.call("train", request(world, "a", gpu=9))
