"""Records written by earlier versions, in the words of today: the one place that knows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from datasets.folders import SPLITS
from lib.errors import UserError

_DATA_SUFFIX = re.compile(rf"(?:-(?P<split>{'|'.join(SPLITS)}))?(?:-seed(?P<seed>\d+))?")


def upgrade_run_record(said: dict[str, Any]) -> None:
    """Give run.json the keys of today; UserError where its split can't be told."""
    if "sittings" in said:
        said["sessions"] = said.pop("sittings") or []
    if "split" not in said and isinstance(said.get("data"), str):
        said["split"], said["split_seed"] = _split(said.get("task"), said["data"])
    for key in ("layers", "best", "finished", "reason", "batch", "max_iter"):
        if said.get(key, 0) is None:
            del said[key]


def _split(task: object, data: str) -> tuple[str, int]:
    """Before records said it, the split was in the name of the data folder alone."""
    name = Path(data).name
    suffix = name.removeprefix(task) if isinstance(task, str) else name
    found = _DATA_SUFFIX.fullmatch(suffix)
    if not found:
        raise UserError(f"it says task {task}, but learnt from {data}")
    return found["split"] or "by_image", int(found["seed"] or 1)
