"""Run records made for tests, in a test's own folder: never trained, and marked so.

Their form is the one that training and evaluation (experiments.single_run) write.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.paper import printed
from experiments.single_run.folder import prototxt_folder
from experiments.single_run.plan import RunPlan
from lib.files import sha256
from prototxt.caffenet import COPIED_LAYERS, SCENARIOS, last_layer
from prototxt.keep import RECORD
from prototxt.settings import PAPER

MARK = "made for a test, never trained"


def make_run(
    root: Path,
    plan: RunPlan,
    *,
    right: int = 70,
    images: int = 100,
    classes: Sequence[str] = ("a", "b", "c", "d"),
    name: str | None = None,
    epochs: int = 5,
    validation: float = 0.5,
    seconds: float = 3600.0,
    tested: bool = True,
    pictures: Sequence[str] | None = None,
    seed: int = 0,
) -> Path:
    """Write the folder of one run under `root`/<task>/ and return it.

    `right` of `images` test images are classified rightly; which ones follows from `seed`.
    """
    folder = root / plan.task / (name or plan.name)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(
        json.dumps(record(plan, folder.name, validation=validation, seconds=seconds), indent=1)
    )
    (folder / "caffe.log").write_text(f"{MARK}\n")
    for part in ("train_val", "deploy", "solver"):
        (folder / f"{part}.prototxt").write_text(f"# {MARK}: {part}\n")
    _write_curve(folder / "curve.csv", epochs, validation)
    if tested:
        _write_test(folder, right, images, list(classes), pictures, seed)
    return folder


def edit_by_hand(
    folder: Path, text: str = "num_output: 4000\n", name: str = "train_val.prototxt"
) -> None:
    """Make it as if a prototxt of this run had been edited between `make prototxt` and `train`."""
    made = prototxt_folder(folder.parent.name, folder.name)
    made.mkdir(parents=True, exist_ok=True)
    generated = [folder / "train_val.prototxt", folder / "solver.prototxt"]
    (made / RECORD).write_text(json.dumps({path.name: [sha256(path)] for path in generated}))
    (folder / name).write_text(text)
    (made / name).write_text(text)


def record(
    plan: RunPlan, name: str, *, validation: float = 0.5, seconds: float = 3600.0
) -> dict[str, Any]:
    """run.json of a trained run."""
    frozen = SCENARIOS[plan.scenario]
    return {
        "state": "trained",
        "made": MARK,
        "task": plan.task,
        "run": name,
        "own_name": name != plan.name,
        "init": plan.init,
        "scenario": plan.scenario,
        "split": plan.split,
        "split_seed": plan.split_seed,
        "settings": asdict(plan.settings),
        "weights": f"models/{plan.init}/{plan.init}.caffemodel",
        "mean": f"models/{plan.init}/mean.binaryproto",
        "data": str(plan.data.path),
        "inputs": {"train_val": "1" * 64, "solver": "2" * 64, "test": "3" * 64},
        "started": "2026-01-01T00:00:00+00:00",
        "sessions": [
            {
                "began": "2026-01-01T00:00:00+00:00",
                "resumed_from": None,
                "engine": {"caffe": "1.0.0", "blas_kernel": "Zen", "threads": 1},
                "gpu": None,
                "git_commit": "0" * 40,
            }
        ],
        "reason": None,
        "iteration": 1000,
        "max_iter": 1000,
        "seconds": seconds,
        "batch": plan.settings.batch,
        "layers": [
            {
                "name": layer,
                "shapes": [[1], [1]],
                "frozen": layer in frozen,
                "transferred": layer in COPIED_LAYERS,
                "before": "4" * 64,
                "after": ("4" if layer in frozen else "5") * 64,
                "changed": layer not in frozen,
            }
            for layer in (*COPIED_LAYERS, last_layer(plan.task))
        ],
        "best": {"iteration": 1000, "val_accuracy": validation},
        "final": "6" * 64,
        "finished": "2026-01-02T00:00:00+00:00",
    }


def _write_curve(path: Path, epochs: int, validation: float) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(
            [
                "iteration",
                "epoch",
                "lr",
                "train_loss",
                "images_per_s",
                "seconds",
                "val_loss",
                "val_accuracy",
            ]
        )
        for epoch in range(epochs + 1):
            done = 1 - np.exp(-3 * epoch / epochs)
            trained = ["0.0001", f"{3 - 2 * done:.4f}", "15.0"] if epoch else ["", "", ""]
            writer.writerow(
                [
                    1000 * epoch // epochs,
                    100 * epoch / epochs,
                    *trained,
                    60.0 * epoch,
                    f"{3 - 1.5 * done:.4f}",
                    f"{validation * (0.3 + 0.7 * done):.6f}",
                ]
            )


def _write_test(
    folder: Path,
    right: int,
    images: int,
    classes: list[str],
    pictures: Sequence[str] | None,
    seed: int,
) -> None:
    count = len(classes)
    random = np.random.default_rng(seed)
    true = np.arange(images) % count
    said = true.copy()
    wrong = random.permutation(images)[right:]
    # Mostly the next class is said instead, so that some pairs are confused more than others.
    said[wrong] = (true[wrong] + random.choice([1, 2], len(wrong), p=[0.8, 0.2])) % count
    counts = np.zeros((count, count), int)
    np.add.at(counts, (true, said), 1)
    (folder / "results.json").write_text(
        json.dumps(
            {
                "images": images,
                "classes": count,
                "top1": right / images,
                "top5": 1.0,
                "macro_f1": right / images - 0.01,
                "weighted_f1": right / images - 0.005,
                "chance": 1 / count,
                "majority": 1 / count,
                "per_class": [
                    {
                        "class": name,
                        "images": int(counts[n].sum()),
                        "right": int(counts[n, n]),
                        "accuracy": float(counts[n, n] / max(counts[n].sum(), 1)),
                    }
                    for n, name in enumerate(classes)
                ],
                "tested": {"weights": "6" * 64, "list": "3" * 64},
                "when": "2026-01-02T01:00:00+00:00",
                "engine": {"caffe": "1.0.0"},
            },
            indent=1,
        )
    )
    with (folder / "confusion.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["true \\ predicted", *classes])
        writer.writerows([name, *row] for name, row in zip(classes, counts, strict=True))
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["image", "true", "right", "class1", "probability1"])
        for n in range(images):
            writer.writerow(
                [
                    pictures[n] if pictures else f"{n}.jpg",
                    classes[true[n]],
                    int(true[n] == said[n]),
                    classes[said[n]],
                    f"{random.uniform(0.2, 1):.6f}",
                ]
            )


def made_paper(root: Path) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Make the 81 runs of Tables 2 and 3: accuracies about the printed ones, each another.

    Returns (task, init, scenario) -> right, images.
    """
    random = np.random.default_rng(1)
    made = {}
    wanted = {(task, init, "all"): value for (task, init), value in printed.by_init().items()}
    for (task, scenario), value in printed.by_scenario().items():
        wanted.setdefault((task, "hybrid", scenario), value)
    for (task, init, scenario), value in wanted.items():
        images = printed.sizes()[task].test_images // 10
        right = round(images * (value + random.normal(0, 0.03)))
        classes = [f"class {n}" for n in range(printed.sizes()[task].classes)]
        make_run(
            root,
            RunPlan(task, init, scenario, PAPER),
            right=right,
            images=images,
            classes=classes,
            validation=right / images,
        )
        made[task, init, scenario] = (right, images)
    return made
