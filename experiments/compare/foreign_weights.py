"""Score anybody's .caffemodel on the test images of a task, each exactly once.

The weights go into CaffeNet with the task's classes, whatever their classifier is called; or, with
NET=, into the net that they were trained with. Whether they fit is looked at first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets.folders import DataFolder
from datasets.imagelist import read_classes
from datasets.records import read_lmdb_record
from experiments.paper.places import REPORT
from experiments.single_run.evaluation import score_weights
from experiments.single_run.folder import RunFolder
from experiments.single_run.own_weights import require_own_weights
from experiments.single_run.results_json import Results, Tested, write_results
from experiments.single_run.run_json import read_run_record
from lib.caffe.client import Engine, find_engine
from lib.caffe.device import Device
from lib.errors import UserError
from lib.files import sha256, write_text
from lib.text import require_caffe_text
from models.compare import CAFFENET, check_weights, compare
from prototxt.caffenet import last_layer
from prototxt.render import Run, render

FOREIGN = REPORT / "foreign"  # what was scored, by task, name and hash of the weights


@dataclass(frozen=True)
class Scored:
    """Foreign weights and what they reached."""

    weights: Path
    results: Results  # as results.json has them
    file: Path  # results.json, with predictions.csv, confusion.csv and confusion.png beside it
    classes: Path  # the task's classes.txt
    mean: str | None  # the mean file that was subtracted


def score_foreign(
    weights: Path,
    task: str,
    data: DataFolder,
    find_device: Callable[[], Device],
    *,
    mean: Path | None = None,
    net: Path | None = None,
) -> Scored:
    """Score `weights` on the test images of `data`, in `net` or in CaffeNet.

    `net` is a train_val or deploy prototxt; `mean` stands in the place of its own, and of the
    task's, which a deploy net and CaffeNet have without it. `find_device` is asked once all files
    are known to be there. Each net and mean has a folder of its own. Raises UserError when a file
    is missing, or weights, net and classes don't fit.
    """
    _require(weights, mean or data.mean, net, data, task)
    digest = sha256(weights)
    run = RunFolder(weights.parent)
    record = read_run_record(run.record) if weights.name == run.final.name else None
    if record:  # a run of ours
        require_own_weights(run, record, digest)
    out = FOREIGN / task / f"{weights.stem}-{digest[:8]}{_variant(net, mean)}"
    out.mkdir(parents=True, exist_ok=True)
    used = out / "train_val.prototxt"
    engine = find_engine(1)
    used_mean: str | None = str(mean or data.mean)
    if net:
        require_caffe_text(net)
        answer = engine.call(
            "scoring_net",
            {
                "net": str(net),
                "out": str(used),
                "lmdb": str(data.lmdb("test")),
                "mean": str(mean) if mean else None,
                "deploy_mean": str(data.mean),
            },
        )
        used_mean = answer["mean"]
        if used_mean and not Path(used_mean).is_file():
            raise UserError(f"{net}: its mean_file {used_mean} is not there; MEAN= names the mean")
        check_net(engine, weights, used, net)
    else:
        write_text(used, caffenet(engine, weights, task, data, mean or data.mean))
    device = find_device()
    tested = Tested(weights=digest, list=sha256(data.list("test")))
    results = score_weights(weights, used, data, device, out=out, task=task, tested=tested)
    results.net, results.mean = str(net or used), used_mean
    file = out / "results.json"
    write_results(file, results)
    return Scored(weights, results, file, data.classes, used_mean)


def summary(scored: Scored) -> str:
    """What was reached, and what may be wrong, in a few lines."""
    results = scored.results
    top5 = f"top-5 {results.top5:.1%}, " if results.classes > 5 else ""
    lines = [
        f"{scored.weights}: test accuracy {results.top1:.1%} (top-1) of "
        f"{results.images} images, {results.classes} classes; {top5}"
        f"macro F1 {results.macro_f1:.3f}, weighted F1 {results.weighted_f1:.3f}; "
        f"chance {results.chance:.1%}"
    ]
    if results.top1 <= results.chance:
        lines.append(
            f"no better than chance: are its classes in the order of {scored.classes}, and is "
            f"{scored.mean or 'the mean of its net'} the mean that it was trained with (MEAN=)?"
        )
    lines.append(f"wrote {scored.file} and predictions.csv, confusion.csv, confusion.png beside it")
    return "\n".join(lines)


def _variant(net: Path | None, mean: Path | None) -> str:
    """What tells apart the folders of two nets or means of the same weights; '' for neither."""
    given = [path for path in (net, mean) if path]
    if not given:
        return ""
    words = hashlib.sha256("".join(sha256(path) for path in given).encode()).hexdigest()
    name = re.sub(r"[^\w.-]", "_", (net or mean or Path()).stem)
    return f"-{name}-{words[:8]}"


def caffenet(engine: Engine, weights: Path, task: str, data: DataFolder, mean: Path) -> str:
    """CaffeNet's train_val.prototxt for these weights, with their classifier's own name.

    Raises UserError when the weights don't fit: a layer is missing or has other shapes, or no layer
    besides CaffeNet's has as many outputs as the task has classes.
    """
    classes = len(read_classes(data.classes))
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
    counts = read_lmdb_record(data).images
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


def check_net(engine: Engine, weights: Path, net: Path, shown: Path) -> None:
    """Raise UserError, naming `shown`, unless the file has weights for all layers of `net`."""
    answer = engine.call("lacking", {"net": str(net), "weights": str(weights.absolute())})
    if answer["lacking"]:
        raise UserError(
            f"{weights} has no weights for {', '.join(answer['lacking'])} of {shown}, which Caffe "
            f"would leave random; its layers are {', '.join(answer['layers'])}"
        )


def _require(weights: Path, mean: Path, net: Path | None, data: DataFolder, task: str) -> None:
    """Raise UserError, with what makes it, for the first file that is not there."""
    for path, how in (
        (weights, "WEIGHTS= is the .caffemodel to score"),
        (net, "NET= is the train_val or deploy prototxt of these weights"),
        (data.classes, f"`make lmdb TASK={task}` makes it"),
        (data.lmdb_record, f"`make lmdb TASK={task}` makes it"),
        (mean, "MEAN= is the mean.binaryproto of these weights"),
    ):
        if path is not None and not path.is_file():
            raise UserError(f"no {path}: {how}")
