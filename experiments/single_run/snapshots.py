"""Caffe's snapshots of a run: which are whole, and which can go."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from lib.files import sha256


@dataclass(frozen=True)
class Snapshot:
    """One iteration's .caffemodel and .solverstate, and the marker that says: they are whole."""

    iteration: int
    marker: Path

    @property
    def state(self) -> Path:
        """What Caffe restores from."""
        return self.marker.with_suffix(".solverstate")

    def is_whole(self, inputs: str) -> bool:
        """Whether it is of a training made from `inputs`, and both files are as they were written.

        `inputs` is what the worker was told when it took the snapshot.
        """
        try:
            marker = json.loads(self.marker.read_text(encoding="utf-8"))
            files = marker["files"]
            return marker["inputs"] == inputs and all(
                sha256(self.marker.with_name(name)) == it for name, it in files.items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def remove(self) -> None:
        """Delete it, the marker first, so that no half of it is taken for whole."""
        for suffix in (".json", ".solverstate", ".caffemodel"):
            self.marker.with_suffix(suffix).unlink(missing_ok=True)


def snapshots(prefix: Path) -> list[Snapshot]:
    """All snapshots with a marker, newest first. `prefix` is the solver's snapshot_prefix."""
    pattern = re.compile(re.escape(prefix.name) + r"_iter_(\d+)\.json")
    found = [
        Snapshot(int(match[1]), path)
        for path in prefix.parent.glob("*.json")
        if (match := pattern.fullmatch(path.name))
    ]
    return sorted(found, key=lambda snapshot: -snapshot.iteration)


def newest_whole(prefix: Path, inputs: str, until: float = math.inf) -> Snapshot | None:
    """The newest snapshot, up to iteration `until`, that can be resumed from.

    `inputs` is what the training is made from.
    """
    found = (snapshot for snapshot in snapshots(prefix) if snapshot.iteration <= until)
    return next((snapshot for snapshot in found if snapshot.is_whole(inputs)), None)


def prune(prefix: Path, keep: int) -> None:
    """Delete all but the newest `keep` snapshots, and what killed trainings left half-written.

    While snapshots are kept, half-written files newer than them stay: the worker may be writing.
    """
    found = snapshots(prefix)
    for snapshot in found[keep:]:
        snapshot.remove()
    newest = found[0].iteration if found and keep else math.inf
    pattern = re.compile(
        rf"({re.escape(prefix.name)}_iter_(\d+))\.(caffemodel|solverstate|json\.part)"
    )
    for path in list(prefix.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and int(match[2]) < newest and not path.with_name(f"{match[1]}.json").exists():
            path.unlink(missing_ok=True)
