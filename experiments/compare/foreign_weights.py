"""Score anybody's .caffemodel on the test images of a task, each exactly once.

The weights go into CaffeNet with the task's classes, whatever their classifier is called; or, with
--net, into the net that they were trained with. Whether they fit is looked at first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datasets.folders import SPLITS, DataFolder, data_folder
from datasets.tasks import get_task
from experiments.paper.places import REPORT
from experiments.single_run.evaluation import score_weights
from experiments.single_run.results_json import Tested, write_results
from lib.caffe.client import Engine, find_engine
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, run
from lib.errors import UserError, unknown
from lib.files import sha256, write_text
from models.compare import CAFFENET, check_weights, compare
from prototxt.caffenet import last_layer
from prototxt.render import Run, render

FOREIGN = REPORT / "foreign"  # what was scored, by task, name and hash of the weights


def main() -> None:
    """Command line: see --help."""
    arguments = _flags().parse_args()
    get_task(arguments.task)
    if arguments.split not in SPLITS:
        raise unknown("split", arguments.split, SPLITS)
    data = data_folder(arguments.task, seed=arguments.split_seed, split=arguments.split)
    mean = arguments.mean or data.mean
    _require(arguments.weights, mean, data, arguments.task)
    digest = sha256(arguments.weights)
    out = FOREIGN / arguments.task / f"{arguments.weights.stem}-{digest[:8]}"
    out.mkdir(parents=True, exist_ok=True)
    if arguments.net:
        net = arguments.net
        if not net.is_file():
            raise UserError(f"no net at {net}: NET= is the train_val.prototxt of these weights")
        check_net(find_engine(1), arguments.weights, net)
    else:
        net = out / "train_val.prototxt"
        write_text(net, caffenet(find_engine(1), arguments.weights, arguments.task, data, mean))
    device = pick_device(arguments.gpu, arguments.threads)
    tested = Tested(weights=digest, list=sha256(data.list("test")))
    results = score_weights(
        arguments.weights, net, data, device, out=out, task=arguments.task, tested=tested
    )
    results.net, results.mean = str(net), None if arguments.net else str(mean)
    file = out / "results.json"
    write_results(file, results)
    print(
        f"{arguments.weights}: test accuracy {results.top1:.1%} (top-1) of "
        f"{results.images} images, {results.classes} classes; top-5 {results.top5:.1%}, "
        f"macro F1 {results.macro_f1:.3f}, weighted F1 {results.weighted_f1:.3f}; "
        f"chance {results.chance:.1%}"
    )
    if results.top1 <= results.chance:
        print(
            f"no better than chance: are its classes in the order of {data.classes}, and is "
            f"{mean} the mean that it was trained with (MEAN=)?"
        )
    print(f"wrote {file} and predictions.csv, confusion.csv, confusion.png beside it")


def caffenet(engine: Engine, weights: Path, task: str, data: DataFolder, mean: Path) -> str:
    """CaffeNet's train_val.prototxt for these weights, with their classifier's own name.

    Raises UserError when the weights don't fit: a layer is missing or has other shapes, or no layer
    besides CaffeNet's has as many outputs as the task has classes.
    """
    classes = len(data.classes.read_text(encoding="utf-8").splitlines())
    looked_at = compare(engine, weights).require()
    fitting = [
        row.layer
        for row in looked_at.rows
        if row.layer not in CAFFENET and row.found and row.found[0][-2:] == (classes, 4096)
    ]
    if not fitting:
        others = ", ".join(
            f"{row.layer} ({'x'.join(map(str, row.found[0]))})"
            for row in looked_at.rows
            if row.layer not in CAFFENET and row.found
        )
        raise UserError(
            f"{weights}: no classifier of {classes} outputs, the classes of {task}, on CaffeNet's "
            f"fc7; it has {others or 'none'}"
        )
    classifier = last_layer(task) if last_layer(task) in fitting else fitting[-1]
    check_weights(engine, weights, classifier, outputs=classes)
    counts = json.loads(data.lmdb_record.read_text(encoding="utf-8"))["images"]
    plan = Run(
        task=task,
        classes=classes,
        train=counts["train"],
        val=counts["val"],
        train_lmdb=str(data.lmdb("train")),
        val_lmdb=str(data.lmdb("val")),
        mean=str(mean),
        net="train_val.prototxt",
        snapshot_prefix="none",
    )
    text = render(plan)["train_val.prototxt"]
    return text.replace(f'"{last_layer(task)}"', json.dumps(classifier, ensure_ascii=False))


def check_net(engine: Engine, weights: Path, net: Path) -> None:
    """Raise UserError unless the file has weights for every layer of the net that learns."""
    answer = engine.call("lacking", {"net": str(net), "weights": str(weights.absolute())})
    if answer["lacking"]:
        raise UserError(
            f"{weights} has no weights for {', '.join(answer['lacking'])} of {net}, which Caffe "
            f"would leave random; its layers are {', '.join(answer['layers'])}"
        )


def _require(weights: Path, mean: Path, data: DataFolder, task: str) -> None:
    """Raise UserError, with what makes it, for the first file that is not there."""
    for path, how in (
        (weights, "WEIGHTS= is the .caffemodel to score"),
        (data.classes, f"`make lmdb TASK={task}` makes it"),
        (data.lmdb_record, f"`make lmdb TASK={task}` makes it"),
        (mean, "MEAN= is the mean.binaryproto of these weights"),
    ):
        if not path.is_file():
            raise UserError(f"no {path}: {how}")


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="the .caffemodel to score")
    parser.add_argument("--task", required=True, help="task on whose test images")
    parser.add_argument(
        "--mean", type=Path, help="the mean that the weights know (default: the task's own)"
    )
    parser.add_argument(
        "--net", type=Path, help="train_val.prototxt of the weights (default: CaffeNet)"
    )
    parser.add_argument(
        "--split", default="by_image", help="split of the test images (%(default)s)"
    )
    parser.add_argument("--split-seed", type=int, default=1, help="its seed (%(default)s)")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
