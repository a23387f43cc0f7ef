"""A small collection with its catalogue, LMDBs and two runs, for the search and its page.

The task is the sample's, so that the tools know it; pictures, records and nets are made here. The
nets have few weights and are not trained: random convolutions tell pictures apart well enough.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.build import build_lmdbs
from datasets.folders import PARTS, DataFolder
from experiments.single_run.folder import RunFolder, run_folder
from lib.files import sha256
from tests.pictures import scene
from tests.small_world import Plan, deploy

TASK = "met_nationality"
DATA = DataFolder(Path("datasets") / TASK)
ROOT = Path("datasets/raw/met/images")
CLASSES = ("Dutch", "French", "Italian")
COUNTS = {"train": 14, "val": 4, "test": 9}
RUNS = ("first", "second")
EVIL = "<script>document.title='broken in'</script>"  # a title that must be shown as it is

# argv: deploy, weights to write, seed. He's filler keeps the features alive.
_WEIGHTS = """
import sys
import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format
param = caffe_pb2.NetParameter()
with open(sys.argv[1]) as handle:
    text_format.Merge(handle.read(), param)
for layer in param.layer:
    if layer.type == "Convolution":
        layer.convolution_param.weight_filler.type = "msra"
    if layer.type == "InnerProduct":
        layer.inner_product_param.weight_filler.type = "msra"
path = sys.argv[2] + ".prototxt"
with open(path, "w") as handle:
    handle.write(str(param))
caffe.set_random_seed(int(sys.argv[3]))
caffe.Net(path, caffe.TEST).save(sys.argv[2])
"""


@dataclass(frozen=True)
class SimilarWorld:
    """The project in small, in the current folder."""

    in_engine: Callable[..., str]

    def run(self, name: str) -> RunFolder:
        """A run's folder."""
        return run_folder(TASK, name)

    def weights(self, name: str, seed: int) -> None:
        """Write a run's weights (again)."""
        self.in_engine(_WEIGHTS, self.run(name).deploy, self.run(name).final, str(seed))


def image_name(number: int) -> str:
    """The file of a picture: the museum's way."""
    return f"{1000 + number}.jpg"


def build(in_engine: Callable[..., str]) -> SimilarWorld:
    """Fill the current folder."""
    world = SimilarWorld(in_engine)
    _write_data()
    for seed, name in enumerate(RUNS, start=1):
        folder = world.run(name)
        folder.path.mkdir(parents=True)
        folder.deploy.write_text(deploy(Plan(task=TASK, classes=len(CLASSES))))
        world.weights(name, seed)
        record = {
            "state": "trained",
            "task": TASK,
            "run": name,
            "init": "scratch",
            "scenario": "all",
            "split": "by_image",
            "split_seed": 1,
            "settings": {},
            "iteration": 10,
            "max_iter": 10,
            "inputs": {},
            "data": str(DATA.path),
            "mean": str(DATA.mean),
        }
        folder.record.write_text(json.dumps(record))
        _write_predictions(folder.path / "predictions.csv")
    return world


def pixels_of(data: DataFolder, part: str) -> NDArray[np.uint8]:
    """The pixels in a part's LMDB, read by plain lmdb and protobuf: (images, 3, 256, 256)."""
    import lmdb

    from lib.caffe.messages import Datum

    found = []
    with lmdb.open(str(data.lmdb(part)), readonly=True, lock=False) as env, env.begin() as reader:
        for _, value in reader.cursor():
            datum = Datum()
            datum.ParseFromString(value)
            found.append(np.frombuffer(datum.data, np.uint8).reshape(3, 256, 256))
    return np.stack(found)


def _write_data() -> None:
    ROOT.mkdir(parents=True)
    DATA.path.mkdir(parents=True)
    DATA.classes.write_text("".join(f"{name}\n" for name in CLASSES))
    number = 0
    records = []
    for part in PARTS:
        lines = []
        for _ in range(COUNTS[part]):
            label = number % len(CLASSES)
            Image.fromarray(scene(60, 80 if number % 2 else 50, number)).save(
                ROOT / image_name(number)
            )
            lines.append(f"{image_name(number)} {label}\n")
            records.append(
                {
                    "objectID": 1000 + number,
                    "accessionNumber": f"work {number}",
                    "artistDisplayName": ("Judith Leyster", "Berthe Morisot", "Sofonisba")[label],
                    "artistNationality": CLASSES[label],
                    "title": EVIL if number == 1 else f"Picture {number}",
                    "primaryImage": "",
                }
            )
            number += 1
        DATA.list(part).write_text("".join(lines))
    Path("datasets/raw/met/objects.json").write_text(json.dumps({"objects": records}))
    names = ("classes.txt", "train.txt", "val.txt", "test.txt")
    DATA.record.write_text(
        json.dumps(
            {
                "images_root": str(ROOT.resolve()),
                "sha256": {name: sha256(DATA.path / name) for name in names},
            }
        )
    )
    build_lmdbs(DATA, ROOT, workers=1)


def _write_predictions(path: Path) -> None:
    """Every second Italian picture is taken for a French one; all others are right."""
    lines = DATA.list("test").read_text().splitlines()
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "true", "right", "class1", "probability1"])
        for line in lines:
            image, label = line.split(" ")
            number = int(image.removesuffix(".jpg"))
            taken = 1 if int(label) == 2 and number % 2 else int(label)
            writer.writerow(
                [image, CLASSES[int(label)], int(taken == int(label)), CLASSES[taken], "0.75"]
            )
