"""Comparing with somebody's Caffe: real logs and real weights of real Caffe, small nets."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.compare import logs, weights
from experiments.compare.caffe_log import read_log
from experiments.single_run.figure_style import look
from experiments.single_run.folder import prototxt_folder
from lib.caffe.client import Engine
from lib.caffe.messages import BlobProto
from lib.errors import UserError
from prototxt.caffenet import last_layer
from prototxt.render import Run, render
from tests.small_world import CLASSES, COUNTS, DATA, TASK, Plan, World
from tools import compare, predict

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


GOOGLENET = """\
I0427 16:14:58.7 4532 solver.cpp:330] Iteration 0, Testing net (#0)
I0427 16:16:13.4 4532 solver.cpp:397]     Test net output #0: loss1/loss1 = 1.4 (* 0.3 = 0.42 loss)
I0427 16:16:13.4 4532 solver.cpp:397]     Test net output #1: loss1/top-1 = 0.21
I0427 16:16:13.4 4532 solver.cpp:397]     Test net output #2: loss1/top-5 = 0.71
I0427 16:16:13.4 4532 solver.cpp:397]     Test net output #3: loss3/loss3 = 1.6 (* 1 = 1.6 loss)
I0427 16:16:13.4 4532 solver.cpp:397]     Test net output #4: loss3/top-1 = 0.23
I0427 16:16:13.4 4532 solver.cpp:397]     Test net output #5: loss3/top-5 = 0.73
I0427 16:16:14.0 4532 solver.cpp:218] Iteration 0 (-1.2e-34 iter/s, 1.2s/5 iters), loss = 2.47
"""

NVCAFFE_17 = """\
I0304 16:33:16.0 7000 solver.cpp:494] Iteration 0, Testing net (#0)
I0304 16:33:17.0 7000 solver.cpp:581]     [0.0]    Test net output #0: accuracy/top-1 = 0.25
I0304 16:33:17.0 7000 solver.cpp:581]     [0.0]    Test net output #1: loss = 1.6 (* 1 = 1.6 loss)
I0304 16:33:18.0 7000 solver.cpp:342]     [0.0] Iteration 0 (0.635 s), 0/20ep, loss = 1.62
I0304 16:33:18.0 7000 sgd_solver.cpp:180] [0.0] Iteration 0, lr = 0.002, m = 0.9, wd = 0.0005
I0304 16:33:19.0 7000 solver.cpp:337] [0.0] Iteration 5 (5/s, 0.9s/5 iter), 0.9/20ep, loss = 1.4
"""

NVCAFFE_11 = """\
I0605 10:00:02.1 9000 solver.cpp:214] Iteration 0, loss = 1.62
I0605 10:00:02.1 9000 solver.cpp:486] Iteration 0 (0/s), lr = 0.01
I0605 10:00:03.1 9000 solver.cpp:214] Iteration 5, loss = -nan
I0605 10:00:03.1 9000 solver.cpp:486] Iteration 5 (24.1/s), lr = 0.02
I0605 10:00:03.1 9000 sgd_solver.cpp:46] MultiStep Status: Iteration 5, step = 1
I0605 10:00:03.1 9000 solver.cpp:454] Snapshotting to binary proto file x_iter_5.caffemodel
"""

CAFFE_2014 = """\
I0917 15:36:22.0 2254 solver.cpp:230] Iteration 0, Testing net (#0)
I0917 15:36:23.1 2254 solver.cpp:270] Test score #0: 0.25
I0917 15:36:23.1 2254 solver.cpp:270] Test score #1: 1.61
I0917 15:36:24.6 2254 solver.cpp:195] Iteration 0, loss = 1.62
I0917 15:36:24.6 2254 solver.cpp:365] Iteration 0, lr = 0.002
I0917 15:37:22.0 2254 solver.cpp:230] Iteration 5, Testing net (#0)
I0917 15:37:23.1 2254 solver.cpp:270] Test score #0: 0.5
I0917 15:37:23.1 2254 solver.cpp:270] Test score #1: 0.9
"""


def test_of_several_heads_the_one_with_the_heaviest_loss_counts(
    log: Callable[[str], Path],
) -> None:
    found = read_log(log(GOOGLENET))
    assert (found.accuracy, found.accuracy_name) == ({0: 0.23}, "loss3/top-1")
    assert found.test_loss == {0: 1.6}
    (note,) = found.notes
    assert "not compared: loss1/loss1, loss1/top-1, loss1/top-5, loss3/top-5" in note


def test_a_top_5_is_no_accuracy_and_no_loss(log: Callable[[str], Path]) -> None:
    lines = GOOGLENET.splitlines(keepends=True)
    found = read_log(log("".join(line for line in lines if "top-1" not in line)))
    assert found.accuracy == {}
    assert found.test_loss == {0: 1.6}
    assert "no accuracy and loss3/loss3 are compared" in found.notes[0]


def test_nvcaffe(log: Callable[[str], Path]) -> None:
    found = read_log(log(NVCAFFE_17))
    assert found.loss == {0: 1.62, 5: 1.4}
    assert found.lr == {0: 0.002}
    assert (found.accuracy, found.test_loss) == ({0: 0.25}, {0: 1.6})
    assert not found.notes
    found = read_log(log(NVCAFFE_11))
    assert found.lr == {0: 0.01, 5: 0.02}
    assert found.loss[0] == 1.62
    assert found.loss[5] != found.loss[5]  # nan
    assert not found.notes


def test_scores_of_2014_have_no_names(log: Callable[[str], Path]) -> None:
    found = read_log(log(CAFFE_2014))
    assert found.accuracy == {0: 0.25, 5: 0.5}
    assert found.test_loss == {0: 1.61, 5: 0.9}
    assert "#0 is taken for the accuracy, #1 for the loss" in found.notes[0]


def test_numbers_for_each_class_are_no_series(log: Callable[[str], Path]) -> None:
    each = "I0427 x 1 solver.cpp:397]     Test net output #{}: accuracy_per_class = {}\n"
    lines = [line for line in RC.splitlines(keepends=True) if "top5" not in line]
    at = next(n for n, line in enumerate(lines) if "top1" in line) + 1
    found = read_log(
        log("".join([*lines[:at], each.format(1, 0.9), each.format(2, 0.1), *lines[at:]]))
    )
    assert found.accuracy == {20: 0.25}
    assert found.accuracy_name == "accuracy/top1"
    assert "not compared: accuracy_per_class" in found.notes[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_a_log_that_powershell_wrote(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "their.log"
    path.write_bytes(("é\r\n" + NVCAFFE_17.replace("\n", "\r\n")).encode(encoding))
    assert read_log(path).loss == {0: 1.62, 5: 1.4}


def test_what_is_not_understood_is_shown(log: Callable[[str], Path]) -> None:
    odd = "I0101 x 7 solver.cpp:228] Iteration 60: the loss is 0.5\n"
    comma = "I0101 x 7 solver.cpp:228] Iteration 80, loss = 1,234\n"
    found = read_log(log(RC + odd + comma))
    assert 60 not in found.loss
    assert 80 not in found.loss
    (note,) = [note for note in found.notes if "not understood" in note]
    assert "line 13: I0101 x 7 solver.cpp:228] Iteration 60: the loss is 0.5" in note
    assert "line 14" in note
    with pytest.raises(UserError, match=r"no line of a training.*the loss is 0.5"):
        read_log(log(odd))


def run_logs(monkeypatch: pytest.MonkeyPatch, log: Path, run: str) -> list[dict[str, str]]:
    """Run the program as a user does; the lines of its CSV."""
    monkeypatch.setattr("sys.argv", ["compare", "--log", str(log), "--run", run])
    compare.main()
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
        figure = logs.draw(logs.overlay(theirs, theirs), "the same")
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
    with pytest.raises(UserError, match=r"unknown run \(of RUN=\) 'tiny/none'"):
        run_logs(monkeypatch, log(RC), f"{TASK}/none")


# ---- weights ------------------------------------------------------------------------------------


def run_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one: Path, other: Path
) -> str:
    """Run the program as a user does; what it says."""
    monkeypatch.setattr("sys.argv", ["compare", "--weights", str(one), "--with", str(other)])
    compare.main()
    return capsys.readouterr().out


def test_frozen_layers_are_the_same_bit_for_bit(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAFFE_PYTHON", str(world.device.engine.python))
    world.write("base")
    assert world.tool("base").returncode == 0
    world.write("next", Plan(scenario="only_last3", seed=8))
    words = ["--init", f"run:{TASK}/base", "--scenario", "only_last3"]  # the last --init counts
    command = world.command("next", *words)
    done = subprocess.run(command, capture_output=True, text=True, env=world.environment())
    assert done.returncode == 0, done.stderr
    one, other = world.folder("base").final, world.folder("next").final
    said = run_weights(monkeypatch, capsys, one, other)
    assert (
        "5 of 8 common layers are bit for bit the same: conv1, conv2, conv3, conv4, conv5" in said
    )
    for line in said.splitlines():
        if line.startswith("conv"):
            assert line.endswith("identical")
        elif line.startswith("fc"):
            assert "identical" not in line
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
    text = weights.table(list(layers.values()), width=200)
    assert re.search(r"^one .*only in the first$", text, re.MULTILINE)
    assert re.search(r"^two .*only in the second$", text, re.MULTILINE)
    verdict = weights.verdict(list(layers.values()))
    assert verdict == "1 of 2 common layers are bit for bit the same: same; 2 are in one file only"


def test_broken_weights_are_said(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAFFE_PYTHON", str(engine.python))
    broken = tmp_path / "broken.caffemodel"
    broken.write_bytes(b"PK\x03\x04")
    monkeypatch.setattr("sys.argv", ["compare", "--weights", str(broken), "--with", str(broken)])
    with pytest.raises(UserError, match=r"broken.caffemodel is not a .caffemodel but a zip"):
        compare.main()
    monkeypatch.setattr("sys.argv", ["compare", "--weights", "no", "--with", str(broken)])
    with pytest.raises(UserError, match="no weights at no"):
        compare.main()


# ---- foreign weights on our test images ---------------------------------------------------------

AS = "met_nationality"  # a known task, whose place the small world's data takes


def run_predict(monkeypatch: pytest.MonkeyPatch, world: World, *words: str) -> Path:
    """Run the program as a user does; where it wrote."""
    monkeypatch.setenv("CAFFE_PYTHON", str(world.device.engine.python))
    if not Path("datasets", AS).exists():
        Path("datasets", AS).symlink_to(DATA.path.resolve())
    monkeypatch.setattr("sys.argv", ["predict", "--task", AS, "--gpu", "none", *words])
    predict.main()
    found = Path("experiments/report/foreign", AS).iterdir()
    return max(found, key=lambda path: path.stat().st_mtime_ns)


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


def test_a_net_in_any_form_serves(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A train_val net without backend, a deploy net, and one with another mean."""
    world.write("mine")
    assert world.tool("mine").returncode == 0
    mine = world.folder("mine")
    weights = ("--weights", str(mine.final))

    def score(*words: str) -> dict[str, Any]:
        before = set(Path("experiments/report/foreign", AS).glob("*"))
        run_predict(monkeypatch, world, *weights, *words)
        (new,) = set(Path("experiments/report/foreign", AS).glob("*")) - before
        found: dict[str, Any] = json.loads((new / "results.json").read_text())
        return found

    whole = score("--net", str(mine.train_val))
    bare = tmp_path / "bare.prototxt"
    bare.write_text(re.sub(r"\s*backend: LMDB", "", mine.train_val.read_text()))
    assert "backend" not in bare.read_text()
    assert score("--net", str(bare))["per_class"] == whole["per_class"]
    deploy = score("--net", str(mine.deploy))  # with the task's own mean, as in its training
    assert deploy["per_class"] == whole["per_class"]
    assert deploy["mean"] == str(Path("datasets", AS, "mean.binaryproto"))
    mean = tmp_path / "other.binaryproto"
    write_mean(mean, 255.0)
    for net in (mine.train_val, mine.deploy):
        assert score("--net", str(net), "--mean", str(mean))["mean"] == str(mean)
    assert len(list(Path("experiments/report/foreign", AS).iterdir())) == 5


def write_mean(path: Path, value: float) -> None:
    """A mean file of one value throughout."""
    blob = BlobProto()
    blob.shape.dim.extend([1, 3, 256, 256])
    blob.data.extend([value] * (3 * 256 * 256))
    path.write_bytes(blob.SerializeToString())


def test_a_mean_changes_what_a_net_says(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    mine, mean = world.folder("mine"), tmp_path / "other.binaryproto"
    write_mean(mean, 255.0)
    words = ("--weights", str(mine.final), "--net", str(mine.train_val))
    own = (run_predict(monkeypatch, world, *words) / "predictions.csv").read_text()
    run_predict(monkeypatch, world, *words, "--mean", str(mean))
    others = {
        path.read_text()
        for path in Path("experiments/report/foreign", AS).glob("*/predictions.csv")
    }
    assert own in others
    assert len(others) == 2
    with pytest.raises(UserError, match=r"no none\.binaryproto: MEAN="):
        run_predict(monkeypatch, world, *words, "--mean", "none.binaryproto")


def test_top_5_of_few_classes_is_no_figure(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    mine = world.folder("mine")
    run_predict(monkeypatch, world, "--weights", str(mine.final), "--net", str(mine.train_val))
    said = capsys.readouterr().out
    assert "macro F1" in said
    assert "top-5" not in said


_NVCAFFE = """
import sys
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter(name="x")
layer = net.layer.add(name="ip", type="InnerProduct")
layer.blobs.add().shape.dim.extend([1, 2])
blob = layer.blobs[0].SerializeToString() + bytes([10 << 3, 0, 12 << 3 | 2, 8]) + bytes(8)
text = layer.SerializeToString().replace(layer.blobs[0].SerializeToString(), b"")[:-2]
layer = text + bytes([7 << 3 | 2, len(blob)]) + blob
open(sys.argv[1], "wb").write(bytes([100 << 3 & 127 | 2 | 128, 100 << 3 >> 7, len(layer)]) + layer)
"""


def test_nvcaffes_weights_are_told(
    tmp_path: Path, engine: Engine, in_engine: Callable[..., str]
) -> None:
    theirs = tmp_path / "theirs.caffemodel"
    in_engine(_NVCAFFE, theirs)
    with pytest.raises(UserError, match=r"NVCaffe's .*raw_data.*store_blobs_in_old_format: true"):
        engine.call("inspect", {"weights": str(theirs), "expected": {}})


def test_weights_that_lack_a_layer_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.write("mine")
    assert world.tool("mine").returncode == 0
    net = tmp_path / "other.prototxt"
    text = world.folder("mine").train_val.read_text()
    net.write_text(text.replace(f'"{last_layer(TASK)}"', '"fc8_their"'))
    final = str(world.folder("mine").final)
    with pytest.raises(UserError, match=r"no weights for fc8_their of .*leave random") as caught:
        run_predict(monkeypatch, world, "--weights", final, "--net", str(net))
    assert last_layer(TASK) in str(caught.value)  # what is there instead
    with pytest.raises(UserError, match="does not fit CaffeNet: layer 'conv1': the file has 4x3x7"):
        run_predict(monkeypatch, world, "--weights", final)
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
    deploy, theirs = tmp_path / "deploy.prototxt", tmp_path / "theirs.caffemodel"
    fillers = re.sub(
        r"inner_product_param \{",
        'inner_product_param { weight_filler { type: "xavier" }',
        render(plan)["deploy.prototxt"],
    )
    fillers = re.sub(
        r"convolution_param \{", 'convolution_param { weight_filler { type: "xavier" }', fillers
    )
    deploy.write_text(fillers)
    in_engine(_CAFFENET, deploy, theirs)
    out = run_predict(monkeypatch, world, "--weights", str(theirs))
    assert '"fc8_theirs"' in (out / "train_val.prototxt").read_text()
    found = json.loads((out / "results.json").read_text())
    assert (found["images"], found["classes"]) == (COUNTS["test"], len(CLASSES))
    lines = (out / "predictions.csv").read_text().splitlines()[1:]
    assert len({line.split(",")[4] for line in lines}) > 3  # these weights are not nothing
