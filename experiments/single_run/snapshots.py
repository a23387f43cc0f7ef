"""Caffe's snapshots of a run: which are whole, which are the run's own, and which can go.

What is at a snapshot_prefix may be anybody's: `caffe train` writes there too, and a prefix in a
shared folder is shared. So a file is deleted only when the run's marker proves that the run wrote
it: the marker has the run's id, what the run is made from, and the SHA-256 of the file as it is.
A marker of before there were ids proves it by the other two.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.files import sha256

_WEIGHTS, _STATE, _MARKER = ".caffemodel", ".solverstate", ".json"


@dataclass(frozen=True)
class Snapshot:
    """One iteration's .caffemodel and .solverstate, and the place of the marker that proves both.

    Snapshots of `caffe train` have no marker.
    """

    iteration: int
    marker: Path

    @property
    def weights(self) -> Path:
        """The .caffemodel."""
        return self.marker.with_suffix(_WEIGHTS)

    @property
    def state(self) -> Path:
        """What Caffe restores from."""
        return self.marker.with_suffix(_STATE)

    def proofs(self) -> tuple[dict[str, Any], dict[Path, str]]:
        """What the marker says, and the files it names with their SHA-256; both empty without."""
        try:
            marker = json.loads(self.marker.read_text(encoding="utf-8"))
            here = {self.weights.name: self.weights, self.state.name: self.state}
            files = {here[name]: str(digest) for name, digest in marker["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, {}
        return marker, files

    def is_as_written(self) -> bool:
        """Whether both files are as a marker of any training says."""
        _, files = self.proofs()
        return len(files) == 2 and all(_is(path, digest) for path, digest in files.items())


@dataclass(frozen=True)
class Snapshots:
    """The snapshots at a solver's snapshot_prefix, as one run sees them."""

    prefix: Path
    inputs: str  # one word for what the run is made from
    run: str  # the run's id

    @property
    def aside(self) -> Path:
        """The folder that this run's worker writes a snapshot in; it is there only meanwhile."""
        return self.prefix.with_name(f".{self.prefix.name}.{self.run}.part")

    def newest(self, until: float = math.inf) -> Snapshot | None:
        """The newest snapshot of this run, up to iteration `until`, that can be resumed from."""
        own = (each for each in self._own() if each.iteration <= until)
        return next((each for each in own if each.is_as_written()), None)

    def by_caffe(self, since: Snapshot, max_iter: int) -> list[Snapshot]:
        """Snapshots without a marker that were made after `since`, further on; newest first.

        That is what `caffe train` leaves. A marker that no longer fits either file is of files that
        it has written over.
        """
        made = since.marker.stat().st_mtime_ns
        found = []
        for iteration, paths in self._files().items():
            each = self._at(iteration)
            if not since.iteration < iteration <= max_iter:
                continue
            if not {each.weights, each.state} <= paths:
                continue
            if min(path.stat().st_mtime_ns for path in (each.weights, each.state)) < made:
                continue
            if not any(_is(path, digest) for path, digest in each.proofs()[1].items()):
                found.append(each)
        return sorted(found, key=lambda each: -each.iteration)

    def others(self, after: int, every: int, before: int) -> list[Path]:
        """Files in the way of the snapshots due after iteration `after` that are not this run's.

        Snapshots are due `every` so many iterations (0: never), and before iteration `before`.
        """
        return [
            path
            for iteration, paths in sorted(self._files().items())
            if every and iteration % every == 0 and after < iteration < before
            for path in sorted(paths - set(self._proven(self._at(iteration))))
        ]

    def remove_after(self, iteration: int) -> None:
        """Delete this run's snapshots after `iteration`: they are made again."""
        for each in self._own():
            if each.iteration > iteration:
                self._remove(each)

    def prune(self, keep: int) -> None:
        """Delete all but the newest `keep` snapshots of this run."""
        for each in self._own()[keep:]:
            self._remove(each)

    def clear_halves(self) -> None:
        """Delete what a killed worker of this run was writing; the run's lock must be held."""
        for half in self.aside.glob(f"*{_MARKER}"):
            marker = self.prefix.with_name(half.name)
            if marker.exists():
                continue  # all of it was in place
            for path, digest in Snapshot(0, half).proofs()[1].items():
                # Killed between putting one file in place and the next. It is in place as a second
                # name of the file aside, or, where a disk has no such links, has been moved.
                placed = self.prefix.with_name(path.name)
                if placed.exists() and (
                    placed.samefile(path) if path.exists() else _is(placed, digest)
                ):
                    placed.unlink()
        if self.aside.is_dir():
            shutil.rmtree(self.aside)

    def _own(self) -> list[Snapshot]:
        """This run's snapshots, whole or not, newest first."""
        found = (self._at(iteration) for iteration in sorted(self._files(), reverse=True))
        return [each for each in found if self._is_own(each.proofs()[0])]

    def _is_own(self, marker: dict[str, Any]) -> bool:
        return marker.get("inputs") == self.inputs and marker.get("run", self.run) == self.run

    def _proven(self, snapshot: Snapshot) -> list[Path]:
        """The files of a snapshot that this run has written, the marker last."""
        marker, files = snapshot.proofs()
        if not self._is_own(marker):
            return []
        own = [path for path, digest in files.items() if _is(path, digest)]
        if "run" not in marker and len(own) < 2:
            return []
        return [*own, snapshot.marker]

    def _remove(self, snapshot: Snapshot) -> None:
        """Delete what is proven; the proof goes last, so that a kill leaves nothing unproven."""
        for path in self._proven(snapshot):
            path.unlink()

    def _at(self, iteration: int) -> Snapshot:
        return Snapshot(
            iteration, self.prefix.with_name(f"{self.prefix.name}_iter_{iteration}{_MARKER}")
        )

    def _files(self) -> dict[int, set[Path]]:
        """All that is named as a snapshot of this prefix or its marker, by iteration."""
        pattern = re.compile(
            re.escape(self.prefix.name) + r"_iter_(0|[1-9]\d*)\.(caffemodel|solverstate|json)"
        )
        found: dict[int, set[Path]] = {}
        if self.prefix.parent.is_dir():
            for path in self.prefix.parent.iterdir():
                if match := pattern.fullmatch(path.name):
                    found.setdefault(int(match[1]), set()).add(path)
        return found


def _is(path: Path, digest: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    try:
        return sha256(path) == digest
    except OSError:
        return False
