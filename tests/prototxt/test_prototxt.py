"""The prototxts of a run: counts, settings, kept edits, and what real Caffe makes of them."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.build import build_lmdbs
from datasets.folders import DataFolder
from lib.errors import UserError
from prototxt.caffenet import COPIED_LAYERS, SCENARIOS
from prototxt.iterations import check_counts, count
from prototxt.keep import RECORD, Outcome, write_unedited
from prototxt.read import Nets, Solver, read_nets, read_solver
from prototxt.render import NAMES, Run, render
from prototxt.settings import PAPER, Settings, add_settings_flags, settings_from

PROJECT = Path(__file__).resolve().parents[2]

RUN = Run(
    task="met_nationality",
    classes=4,
    train=1000,
    val=120,
    train_lmdb="datasets/met_nationality/train_lmdb",
    val_lmdb="datasets/met_nationality/val_lmdb",
    mean="datasets/met_nationality/mean.binaryproto",
    net="prototxt/met_nationality/r/train_val.prototxt",
    snapshot_prefix="experiments/runs/met_nationality/r/snapshots/caffenet",
)


# ---- Counts ----


def test_the_papers_schedule() -> None:
    counts = count(PAPER, train=1000, val=100)
    assert counts.max_iter == 391  # 100 x 1000 / 256 = 390.6
    assert (counts.device_batch, counts.iter_size) == (32, 8)
    assert counts.test_interval == 4  # 1000 / 256 = 3.9
    assert counts.stepsize == 0


def test_the_shorter_schedule_steps_every_five_epochs() -> None:
    settings = Settings(epochs=20, lr=1e-3, lr_step_epochs=5)
    counts = count(settings, train=25600, val=100)
    assert (counts.max_iter, counts.stepsize) == (2000, 500)


def test_an_exact_number_of_epochs_is_not_rounded_up_by_float_error() -> None:
    assert 1.1 * 50 > 55
    assert count(Settings(epochs=1.1, batch=1), train=50, val=1).max_iter == 55


@pytest.mark.parametrize(
    ("batch", "device"), [(256, 32), (50, 25), (64, 32), (1, 1), (37, 1), (30, 30)]
)
def test_the_device_batch_divides_the_batch(batch: int, device: int) -> None:
    counts = count(Settings(batch=batch), train=100, val=10)
    assert counts.device_batch == device
    assert counts.device_batch * counts.iter_size == batch


def test_a_device_batch_can_be_asked_for() -> None:
    assert count(Settings(device_batch=64), train=100, val=10).iter_size == 4


def test_the_test_net_covers_every_list_with_little_overshoot() -> None:
    for val in range(1, 2000):
        counts = count(PAPER, train=100, val=val)
        overshoot = counts.test_iter * counts.test_batch - val
        assert 0 <= overshoot < counts.test_batch <= 50
        assert overshoot <= 6
        if val <= 50 or any(val % batch == 0 for batch in range(10, 51)):
            assert overshoot == 0


def test_intervals_are_at_least_one_iteration() -> None:
    counts = count(Settings(epochs=1, lr_step_epochs=0.001), train=3, val=1)
    assert counts.max_iter == 1
    assert counts.test_interval == counts.display == counts.snapshot == counts.stepsize == 1


def test_snapshots_fall_on_validations() -> None:
    counts = count(PAPER, train=60000, val=8000)
    assert counts.snapshot % counts.test_interval == 0
    assert 9 <= counts.max_iter / counts.snapshot <= 11


def test_empty_lists_are_refused() -> None:
    with pytest.raises(UserError, match="val list is empty"):
        count(PAPER, train=3, val=0)


def test_what_was_rendered_passes_its_own_check(tmp_path: Path) -> None:
    for val in (1, 7, 53, 1009):
        run = replace(RUN, val=val)
        write_unedited(tmp_path, render(run))
        solver = read_solver(tmp_path / "solver.prototxt")
        nets = read_nets(tmp_path / "train_val.prototxt")
        assert nets
        assert solver.net == run.net
        assert solver.snapshot_prefix == run.snapshot_prefix
        assert check_counts(solver, nets, run.settings, train=run.train, val=run.val) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max_iter": 39}, "max_iter 39 is 9.984 epochs of the 1000 .*would be 391"),
        ({"iter_size": 4}, "32 images x iter_size 4 = 128, not the batch of 256"),
        ({"test_iter": 2}, "test_iter 2 x batch 40 covers 80 of the 120 validation images"),
        ({"test_iter": 9}, "= 360 is more than one pass"),
        ({"test_iter": 0}, "covers 0 of the 120"),
    ],
)
def test_an_edited_solver_that_no_longer_fits_is_noticed(change: dict[str, Any], says: str) -> None:
    good = Solver("n", max_iter=391, iter_size=8, test_iter=3, snapshot_prefix="s")
    nets = Nets(train_batch=32, test_batch=40)
    assert check_counts(good, nets, PAPER, train=1000, val=120) == []
    said = check_counts(replace(good, **change), nets, PAPER, train=1000, val=120)
    assert re.search(says, said[0])


def test_a_net_without_data_layers_is_noticed() -> None:
    solver = Solver("n", max_iter=391, iter_size=8, test_iter=3, snapshot_prefix="s")
    said = check_counts(solver, Nets(0, 0), PAPER, train=1000, val=120)
    assert len(said) == 2
    assert all("no Data layer" in sentence for sentence in said)


# ---- Reading what a hand may have written ----


def test_any_way_of_writing_a_prototxt_is_read(tmp_path: Path) -> None:
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        'net:"a.prototxt"; test_iter:7, max_iter:5 snapshot_prefix:"x" unheard_of{a:1}'
    )
    read = read_solver(solver)
    assert (read.net, read.test_iter, read.max_iter, read.iter_size) == ("a.prototxt", 7, 5, 1)
    net = tmp_path / "net.prototxt"
    net.write_text(
        "layer { type: 'Data' data_param { batch_size: 3 } include: < phase: TRAIN > }\n"
        "layer { type: 'Data' phase: TEST data_param { batch_size: 4 backend: LMDB } }\n"
        "layer { type: 'Convolution' convolution_param { kernel_size: 3 kernel_size: 5 } }\n"
    )
    assert read_nets(net) == Nets(train_batch=3, test_batch=4)
    net.write_text("layer { type: 'Data' data_param { batch_size: 5 } }")
    assert read_nets(net) == Nets(train_batch=5, test_batch=5)


@pytest.mark.parametrize(
    "text",
    [
        "layers { type: DATA data_param { batch_size: 5 } }",
        "layer { type: 'Data' include { stage: 'a' } data_param { batch_size: 5 } }",
        "layer { type: 'Data' exclude { phase: TEST } data_param { batch_size: 5 } }",
        "layer { type: 'ImageData' top: 'data' image_data_param { batch_size: 5 } }",
    ],
)
def test_a_net_that_only_caffe_can_read_is_no_reason_to_warn(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.prototxt").write_text(text)
    assert read_nets(tmp_path / "net.prototxt") is None


def test_nonsense_is_named_with_file_and_line(tmp_path: Path) -> None:
    solver = tmp_path / "solver.prototxt"
    solver.write_text("max_iter: 5\nbase_lr 3\n")
    with pytest.raises(UserError, match=r"solver\.prototxt:2:"):
        read_solver(solver)
    solver.write_text("max_iter: many\n")
    with pytest.raises(UserError, match=r"solver\.prototxt:1:"):
        read_solver(solver)


# ---- Settings ----


def test_every_setting_is_a_flag_and_the_default_is_the_papers() -> None:
    parser = argparse.ArgumentParser()
    add_settings_flags(parser)
    assert settings_from(vars(parser.parse_args([]))) == PAPER
    asked = settings_from(vars(parser.parse_args(["--new-layer-lr", "5", "--batch", "64"])))
    assert asked == Settings(new_layer_lr=5, batch=64)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"lr": -0.1}, "lr is -0.1"),
        ({"lr": 0.0}, "lr is 0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": math.inf}, "epochs is inf"),
        ({"batch": 0}, "batch is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"lr_gamma": 10.0}, "lr_gamma is 10"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"device_batch": 48}, "divide the batch of 256; the nearest smaller one is 32"),
        ({"device_batch": 512}, "the nearest smaller one is 256"),
    ],
)
def test_settings_without_sense_are_refused(setting: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        Settings(**setting)


# ---- Rendering ----


@pytest.mark.parametrize("task", ["", "a b", "a/b", 'a"b', "é", "a\n", "a-b", "a.b"])
def test_task_names_that_cannot_name_a_layer_are_refused(task: str) -> None:
    with pytest.raises(UserError, match="task name"):
        render(replace(RUN, task=task))


def test_a_misspelt_scenario_is_met_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean .*skip_first2"):
        render(replace(RUN, scenario="skip_frist2"))


def test_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="needs two"):
        render(replace(RUN, classes=1))


def test_a_line_break_cannot_slip_into_a_prototxt() -> None:
    for run in (replace(RUN, init="x\nlr: 1"), replace(RUN, mean="x\ny")):
        with pytest.raises(UserError, match=r"\\n"):
            render(run)


# ---- Edited by hand: never overwritten ----

OLD = {"a.prototxt": "a: 1\n", "b.prototxt": "b: 1\n"}
NEW = {"a.prototxt": "a: 2\n", "b.prototxt": "b: 2\n"}
NEWER = {"a.prototxt": "a: 3\n", "b.prototxt": "b: 3\n"}
EDIT = "a: 99  # mine\n"


def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in OLD}


def all_outcomes(outcome: Outcome) -> dict[str, Outcome]:
    return dict.fromkeys(OLD, outcome)


def test_unedited_files_are_untouched_or_made_anew(tmp_path: Path) -> None:
    assert write_unedited(tmp_path, OLD) == all_outcomes(Outcome.MADE)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    assert write_unedited(tmp_path, OLD) == all_outcomes(Outcome.SAME)
    assert {path.stat().st_mtime for path in tmp_path.iterdir()} == {1}
    assert write_unedited(tmp_path, NEW) == all_outcomes(Outcome.REMADE)
    assert texts(tmp_path) == NEW


def test_an_edited_file_is_kept_till_forced_and_then_backed_up(tmp_path: Path) -> None:
    write_unedited(tmp_path, OLD)
    edited = tmp_path / "a.prototxt"
    for number in (1, 2):
        edited.write_text(EDIT * number)
        for _ in range(2):
            assert write_unedited(tmp_path, NEW)["a.prototxt"] is Outcome.EDITED
        assert edited.read_text() == EDIT * number
        forced = write_unedited(tmp_path, NEW, force=True)
        assert forced == {"a.prototxt": Outcome.BACKED_UP, "b.prototxt": Outcome.SAME}
        assert (tmp_path / f"a.prototxt.edited-{number}").read_text() == EDIT * number
        assert texts(tmp_path) == NEW
    assert write_unedited(tmp_path, OLD) == all_outcomes(Outcome.REMADE)
    assert (tmp_path / "a.prototxt.edited-1").read_text() == EDIT


def test_an_edit_taken_back_is_no_edit(tmp_path: Path) -> None:
    write_unedited(tmp_path, OLD)
    (tmp_path / "a.prototxt").write_text(EDIT)
    write_unedited(tmp_path, NEW)
    (tmp_path / "a.prototxt").write_text(OLD["a.prototxt"])
    assert write_unedited(tmp_path, NEW)["a.prototxt"] is Outcome.REMADE


def test_going_back_to_an_older_generated_text_by_hand_is_an_edit(tmp_path: Path) -> None:
    write_unedited(tmp_path, OLD)
    write_unedited(tmp_path, NEW)
    (tmp_path / "a.prototxt").write_text(OLD["a.prototxt"])
    assert write_unedited(tmp_path, NEW)["a.prototxt"] is Outcome.EDITED


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    write_unedited(tmp_path, OLD)
    (tmp_path / "a.prototxt").unlink()
    assert write_unedited(tmp_path, OLD)["a.prototxt"] is Outcome.MADE


@pytest.mark.parametrize(
    "record", [None, "", "{", "[]", '{"a.prototxt": 3}', '{"a.prototxt": [3]}']
)
def test_without_its_record_a_file_counts_as_edited(tmp_path: Path, record: str | None) -> None:
    write_unedited(tmp_path, OLD)
    if record is None:
        (tmp_path / RECORD).unlink()
    else:
        (tmp_path / RECORD).write_text(record)
    assert write_unedited(tmp_path, NEW)["a.prototxt"] is Outcome.EDITED
    assert (tmp_path / "a.prototxt").read_text() == OLD["a.prototxt"]
    # What would be generated anyway is known again, and stays ours.
    assert write_unedited(tmp_path, OLD) == all_outcomes(Outcome.SAME)
    assert write_unedited(tmp_path, NEW) == all_outcomes(Outcome.REMADE)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from prototxt.keep import write_unedited

folder, texts, force, left = sys.argv[1:]
left = int(left)

def die(event, arguments):
    global left
    watched = event in ("open", "os.rename", "os.remove", "shutil.copyfile")
    if watched and folder in str(arguments[0]):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

sys.addaudithook(die)
write_unedited(Path(folder), json.loads(texts), force=bool(force))
"""


def killed(folder: Path, wanted: dict[str, str], force: str, step: int) -> bool:
    """Write in a process killed before its `step`th use of a file; False if it ended before."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), json.dumps(wanted), force, str(step)],
        cwd=PROJECT,
    )
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "unedited", "edited", "edited, force"])
def test_killed_at_any_step_nothing_is_lost_and_the_next_call_mends_it(
    tmp_path: Path, before: str
) -> None:
    step, force = 0, "force" if "force" in before else ""
    while True:
        folder = tmp_path / str(step)
        if before != "nothing":
            write_unedited(folder, OLD)
        if "edited" in before.split(", ")[0].split():
            (folder / "a.prototxt").write_text(EDIT)
        died = killed(folder, NEW, force, step)

        kept = [path.read_text() for path in folder.glob("a.prototxt*")]
        # The settings may have changed again, so that no file is what would be made now.
        outcomes = write_unedited(folder, NEWER, force=bool(force))
        if before == "edited":
            assert outcomes["a.prototxt"] is Outcome.EDITED
            assert texts(folder) == {**NEWER, "a.prototxt": EDIT}
        else:
            assert Outcome.EDITED not in outcomes.values()
            assert texts(folder) == NEWER
        if before == "edited, force":
            assert EDIT in kept
            assert (folder / "a.prototxt.edited-1").read_text() == EDIT
            assert not (folder / "a.prototxt.edited-2").exists()
        if not died:
            break
        step += 1
    assert step >= 6  # the kills did come in between


# ---- The tool, and real Caffe ----


def tool(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.prototxt", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's root of its own, so that paths relative to it are tried as a user has them."""
    root = tmp_path_factory.mktemp("project")
    for room in ("lib", "prototxt", "datasets", "experiments", "models", "tools"):
        for file in (PROJECT / room).glob("**/*.py"):
            place = root / file.relative_to(PROJECT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    for folder in ("nets", "templates"):
        for file in (PROJECT / "prototxt" / folder).glob("*.prototxt"):
            place = root / file.relative_to(PROJECT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    return root


DATA = "datasets/L'œuvre \"d'art\""  # legal for a folder, and hard on a prototxt
IMAGES = {"train": 5, "val": 3}


@pytest.fixture(scope="module")
def data(project: Path, caffe_bin: Callable[[str], Path]) -> Path:
    """A tiny task of two classes, its LMDBs and mean made by Caffe's own programs."""
    folder = project / DATA
    images = folder / "images"
    images.mkdir(parents=True)
    (folder / "classes.txt").write_text("dark\nlight\n")
    generator = np.random.default_rng(1)
    for part, number in IMAGES.items():
        lines = []
        for index in range(number):
            label = index % 2
            picture = generator.integers(0, 128, (256, 256, 3)) + 127 * label
            name = f"{part} {index}.jpg"
            cv2.imwrite(str(images / name), picture.astype(np.uint8))
            lines.append(f"{name} {label}\n")
        (folder / f"{part}.txt").write_text("".join(lines))
        command: list[str | Path] = [
            caffe_bin("convert_imageset"),
            f"{images}/",
            folder / f"{part}.txt",
        ]
        subprocess.run([*command, folder / f"{part}_lmdb"], check=True, capture_output=True)
    command = [caffe_bin("compute_image_mean"), folder / "train_lmdb"]
    subprocess.run([*command, folder / "mean.binaryproto"], check=True, capture_output=True)
    return folder


def flags(run: str, *more: str) -> list[str]:
    """The tool's flags for a run of the tiny task: one update of 2 x 2 images."""
    return [
        *("--task", "tiny", "--init", "scratch", "--gpu", "none"),
        *("--data", DATA, "--out", f"prototxt/tiny/{run}"),
        *("--snapshot-prefix", f"experiments/runs/tiny/{run}/snapshots/caffenet"),
        *("--epochs", "0.5", "--batch", "4", "--device-batch", "2", *more),
    ]


def test_the_tool_keeps_an_edit_says_so_and_warns(project: Path, data: Path) -> None:
    made = tool(project, *flags("edits"))
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    solver = project / "prototxt/tiny/edits/solver.prototxt"
    edited = solver.read_text().replace("max_iter: 1\n", "max_iter: 7\n")
    solver.write_text(edited)
    again = tool(project, *flags("edits", "--lr", "0.5"))
    assert again.returncode == 0
    assert (
        "prototxt/tiny/edits/solver.prototxt: edited by hand, used as it is "
        "(FORCE=1 makes it anew and keeps a backup)" in again.stdout
    )
    assert (
        "max_iter 7 is 5.6 epochs of the 5 training images; 0.5 epochs would be 1" in again.stderr
    )
    assert solver.read_text() == edited
    forced = tool(project, *flags("edits", "--lr", "0.5", "--force"))
    assert forced.stderr == ""
    assert "base_lr: 0.5\n" in solver.read_text()
    assert solver.with_name("solver.prototxt.edited-1").read_text() == edited


def test_images_left_out_of_the_lmdbs_are_not_counted(project: Path, data: Path) -> None:
    folder = DataFolder(project / "datasets" / "broken")
    shutil.copytree(data, folder.path)
    for part, broken in (("train", ["x.jpg", "y.jpg", "z.jpg"]), ("val", ["w.jpg"])):
        for name in broken:
            (folder.path / "images" / name).touch()
        lines = folder.list(part).read_text() + "".join(f"{name} 0\n" for name in broken)
        folder.list(part).write_text(lines)
    shutil.copy(folder.list("val"), folder.list("test"))

    def written() -> tuple[int, int]:
        made = tool(project, *flags("broken", "--data", "datasets/broken", "--epochs", "4"))
        assert made.stderr == ""
        solver = read_solver(project / "prototxt/tiny/broken/solver.prototxt")
        nets = read_nets(project / "prototxt/tiny/broken/train_val.prototxt")
        assert nets
        return solver.max_iter, nets.test_batch

    assert written() == (8, 4)  # the lists: 8 and 4 images
    build_lmdbs(folder, folder.path / "images", workers=1, skip_broken=True)
    assert written() == (5, 3)  # the LMDBs: 5 and 3


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--lr", "-1"], "error: setting lr is -1: it must be more than 0\n"),
        (["--scenario", "al"], "error: unknown scenario 'al': did you mean all? valid: "),
        (["--data", "datasets/none"], "error: no class file datasets/none/classes.txt"),
        (["--gpu", "first"], "error: GPU=first: a GPU's number, none or auto"),
    ],
)
def test_mistakes_are_one_line(project: Path, data: Path, more: list[str], says: str) -> None:
    failed = tool(project, *flags("mistake", *more))
    assert failed.returncode == 2
    assert failed.stderr.startswith(says)
    assert failed.stderr.count("\n") == 1
    assert not (project / "prototxt/tiny/mistake").exists()


READ = """
import json, sys
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict

for path in sys.argv[1:]:
    net = text_format.Parse(open(path, encoding="utf-8").read(), caffe_pb2.NetParameter())
    print(json.dumps(MessageToDict(net, preserving_proto_field_name=True)["layer"]))
"""

# Layer: outputs, kernel, stride, pad, groups, std of the weights, value of the biases.
CONVOLUTIONS = {
    "conv1": (96, 11, 4, 0, 1, 0.01, 0),
    "conv2": (256, 5, 1, 2, 2, 0.01, 1),
    "conv3": (384, 3, 1, 1, 1, 0.01, 0),
    "conv4": (384, 3, 1, 1, 2, 0.01, 1),
    "conv5": (256, 3, 1, 1, 2, 0.01, 1),
}
ORDER = [
    *("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
    *("fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8_met_nationality"),
]


@pytest.fixture
def layers(in_engine: Callable[..., str], tmp_path: Path) -> Callable[..., list[Any]]:
    """A function from texts of nets to their layers, as Caffe's own caffe_pb2 reads them."""

    def read(*texts: str) -> list[Any]:
        paths = [tmp_path / str(number) for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
        return [json.loads(line) for line in in_engine(READ, *paths).splitlines()]

    return read


def test_the_net_is_caffenet(layers: Callable[..., list[Any]]) -> None:
    [train_val] = layers(render(RUN)["train_val.prototxt"])
    assert [layer["name"] for layer in train_val] == ["data", "data", *ORDER, "accuracy", "loss"]
    by_name = {layer["name"]: layer for layer in train_val}
    for name, (outputs, kernel, stride, pad, groups, std, bias) in CONVOLUTIONS.items():
        said = by_name[name]["convolution_param"]
        assert said["num_output"] == outputs
        assert said["kernel_size"] == [kernel]
        assert said.get("stride", [1]) == [stride]
        assert said.get("pad", [0]) == [pad]
        assert said.get("group", 1) == groups
        assert said["weight_filler"] == {"type": "gaussian", "std": std}
        assert said["bias_filler"] == {"type": "constant", "value": bias}
    for name in ("pool1", "pool2", "pool5"):
        assert by_name[name]["pooling_param"] == {"pool": "MAX", "kernel_size": 3, "stride": 2}
    for name in ("norm1", "norm2"):
        assert by_name[name]["lrn_param"] == {"local_size": 5, "alpha": 1e-4, "beta": 0.75}
    for name, std, bias in (("fc6", 0.005, 1), ("fc7", 0.005, 1), (ORDER[-1], 0.01, 0)):
        said = by_name[name]["inner_product_param"]
        assert said["weight_filler"] == {"type": "gaussian", "std": std}
        assert said["bias_filler"] == {"type": "constant", "value": bias}
    for name in ("drop6", "drop7"):
        assert by_name[name]["dropout_param"] == {"dropout_ratio": 0.5}
    train, test = train_val[:2]
    assert train["include"] == [{"phase": "TRAIN"}]
    assert test["include"] == [{"phase": "TEST"}]
    mean = {"crop_size": 227, "mean_file": RUN.mean}
    assert train["transform_param"] == {**mean, "mirror": True}
    assert test["transform_param"] == {**mean, "mirror": False}
    assert train["data_param"] == {"source": RUN.train_lmdb, "batch_size": 32, "backend": "LMDB"}
    assert test["data_param"] == {"source": RUN.val_lmdb, "batch_size": 40, "backend": "LMDB"}


def test_deploy_has_the_same_layers(layers: Callable[..., list[Any]]) -> None:
    texts = render(RUN)
    train_val, deploy = layers(texts["train_val.prototxt"], texts["deploy.prototxt"])
    assert [layer["name"] for layer in deploy] == ["data", *ORDER, "prob"]
    for trained, used in zip(train_val[2:-2], deploy[1:-1], strict=True):
        trained.pop("param", None)
        for key in trained:
            if key.endswith("_param"):
                trained[key].pop("weight_filler", None)
                trained[key].pop("bias_filler", None)
        assert used == trained


def test_frozen_layers_have_no_rate(layers: Callable[..., list[Any]]) -> None:
    learns, frozen = [(1, 1), (2, 0)], [(0, 0), (0, 0)]
    runs = [
        replace(RUN, scenario=scenario, init=init)
        for scenario in SCENARIOS
        for init in ("scratch", "sentiment")
    ]
    nets = layers(*(render(run)["train_val.prototxt"] for run in runs))
    for run, net in zip(runs, nets, strict=True):
        rates = {
            layer["name"]: [(p["lr_mult"], p["decay_mult"]) for p in layer["param"]]
            for layer in net
            if "param" in layer
        }
        last = learns if run.init == "scratch" else [(10, 1), (20, 0)]
        assert rates.pop("fc8_met_nationality") == last
        assert tuple(rates) == COPIED_LAYERS
        for name, rate in rates.items():
            assert rate == (frozen if name in SCENARIOS[run.scenario] else learns)


SOLVER = """
import json, sys
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict

solver = text_format.Parse(open(sys.argv[1]).read(), caffe_pb2.SolverParameter())
print(json.dumps(MessageToDict(solver, preserving_proto_field_name=True)))
"""


def test_the_solver_is_the_papers(in_engine: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text(render(RUN)["solver.prototxt"])
    said = json.loads(in_engine(SOLVER, path))
    expected = {
        "net": RUN.net,
        "type": "SGD",
        "base_lr": 1e-4,
        "lr_policy": "fixed",
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "max_iter": 391,
        "iter_size": 8,
        "test_iter": [3],
        "test_interval": 4,
        "display": 4,
        "snapshot": 40,
        "snapshot_prefix": RUN.snapshot_prefix,
        "random_seed": "1",
        "solver_mode": "CPU",
    }
    assert said == expected
    path.write_text(
        render(
            replace(RUN, gpu=1, settings=Settings(epochs=20, lr=1e-3, lr_step_epochs=5, seed=7))
        )["solver.prototxt"]
    )
    said = json.loads(in_engine(SOLVER, path))
    assert (said["lr_policy"], said["gamma"], said["stepsize"]) == ("step", 0.1, 20)
    assert (said["base_lr"], said["max_iter"], said["random_seed"]) == (1e-3, 79, "7")
    assert (said.get("solver_mode", "GPU"), said["device_id"]) == ("GPU", 1)


BUILD = """
import json, sys, caffe
net = caffe.Net(sys.argv[1], caffe.TEST)
print(json.dumps({
    "parameters": sum(blob.count for blobs in net.params.values() for blob in blobs),
    "pool5": list(net.blobs["pool5"].data.shape),
    "prob": list(net.blobs["prob"].data.shape),
}))
"""


def test_caffe_counts_caffenets_parameters(in_engine: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text(render(replace(RUN, classes=1000))["deploy.prototxt"])
    built = json.loads(in_engine(BUILD, path))
    assert built == {"parameters": 60_965_224, "pool5": [10, 256, 6, 6], "prob": [10, 1000]}


CHANGED = """
import json, sys, numpy, caffe
deploy, before, after = sys.argv[1:]
old, new = (caffe.Net(deploy, path, caffe.TEST) for path in (before, after))
new.blobs["data"].data[...] = numpy.random.RandomState(1).uniform(-100, 100, (10, 3, 227, 227))
prob = new.forward()["prob"]
print(json.dumps({
    "changed": [name for name in old.params if any(
        (a.data != b.data).any() for a, b in zip(old.params[name], new.params[name]))],
    "sums": [float(s) for s in prob.sum(axis=1)],
}))
"""


@pytest.mark.caffenet
def test_caffe_train_runs_them_as_they_are_and_leaves_frozen_layers(
    project: Path,
    data: Path,
    caffe_bin: Callable[[str], Path],
    in_engine: Callable[..., str],
) -> None:
    def train(run: str, *more: str) -> tuple[str, Path]:
        done = subprocess.run(
            [caffe_bin("caffe"), "train", "-solver", f"prototxt/tiny/{run}/solver.prototxt", *more],
            cwd=project,
            capture_output=True,
            text=True,
            env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stderr, project / f"experiments/runs/tiny/{run}/snapshots"

    try:
        assert tool(project, *flags("first")).returncode == 0
        log, snapshots = train("first")
        assert "Optimization Done." in log
        assert "Test net output #0: accuracy" in log
        weights = snapshots / "caffenet_iter_1.caffemodel"

        again = flags("second", "--scenario", "skip_first2", "--init", "first", "--lr", "0.01")
        assert tool(project, *again).returncode == 0
        log, snapshots = train("second", "-weights", str(weights))
        assert "conv1 does not need backward computation." in log
        assert "conv3 needs backward computation." in log
        deploy = project / "prototxt/tiny/second/deploy.prototxt"
        said = json.loads(
            in_engine(CHANGED, deploy, weights, snapshots / "caffenet_iter_1.caffemodel")
        )
        assert said["changed"] == ["conv3", "conv4", "conv5", "fc6", "fc7", "fc8_tiny"]
        assert said["sums"] == pytest.approx([1] * 10, abs=1e-5)
    finally:
        shutil.rmtree(project / "experiments")  # four files of a quarter of a gigabyte


def test_names_are_what_is_rendered() -> None:
    assert tuple(render(RUN)) == NAMES
