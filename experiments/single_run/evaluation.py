"""Test one trained run on the task's test images, each exactly once."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import binomtest

from datasets.checksums import checked_meanwhile
from datasets.folders import DataFolder
from datasets.imagelist import read_classes, read_list
from datasets.records import read_lmdb_record
from experiments.single_run.confusion import draw_confusion
from experiments.single_run.folder import RunFolder
from experiments.single_run.json_records import InvalidRecord
from experiments.single_run.metrics import Scores, score
from experiments.single_run.own_weights import require_own_weights
from experiments.single_run.plan import RunPlan
from experiments.single_run.results_json import Results, Tested, read_results, write_results
from experiments.single_run.run_json import TRAINED, now, read_run_record
from lib.caffe.client import Event
from lib.caffe.device import Device
from lib.cli import bar
from lib.display import escaped
from lib.errors import UserError
from lib.files import sha256, whole_file


def evaluate(plan: RunPlan, device: Callable[[], Device], *, force: bool = False) -> None:
    """Test a trained run, unless it is tested already (or `force`), and print its results.

    Raises UserError for a run that is not trained, and for weights that are not those that its
    training gave.
    """
    folder, data = plan.folder, plan.data
    record = read_run_record(folder.record)
    if not record or record.state != TRAINED or not folder.final.exists():
        state = record.state if record else "not there"
        raise UserError(f"{folder.path} is {state}: it can be tested once it is trained")
    if not data.list("test").is_file():
        raise UserError(f"{data.list('test')} is missing: `make lists TASK={plan.task}` makes it")
    weights = require_own_weights(folder, record)
    tested = Tested(weights=weights, list=sha256(data.list("test")))
    results = _kept_results(folder)
    if force or results is None or results.tested != tested:
        results = score_weights(
            folder.final,
            folder.train_val,
            data,
            device(),
            out=folder.path,
            task=plan.task,
            tested=tested,
        )
        write_results(folder.results, results)  # last, when all else is there
    _print(results, folder)
    _print_left_out(data)


def score_weights(
    weights: Path,
    train_val: Path,
    data: DataFolder,
    device: Device,
    *,
    out: Path,
    task: str,
    tested: Tested,
) -> Results:
    """Score weights on every test image of `data`, through the TEST phase of `train_val`.

    Writes predictions.csv, confusion.csv and confusion.png to the folder `out`; returns the
    metrics, not written yet. Raises UserError when net and data don't fit, or
    there is no LMDB.
    """
    for path in (data.lmdb_record, data.lmdb("test") / "data.mdb"):
        if not path.is_file():
            raise UserError(f"{path} is missing: `make lmdb TASK={task}` makes it")
    keys, labels = _expected(data.list("test"), data)
    classes = read_classes(data.classes)
    with checked_meanwhile(data, ("test",)):
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
    return msgspec.convert(
        {
            **scores.summary,
            "per_class": scores.per_class,
            "tested": msgspec.to_builtins(tested),
            "when": now(),
            "engine": device.about,
        },
        Results,
    )


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
    deploy = train_val.with_name("deploy.prototxt")  # a run's; it says which of several heads
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
                "deploy": str(deploy) if deploy.is_file() else None,
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
    left_out = read_lmdb_record(data).left_out["test"]
    entries = read_list(path, len(read_classes(data.classes)))
    kept = [(entry.path, entry.label) for entry in entries if entry.path not in left_out]
    return [image for image, _ in kept], np.array([label for _, label in kept])


def _write_predictions(
    path: Path,
    keys: list[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
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
            writer.writerow([escaped(key), classes[label], int(five[0] == label), *best])


def _write_confusion(path: Path, scores: Scores, classes: list[str]) -> None:
    """confusion.csv: counts, a line a true class, a column a predicted one."""
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["true \\ predicted", *classes])
        for name, row in zip(classes, scores.confusion, strict=True):
            writer.writerow([name, *row])


def _kept_results(folder: RunFolder) -> Results | None:
    """The results as they stand, or None when there are none that can be read."""
    try:
        return read_results(folder.results)
    except InvalidRecord:
        return None


def _print(results: Results, folder: RunFolder) -> None:
    print(
        f"test accuracy {results.top1:.1%} (top-1) of {results.images} images, "
        f"{results.classes} classes; chance {results.chance:.1%}, "
        f"always the largest class {results.majority:.1%}"
    )
    right = binomtest(round(results.top1 * results.images), results.images)
    interval = right.proportion_ci(method="wilson")
    print(f"95% interval of the accuracy: {interval.low:.1%} to {interval.high:.1%} (Wilson)")
    top5 = f"top-5 {results.top5:.1%}, " if results.classes > 5 else ""
    print(f"{top5}macro F1 {results.macro_f1:.3f}, weighted F1 {results.weighted_f1:.3f}")
    print(f"record            {folder.record}\nresults           {folder.results}")
    print(f"predictions       {folder.path / 'predictions.csv'}")
    print(f"curve             {folder.path / 'curve.png'}")
    print(f"confusion matrix  {folder.path / 'confusion.png'}")


def _print_left_out(data: DataFolder) -> None:
    """Remind of images that are in no LMDB: these results are without them."""
    if not data.lmdb_record.is_file():
        return  # the LMDBs went, the results stayed
    left_out = read_lmdb_record(data).left_out
    counts = [f"{part} {len(images)}" for part, images in left_out.items() if images]
    if counts:
        print(f"left out as broken: {', '.join(counts)} images; {data.lmdb_record} names them")
