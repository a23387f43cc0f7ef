"""run.json in the form that earlier versions gave it."""

from __future__ import annotations

import json
from pathlib import Path

_NEW = ("id", "number", "final", "split", "split_seed", "own_name", "edits")


def write_as_before(path: Path) -> None:
    """Write a run.json in the form of before there were plans of runs."""
    found = json.loads(path.read_text())
    for new in _NEW:
        del found[new]
    for setting in ("net", "freeze", "bn"):
        found["settings"].pop(setting, None)
    found["sittings"] = found.pop("sessions")
    for each in found["sittings"]:
        del each["resumed_from_caffe_train"]
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
