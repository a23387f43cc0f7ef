"""Test one trained run on the task's test images, each exactly once."""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from datasets.folders import DataFolder
from experiments.single_run import record as records
from experiments.single_run.confusion import draw_confusion
from experiments.single_run.folder import RunFolder, check_run_name, run_folder
from experiments.single_run.metrics import Scores, score
from lib.caffe.client import Event
from lib.caffe.device import Device, add_device_flags, pick_device
from lib.cli import Parser, bar, run
from lib.errors import UserError
from lib.files import sha256, whole_file, write_text


def main() -> None:
    """Parse the flags and test."""
    arguments = _flags().parse_args()
    check_run_name(arguments.run)
    folder = run_folder(arguments.task, arguments.run)
    data = DataFolder(arguments.data)
    record = records.read(folder.record)
    if not record or record["state"] != records.TRAINED or not folder.final.exists():
        state = record["state"] if record else "not there"
        raise UserError(f"{folder.path} is {state}: it can be tested once it is trained")
    if not data.list("test").is_file():
        raise UserError(
            f"{data.list('test')} is missing: `make lists TASK={arguments.task}` makes it"
        )
    tested = {"weights": sha256(folder.final), "list": sha256(data.list("test"))}
    results = _results(folder)
    if arguments.force or results is None or results["tested"] != tested:
        results = _test(folder, data, tested, arguments)
    _print(results, folder)
    _print_left_out(data)


def _test(
    folder: RunFolder, data: DataFolder, tested: dict[str, str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Predict and score; write results.json last, when all else is there."""
    device = pick_device(arguments)
    found = score_weights(
        folder.final, folder.train_val, data, device, out=folder.path, task=arguments.task
    )
    results = {**found, "tested": tested, "when": records.now(), "engine": device.about}
    write_text(folder.results, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return results


def score_weights(
    weights: Path, train_val: Path, data: DataFolder, device: Device, *, out: Path, task: str
) -> dict[str, Any]:
    """Score weights on every test image of `data`, through the TEST phase of `train_val`.

    Writes predictions.csv, confusion.csv and confusion.png to the folder `out`; returns the
    metrics of metrics.Scores, with per_class. Raises UserError when net and data don't fit, or
    there is no LMDB.
    """
    for path in (data.lmdb_record, data.lmdb("test") / "data.mdb"):
        if not path.is_file():
            raise UserError(f"{path} is missing: `make lmdb TASK={task}` makes it")
    keys, labels = _expected(data.list("test"), data)
    classes = data.classes.read_text(encoding="utf-8").splitlines()
    probabilities = _predict(weights, train_val, data, labels, device, out)
    if probabilities.shape[1] != len(classes):
        raise UserError(
            f"{train_val} has {probabilities.shape[1]} outputs, but {data.classes} names "
            f"{len(classes)} classes"
        )
    scores = score(probabilities, labels, classes)
    _write_predictions(out / "predictions.csv", keys, labels, probabilities, classes)
    _write_confusion(out / "confusion.csv", scores, classes)
    title = f"{task}: top-1 {scores.summary['top1']:.1%} of {len(labels)} test images"
    draw_confusion(scores.confusion, classes, out / "confusion.png", title)
    return {**scores.summary, "per_class": scores.per_class}


def _predict(
    weights: Path,
    train_val: Path,
    data: DataFolder,
    labels: np.ndarray,
    device: Device,
    folder: Path,
) -> np.ndarray:
    """Probabilities (images, classes) for the test LMDB, in the order of its list."""
    images = len(labels)
    with (
        tempfile.TemporaryDirectory(prefix=".test.", dir=folder) as aside,
        bar(what="test", unit="image", total=images) as progress,
    ):
        out = Path(aside) / "predictions.npz"

        def on_event(event: Event) -> None:
            progress.update(event["done"] - progress.n)

        device.engine.call(
            "predict",
            {
                "train_val": str(train_val),
                "weights": str(weights),
                "lmdb": str(data.lmdb("test")),
                "images": images,
                "out": str(out),
                "gpu": device.gpu,
            },
            log=folder / "test.log",
            on_event=on_event,
        )
        with np.load(out) as found:
            if not np.array_equal(found["labels"], labels):
                raise UserError(
                    f"the labels in {data.lmdb('test')} are not those of {data.list('test')}: "
                    "make its LMDBs again with FORCE=1"
                )
            return np.array(found["probabilities"])


def _expected(path: Path, data: DataFolder) -> tuple[list[str], np.ndarray]:
    """Image paths and labels of a list, in order, without those left out of its LMDB as broken."""
    left_out = set(json.loads(data.lmdb_record.read_text(encoding="utf-8"))["left_out"]["test"])
    pairs = [line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [(image, int(label)) for image, label in pairs if image not in left_out]
    return [image for image, _ in kept], np.array([label for _, label in kept])


def _write_predictions(
    path: Path, keys: list[str], labels: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> None:
    """predictions.csv: a line an image, with its true class and its five likeliest."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    ranks = range(1, likeliest.shape[1] + 1)
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        header = [name for rank in ranks for name in (f"class{rank}", f"probability{rank}")]
        writer.writerow(["image", "true", "right", *header])
        for key, label, row, five in zip(keys, labels, probabilities, likeliest, strict=True):
            best = [value for each in five for value in (classes[each], f"{row[each]:.6f}")]
            writer.writerow([key, classes[label], int(five[0] == label), *best])


def _write_confusion(path: Path, scores: Scores, classes: list[str]) -> None:
    """confusion.csv: counts, a line a true class, a column a predicted one."""
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["true \\ predicted", *classes])
        for name, row in zip(classes, scores.confusion, strict=True):
            writer.writerow([name, *row])


def _results(folder: RunFolder) -> dict[str, Any] | None:
    """The results as they stand, or None when there are none that can be read."""
    try:
        found = json.loads(folder.results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "tested" in found else None


def _print(results: dict[str, Any], folder: RunFolder) -> None:
    print(
        f"test accuracy {results['top1']:.1%} (top-1) of {results['images']} images, "
        f"{results['classes']} classes; chance {results['chance']:.1%}, "
        f"always the largest class {results['majority']:.1%}"
    )
    top5 = f"top-5 {results['top5']:.1%}, " if results["classes"] > 5 else ""
    print(f"{top5}macro F1 {results['macro_f1']:.3f}, weighted F1 {results['weighted_f1']:.3f}")
    print(f"record            {folder.record}\nresults           {folder.results}")
    print(f"predictions       {folder.path / 'predictions.csv'}")
    print(f"curve             {folder.path / 'curve.png'}")
    print(f"confusion matrix  {folder.path / 'confusion.png'}")


def _print_left_out(data: DataFolder) -> None:
    """Remind of images that are in no LMDB: these results are without them."""
    if not data.lmdb_record.is_file():
        return  # the LMDBs went, the results stayed
    left_out = json.loads(data.lmdb_record.read_text(encoding="utf-8"))["left_out"]
    counts = [f"{part} {len(images)}" for part, images in left_out.items() if images]
    if counts:
        print(f"left out as broken: {', '.join(counts)} images; {data.lmdb_record} names them")


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--task", required=True, help="task of the run")
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--data", type=Path, required=True, help="data folder: lists and LMDBs")
    parser.add_argument("--force", action="store_true", help="test again")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
