"""Comparing with somebody's Caffe: real logs and real weights of real Caffe, small nets."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.compare import foreign_weights as predict
from experiments.compare import logs as compare_logs
from experiments.compare import weights as compare_weights
from experiments.compare.caffe_log import read_log
from experiments.single_run.figure_style import look
from experiments.single_run.folder import prototxt_folder
from lib.caffe.client import Engine
from lib.errors import UserError
from prototxt.caffenet import last_layer
from prototxt.render import Run, render
from tests.small_world import CLASSES, COUNTS, DATA, TASK, Plan, World

RC = """\
I0101 10:00:00.000000 7 solver.cpp:228] Iteration 0, loss = 2.5
I0101 10:00:00.000000 7 solver.cpp:244]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
I0101 10:00:00.000000 7 sgd_solver.cpp:106] Iteration 0, lr = 0.001
I0101 10:00:01.000000 7 solver.cpp:337] Iteration 20, Testing net (#0)
I0101 10:00:02.000000 7 solver.cpp:404]     Test net output #0: accuracy/top1 = 0.25
I0101 10:00:02.000000 7 solver.cpp:404]     Test net output #1: accuracy/top5 = 0.75
I0101 10:00:02.000000 7 solver.cpp:404]     Test net output #2: loss = 1.5 (* 1 = 1.5 loss)
I0101 10:00:02.000000 7 solver.cpp:337] Iteration 20, Testing net (#1)
I0101 10:00:02.000000 7 solver.cpp:404]     Test net output #0: accuracy/top1 = 0.99
I0101 10:00:03.000000 7 solver.cpp:228] Iteration 20, loss = 1.25e-01
I0101 10:00:03.000000 7 sgd_solver.cpp:106] Iteration 20, lr = 1e-05
I0101 10:00:04.000000 7 solver.cpp:228] Iteration 40, loss = nan
"""


@pytest.fixture
def log(tmp_path: Path) -> Callable[[str], Path]:
    """Write a log."""

    def write(text: str) -> Path:
        path = tmp_path / "their.log"
        path.write_text(text)
        return path

    return write


# ---- logs ---------------------------------------------------------------------------------------


def test_log_of_a_release_candidate(log: Callable[[str], Path]) -> None:
    found = read_log(log(RC))
    assert list(found.loss) == [0, 20, 40]
    assert (found.loss[0], found.loss[20]) == (2.5, 0.125)
    assert found.loss[40] != found.loss[40]  # nan
    assert found.lr == {0: 0.001, 20: 1e-5}
    assert found.accuracy == {20: 0.25}  # top-1 of the first test net
    assert found.accuracy_name == "accuracy/top1"
    assert found.test_loss == {20: 1.5}


def test_both_forms_say_the_same(log: Callable[[str], Path]) -> None:
    rc = read_log(log(RC.replace("nan", "1")))
    later = re.sub(r"Iteration (\d+), loss", r"Iteration \1 (1.5 iter/s, 13s/20 iters), loss", RC)
    assert read_log(log(later.replace("nan", "1"))) == rc
    first = later.replace("(1.5 iter/s, 13s/20 iters)", "(-4.2e-07 iter/s, 0s/20 iters)")
    assert read_log(log(first.replace("nan", "1"))) == rc


def test_a_resumed_training_counts_from_its_snapshot(log: Callable[[str], Path]) -> None:
    lines = [f"I0101 x solver.cpp:1] Iteration {n}, loss = {n}\n" for n in (0, 10, 20, 30)]
    again = [f"I0101 x solver.cpp:1] Iteration {n}, loss = {100 + n}\n" for n in (20, 40)]
    assert read_log(log("".join(lines + again))).loss == {0: 0, 10: 10, 20: 120, 40: 140}


def test_what_is_no_log_is_said(log: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no line of a training"):
        read_log(log("hello\n"))
    with pytest.raises(UserError, match="can't be read"):
        read_log(tmp_path / "none.log")


def run_logs(monkeypatch: pytest.MonkeyPatch, log: Path, run: str) -> list[dict[str, str]]:
    """Run the program as a user does; the lines of its CSV."""
    monkeypatch.setattr("sys.argv", ["compare_logs", "--log", str(log), "--run", run])
    compare_logs.main()
    name = f"{run.replace('/', '-')}-{log.stem}"
    file = Path("experiments/report/compare") / f"{name}.csv"
    assert file.with_suffix(".png").stat().st_size > 10_000
    with file.open() as handle:
        return list(csv.DictReader(handle))


def test_the_log_of_caffe_train_lies_on_ours(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    solver = tmp_path / "theirs.prototxt"
    text = (prototxt_folder(TASK, "mine") / "solver.prototxt").read_text()
    solver.write_text(re.sub("snapshot_prefix: .*", f'snapshot_prefix: "{tmp_path}/t"', text))
    done = subprocess.run(
        [str(world.caffe), "train", "-solver", str(solver)],
        capture_output=True,
        text=True,
        env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = tmp_path / "theirs.log"
    theirs.write_text(done.stderr)
    lines = run_logs(monkeypatch, theirs, f"{TASK}/mine")
    said = capsys.readouterr().out
    both = [line for line in lines if line["loss, theirs"] and line["loss, ours"]]
    assert len(both) == Plan().max_iter
    # The same solver, seed and data: the same losses, digit for digit.
    assert all(line["loss, theirs"] == line["loss, ours"] for line in both)
    assert f"learning rate: the same at all {Plan().max_iter} common iterations" in said
    tested = [int(line["iteration"]) for line in lines if line["accuracy, theirs"]]
    assert tested == [0, 3, 6, 9, 12]
    # 13 images in 3 batches of 5: Caffe counts two of them twice, we none.
    for line in lines:
        if line["accuracy, theirs"] and line["accuracy, ours"]:
            assert round(float(line["accuracy, ours"]) * COUNTS["val"], 6).is_integer()
    rc = tmp_path / "older.log"
    rc.write_text(re.sub(r"(Iteration \d+) \([^)]*\)", r"\1", done.stderr))
    assert run_logs(monkeypatch, rc, f"{TASK}/mine") == lines


def test_rates_are_numbers_beside_their_axis(log: Callable[[str], Path]) -> None:
    theirs = read_log(log(RC.replace("loss = nan", "loss = 1")))
    with mpl.rc_context(look()):
        figure = compare_logs.draw(compare_logs.overlay(theirs, theirs), "the same")
        FigureCanvasAgg(figure).draw()
    ticks = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert {"1e-05", "1e-04", "1e-03"} <= {tick.replace("\u2212", "-") for tick in ticks}
    assert not any("$" in tick for tick in ticks)


def test_another_rate_is_told(
    world: World,
    log: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    text = world.folder("mine").log.read_text()
    at_six = re.search(r"Iteration 6, lr = (\S+)", text)
    assert at_six
    run_logs(monkeypatch, log(text.replace(at_six[0], "Iteration 6, lr = 0.5")), f"{TASK}/mine")
    said = capsys.readouterr().out
    assert f"differs at 1 of 12 common iterations, first at 6: theirs 0.5, ours {at_six[1]}" in said
    with pytest.raises(UserError, match="RUN=tiny/none: no curve in"):
        run_logs(monkeypatch, log(RC), f"{TASK}/none")


# ---- weights ------------------------------------------------------------------------------------


def run_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one: Path, other: Path
) -> str:
    """Run the program as a user does; what it says."""
    monkeypatch.setattr(
        "sys.argv", ["compare_weights", "--weights", str(one), "--with", str(other)]
    )
    compare_weights.main()
    return capsys.readouterr().out


def test_frozen_layers_are_the_same_bit_for_bit(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAFFE_PYTHON", str(world.device.engine.python))
    world.write("base")
    assert world.tool("base").returncode == 0
    world.write("next", Plan(scenario="only_last3", seed=8))
    words = ["--init", f"run:{TASK}/base", "--scenario", "only_last3"]
    command = world.command("next")
    command = command[: command.index("--init")] + words + command[command.index("--data") :]
    done = subprocess.run(command, capture_output=True, text=True, env=world.environment())
    assert done.returncode == 0, done.stderr
    one, other = world.folder("base").final, world.folder("next").final
    said = run_weights(monkeypatch, capsys, one, other)
    assert (
        "5 of 8 common layers are bit for bit the same: conv1, conv2, conv3, conv4, conv5" in said
    )
    for line in said.splitlines():
        if line.startswith("conv"):
            assert line.endswith("bit for bit the same")
        elif line.startswith("fc"):
            assert "bit for bit" not in line
    assert "8 of 8 common layers are bit for bit the same" in run_weights(
        monkeypatch, capsys, one, one
    )


_WRITE = """
import sys, numpy
from caffe.proto import caffe_pb2
for path, legacy, shift, extra in ((sys.argv[1], False, 0, "one"), (sys.argv[2], True, 2, "two")):
    net = caffe_pb2.NetParameter(name="x")
    for name, shape, values in (
        ("ip", [2, 2], [3, 4, 0, 0]), ("same", [1, 2], [1, 2]), (extra, [1, 1], [5])
    ):
        layer = net.layer.add(name=name, type="InnerProduct")
        blob = layer.blobs.add()
        if name == "ip":
            values[1] += shift
        blob.data.extend(values)
        if legacy:
            blob.num, blob.channels, blob.height, blob.width = [1] * (4 - len(shape)) + shape
        else:
            blob.shape.dim.extend(shape)
    with open(path, "wb") as handle:
        handle.write(net.SerializeToString())
"""


def test_differences_are_the_right_numbers(
    tmp_path: Path, engine: Engine, in_engine: Callable[..., str]
) -> None:
    one, other = tmp_path / "one.caffemodel", tmp_path / "other.caffemodel"
    in_engine(_WRITE, one, other)
    layers = {
        layer["name"]: layer
        for layer in engine.call("blobs", {"weights": str(one), "with": str(other)})["layers"]
    }
    assert list(layers) == ["ip", "same", "one", "two"]
    found = layers["ip"]["blobs"][0]  # (3, 4, 0, 0) and (3, 6, 0, 0)
    assert found["largest"] == 2
    assert found["rms"] == pytest.approx(1)
    assert found["scale"] == pytest.approx(2.5)
    assert found["cosine"] == pytest.approx((9 + 24) / (5 * 45**0.5))
    assert not found["equal"]
    assert layers["same"]["blobs"][0]["equal"]  # the legacy form's leading ones don't count
    text = compare_weights.table(list(layers.values()))
    assert re.search(r"^one .*only in the first$", text, re.MULTILINE)
    assert re.search(r"^two .*only in the second$", text, re.MULTILINE)
    verdict = compare_weights.verdict(list(layers.values()))
    assert verdict == "1 of 2 common layers are bit for bit the same: same; 2 are in one file only"


def test_broken_weights_are_said(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAFFE_PYTHON", str(engine.python))
    broken = tmp_path / "broken.caffemodel"
    broken.write_bytes(b"PK\x03\x04")
    monkeypatch.setattr(
        "sys.argv", ["compare_weights", "--weights", str(broken), "--with", str(broken)]
    )
    with pytest.raises(UserError, match=r"broken.caffemodel is not a .caffemodel but a zip"):
        compare_weights.main()
    monkeypatch.setattr("sys.argv", ["compare_weights", "--weights", "no", "--with", str(broken)])
    with pytest.raises(UserError, match="no weights at no"):
        compare_weights.main()


# ---- foreign weights on our test images ---------------------------------------------------------

AS = "met_nationality"  # a known task, whose place the small world's data takes


def run_predict(monkeypatch: pytest.MonkeyPatch, world: World, *words: str) -> Path:
    """Run the program as a user does; where it wrote."""
    monkeypatch.setenv("CAFFE_PYTHON", str(world.device.engine.python))
    if not Path("datasets", AS).exists():
        Path("datasets", AS).symlink_to(DATA.path.resolve())
    monkeypatch.setattr("sys.argv", ["predict", "--task", AS, "--gpu", "none", *words])
    predict.main()
    (folder,) = Path("experiments/report/foreign", AS).iterdir()
    return folder


def test_foreign_weights_with_their_net_score_as_our_own_test(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    done = world.tool("mine", tool="evaluate")
    assert done.returncode == 0, done.stderr
    mine = world.folder("mine")
    theirs = tmp_path / "theirs.caffemodel"
    theirs.write_bytes(mine.final.read_bytes())
    out = run_predict(monkeypatch, world, "--weights", str(theirs), "--net", str(mine.train_val))
    ours, found = (json.loads((f / "results.json").read_text()) for f in (mine.path, out))
    assert found["images"] == COUNTS["test"]
    for name in ("top1", "macro_f1", "per_class"):
        assert found[name] == ours[name]
    both = [(f / "predictions.csv").read_text() for f in (mine.path, out)]
    assert both[0] == both[1]


def test_weights_that_lack_a_layer_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    net = tmp_path / "other.prototxt"
    text = world.folder("mine").train_val.read_text()
    net.write_text(text.replace(f'"{last_layer(TASK)}"', '"fc8_their"'))
    weights = str(world.folder("mine").final)
    with pytest.raises(UserError, match=r"no weights for fc8_their of .*leave random") as caught:
        run_predict(monkeypatch, world, "--weights", weights, "--net", str(net))
    assert last_layer(TASK) in str(caught.value)  # what is there instead
    with pytest.raises(UserError, match="does not fit CaffeNet: layer 'conv1': the file has 4x3x7"):
        run_predict(monkeypatch, world, "--weights", weights)
    with pytest.raises(UserError, match="no nothing: WEIGHTS="):
        run_predict(monkeypatch, world, "--weights", "nothing")


_CAFFENET = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TEST)
net.save(sys.argv[2])
"""


@pytest.mark.caffenet
def test_caffenet_whatever_its_classifier_is_called(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_engine: Callable[..., str]
) -> None:
    plan = Run(
        task="theirs",
        classes=len(CLASSES),
        train=22,
        val=13,
        train_lmdb="",
        val_lmdb="",
        mean=str(DATA.mean),
        net="",
        snapshot_prefix="",
    )
    deploy, weights = tmp_path / "deploy.prototxt", tmp_path / "theirs.caffemodel"
    fillers = re.sub(
        r"inner_product_param \{",
        'inner_product_param { weight_filler { type: "xavier" }',
        render(plan)["deploy.prototxt"],
    )
    fillers = re.sub(
        r"convolution_param \{", 'convolution_param { weight_filler { type: "xavier" }', fillers
    )
    deploy.write_text(fillers)
    in_engine(_CAFFENET, deploy, weights)
    out = run_predict(monkeypatch, world, "--weights", str(weights))
    assert '"fc8_theirs"' in (out / "train_val.prototxt").read_text()
    found = json.loads((out / "results.json").read_text())
    assert (found["images"], found["classes"]) == (COUNTS["test"], len(CLASSES))
    lines = (out / "predictions.csv").read_text().splitlines()[1:]
    assert len({line.split(",")[4] for line in lines}) > 3  # these weights are not nothing
