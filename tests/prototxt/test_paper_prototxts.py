"""The prototxts of the paper's runs are those of the very first release, byte for byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prototxt.render import Run, render
from prototxt.settings import Settings

# "init scenario settings" -> SHA-256 of deploy, solver and train_val, joined by zero bytes.
RECORDED: dict[str, str] = json.loads(
    (Path(__file__).parent / "paper_prototxts.json").read_text(encoding="utf-8")
)
RUN = Run(
    task="met_nationality",
    classes=4,
    train=1000,
    val=120,
    train_lmdb="datasets/met_nationality/train_lmdb",
    val_lmdb="datasets/met_nationality/val_lmdb",
    mean="models/hybrid/hybridCNN_mean.binaryproto",
    net="prototxt/met_nationality/r/train_val.prototxt",
    snapshot_prefix="experiments/runs/met_nationality/r/snapshots/caffenet",
)
SETTINGS: dict[str, tuple[Settings, dict[str, Any]]] = {
    "paper": (Settings(), {}),
    "short": (Settings(epochs=20, lr=1e-3, lr_step_epochs=5, seed=3), {"gpu": 0}),
    "odd": (
        Settings(
            dropout=0.25, new_layer_lr=2.5, batch=64, device_batch=16, momentum=0, weight_decay=1e-5
        ),
        {"val": 53, "classes": 27, "task": "wikiart_style"},
    ),
}


@pytest.mark.parametrize("key", RECORDED)
def test_a_run_of_the_paper_has_the_prototxts_it_always_had(key: str) -> None:
    init, scenario, name = key.split(" ")
    settings, more = SETTINGS[name]
    texts = render(replace(RUN, init=init, scenario=scenario, settings=settings, **more))
    joined = "\0".join(texts[name] for name in sorted(texts))
    assert hashlib.sha256(joined.encode()).hexdigest() == RECORDED[key]
