"""A whole project in small: a task's lists, real LMDBs and mean, and runs of a net of few weights.

Its net has CaffeNet's layer names, two groups, LRN and dropout, and sees random crops and mirrors,
so that every scenario and everything that draws a random number is there, in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import lmdb
import numpy as np
from numpy.typing import NDArray

from datasets.build import build_lmdbs
from datasets.folders import PARTS, DataFolder
from experiments.single_run.folder import RunFolder, prototxt_folder, run_folder
from experiments.single_run.job import Job
from experiments.single_run.plan import RunPlan
from experiments.single_run.start import Start, find_start
from lib.caffe.device import Device
from lib.caffe.messages import BlobProto, Datum
from prototxt.caffenet import SCENARIOS, last_layer
from tests.pictures import scene

PROJECT = Path(__file__).resolve().parent.parent
TASK = "tiny"
CLASSES = ("blue", "green", "red")
COUNTS = {"train": 22, "val": 13, "test": 11}  # no multiple of a batch among them
CROP = 64
TEST_BATCH = 5
DATA = DataFolder(Path("datasets") / TASK)

_FILLER = 'weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 }'
_RELU_CONV = ("conv1", "conv2", "conv3", "conv4", "conv5")


def build_data(folder: Path) -> None:
    """Lists, LMDBs and mean of the task in `folder`: pictures with more of one colour a class."""
    data = DataFolder(folder)
    images = folder / "images"
    images.mkdir(parents=True)
    data.classes.write_text("".join(f"{name}\n" for name in CLASSES))
    number = 0
    hashes = {}
    for part in PARTS:
        lines = []
        for _ in range(COUNTS[part]):
            label = number % len(CLASSES)
            picture = scene(40, 60, number).astype(int) // 2
            picture[..., label] += 60  # weak enough that not every image is right at once
            cv2.imwrite(str(images / f"{number}.png"), picture.astype(np.uint8))
            lines.append(f"{number}.png {label}\n")
            number += 1
        data.list(part).write_text("".join(lines))
        hashes[part] = hashlib.sha256("".join(lines).encode()).hexdigest()
    data.record.write_text(json.dumps({"images_root": str(images), "sha256": hashes}))
    build_lmdbs(data, images, workers=1)


@dataclass(frozen=True)
class Plan:
    """What the prototxts of a run say: iter_size x batch = 8 images an update."""

    max_iter: int = 12
    iter_size: int = 2
    batch: int = 4
    lr: float = 0.01
    seed: int = 7
    scenario: str = "all"
    test_interval: int = 3
    snapshot: int = 5
    classes: int = len(CLASSES)
    task: str = TASK


@dataclass(frozen=True)
class World:
    """A small project in the current folder."""

    device: Device
    caffe: Path  # Caffe's own program

    def write(self, name: str, plan: Plan | None = None) -> Path:
        """Write train_val, deploy and solver.prototxt of a run; return their folder."""
        plan = plan or Plan()
        folder = prototxt_folder(plan.task, name)
        folder.mkdir(parents=True, exist_ok=True)
        run_folder(plan.task, name).snapshots.mkdir(parents=True, exist_ok=True)
        (folder / "train_val.prototxt").write_text(train_val(plan))
        (folder / "deploy.prototxt").write_text(deploy(plan))
        (folder / "solver.prototxt").write_text(solver(plan, name))
        return folder

    def job(self, name: str, start: Start | str = "scratch", scenario: str = "all") -> Job:
        """The job of a run whose prototxts are written."""
        if isinstance(start, str):
            start = find_start(start, TASK, DATA)
        return Job(RunPlan(TASK, start.init, scenario, own_name=name), start, self.device)

    def folder(self, name: str) -> RunFolder:
        """Where a run is kept."""
        return run_folder(TASK, name)

    def weights(self, name: str) -> str:
        """The SHA-256 of a run's final weights file."""
        return sha256(self.folder(name).final)

    def command(self, name: str, *more: str, tool: str = "train") -> list[str]:
        """The command line that trains (or tests) a run."""
        words = [sys.executable, "-m", f"tools.{tool}", "--only", "--task", TASK, "--run", name]
        return [*words, "--init", "scratch", "--threads", "1", "--gpu", "none", *more]

    def environment(self) -> dict[str, str]:
        """For a child in this world: the project's tools, this engine."""
        return dict(
            os.environ, PYTHONPATH=str(PROJECT), CAFFE_PYTHON=str(self.device.engine.python)
        )

    def tool(self, name: str, *more: str, tool: str = "train") -> subprocess.CompletedProcess[str]:
        """Train (or test) a run as a user does."""
        return subprocess.run(
            self.command(name, *more, tool=tool),
            capture_output=True,
            text=True,
            env=self.environment(),
        )

    def caffe_train(self, name: str, prefix: Path, weights: Path | None = None) -> Path:
        """Train the same prototxts by `caffe train`; return its final weights."""
        text = (prototxt_folder(TASK, name) / "solver.prototxt").read_text()
        text = re.sub(r"snapshot_prefix: .*", f'snapshot_prefix: "{prefix}"', text)
        by_hand = prefix.with_suffix(".prototxt")
        by_hand.write_text(text)
        words = [str(self.caffe), "train", "-solver", str(by_hand)]
        done = subprocess.run(
            words + (["-weights", str(weights)] if weights else []),
            capture_output=True,
            text=True,
            env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
        )
        assert done.returncode == 0, done.stderr[-2000:]
        last = int(re.findall(r"max_iter: (\d+)", text)[0])
        return Path(f"{prefix}_iter_{last}.caffemodel")


def edit(path: Path, before: str, after: str) -> None:
    """Change a file as a hand would; `before` must be in it."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inputs(part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A part's images as the TEST net sees them (N, 3, CROP, CROP), and labels, in plain NumPy."""
    mean = BlobProto()
    mean.ParseFromString(DATA.mean.read_bytes())
    average = np.array(mean.data, np.float32).reshape(3, 256, 256)
    from_ = (256 - CROP) // 2
    window = slice(from_, from_ + CROP)
    images, labels = [], []
    with lmdb.open(str(DATA.lmdb(part)), readonly=True, lock=False) as env, env.begin() as reader:
        for _, value in reader.cursor():
            datum = Datum()
            datum.ParseFromString(value)
            pixels = np.frombuffer(datum.data, np.uint8).reshape(3, 256, 256)
            images.append((pixels.astype(np.float32) - average)[:, window, window])
            labels.append(datum.label)
    return np.stack(images), np.array(labels)


def solver(plan: Plan, name: str) -> str:
    """solver.prototxt."""
    prefix = run_folder(plan.task, name).snapshots / "caffenet"
    return f"""net: "{prototxt_folder(plan.task, name)}/train_val.prototxt"
max_iter: {plan.max_iter}
iter_size: {plan.iter_size}
base_lr: {plan.lr}
lr_policy: "step"
gamma: 0.5
stepsize: 6
momentum: 0.9
weight_decay: 0.0005
test_iter: 3
test_interval: {plan.test_interval}
display: 1
snapshot: {plan.snapshot}
snapshot_prefix: "{prefix}"
random_seed: {plan.seed}
solver_mode: CPU
"""


def train_val(plan: Plan) -> str:
    """train_val.prototxt."""
    data = DataFolder(Path("datasets") / plan.task)
    layers = [_data(data, "TRAIN", "train", plan.batch), _data(data, "TEST", "val", TEST_BATCH)]
    layers += _layers(plan, train=True)
    fc8 = last_layer(plan.task)
    layers.append(
        f'layer {{ name: "accuracy" type: "Accuracy" bottom: "{fc8}" bottom: "label" '
        'top: "accuracy" include { phase: TEST } }'
    )
    layers.append(
        f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{fc8}" bottom: "label" '
        'top: "loss" }'
    )
    return 'name: "Tiny"\n' + "\n".join(layers) + "\n"


def deploy(plan: Plan) -> str:
    """deploy.prototxt: one image in, probabilities out."""
    layers = [
        'layer { name: "data" type: "Input" top: "data" '
        f"input_param {{ shape {{ dim: 1 dim: 3 dim: {CROP} dim: {CROP} }} }} }}",
        *_layers(plan, train=False),
        f'layer {{ name: "prob" type: "Softmax" bottom: "{last_layer(plan.task)}" top: "prob" }}',
    ]
    return 'name: "Tiny"\n' + "\n".join(layers) + "\n"


def _data(data: DataFolder, phase: str, part: str, batch: int) -> str:
    mirror = "true" if phase == "TRAIN" else "false"
    return (
        'layer { name: "data" type: "Data" top: "data" top: "label"\n'
        f"  include {{ phase: {phase} }}\n"
        f'  transform_param {{ crop_size: {CROP} mirror: {mirror} mean_file: "{data.mean}" }}\n'
        f'  data_param {{ source: "{data.lmdb(part)}" batch_size: {batch} backend: LMDB }} }}'
    )


def _layers(plan: Plan, *, train: bool) -> Iterable[str]:
    frozen = SCENARIOS[plan.scenario]

    def learnt(name: str, kind: str, bottom: str, what: str) -> str:
        rate = 0 if name in frozen else 1
        rates = f"param {{ lr_mult: {rate} }} param {{ lr_mult: {2 * rate} }}\n  " if train else ""
        filler = f" {_FILLER}" if train else ""
        return (
            f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}"\n'
            f"  {rates}{'convolution' if kind == 'Convolution' else 'inner_product'}_param "
            f"{{ {what}{filler} }} }}"
        )

    def relu(name: str) -> str:
        slope = "relu_param { negative_slope: 0.1 }"  # no unit dies: each layer keeps learning
        return (
            f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" {slope} }}'
        )

    def pool(name: str, bottom: str) -> str:
        what = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
        return f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" {what} }}'

    yield learnt("conv1", "Convolution", "data", "num_output: 4 kernel_size: 7 stride: 4")
    yield relu("conv1")
    yield pool("pool1", "conv1")
    yield (
        'layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" '
        "lrn_param { alpha: 0.0001 } }"
    )
    yield learnt("conv2", "Convolution", "norm1", "num_output: 6 pad: 2 kernel_size: 5 group: 2")
    yield relu("conv2")
    yield pool("pool2", "conv2")
    below = "pool2"
    for name in _RELU_CONV[2:]:
        yield learnt(name, "Convolution", below, "num_output: 6 pad: 1 kernel_size: 3")
        yield relu(name)
        below = name
    for name, drop in (("fc6", "drop6"), ("fc7", "drop7")):
        yield learnt(name, "InnerProduct", below, "num_output: 16")
        yield relu(name)
        yield (
            f'layer {{ name: "{drop}" type: "Dropout" bottom: "{name}" top: "{name}" '
            "dropout_param { dropout_ratio: 0.3 } }"
        )
        below = name
    yield learnt(last_layer(plan.task), "InnerProduct", below, f"num_output: {plan.classes}")
