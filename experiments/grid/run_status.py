"""How far a planned run is, read from its folder: done, running, failed, interrupted, missing."""

from __future__ import annotations

import math
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from experiments.single_run import curve, run_json
from experiments.single_run.folder import RunFolder
from experiments.single_run.json_records import InvalidRecord
from experiments.single_run.results_json import read_results
from experiments.single_run.run_json import RunRecord, read_run_record
from experiments.single_run.run_lock import grid_lock, train_lock
from lib.errors import UserError
from lib.exclusive_lock import is_locked

DONE, RUNNING, FAILED, INTERRUPTED, MISSING = "done", "running", "failed", "interrupted", "missing"

_RECENT = 300  # seconds; Caffe writes into its log far more often


@dataclass(frozen=True)
class Standing:
    """What has become of a run so far."""

    state: str  # one of the five words above
    reason: str = ""  # why it is not done, where that is known
    share: float = 0.0  # of its iterations, from 0 to 1
    images: float = 0.0  # gone through in training, counted as often as they were seen
    seconds: float = 0.0  # that they took, validations included
    trained: bool = False  # to its end, but not tested; `reason` says all of it

    @property
    def speed(self) -> float | None:
        """Images/s of the training, validations included; None before anything is measured."""
        return self.images / self.seconds if self.images and self.seconds else None


def stand(folder: RunFolder, *, locks: bool = True) -> Standing:
    """How a run stands. Reads small files only: milliseconds a run.

    With `locks=False` nobody is taken to be at work on it: for the one who holds its lock.
    """
    try:
        record = read_run_record(folder.record)
    except InvalidRecord as error:
        return Standing(FAILED, str(error))
    if record is None:
        progress = Standing(MISSING)
    elif record.state == run_json.TRAINED:
        images, seconds = record.iteration * (record.batch or 0), record.seconds
        if _is_tested(folder):  # also where only the records were brought from elsewhere
            return Standing(DONE, "", 1.0, images, seconds)
        reason = (
            "trained, not tested yet (the same make line tests it)"
            if folder.final.exists()
            else "trained, not tested, and its weights are gone"
        )
        progress = Standing(INTERRUPTED, reason, 1.0, images, seconds, trained=True)
    else:
        progress = _on_the_way(folder, record)
    if locks and is_held(folder):
        return Standing(RUNNING, "", progress.share, progress.images, progress.seconds)
    if (error_said := last_error(folder)) is not None:
        return Standing(FAILED, error_said, progress.share, progress.images, progress.seconds)
    return progress


def make_log(folder: RunFolder) -> Path:
    """What make said when a grid last ran this run."""
    return folder.path.with_name(f"{folder.path.name}.make.log")


def is_held(folder: RunFolder) -> bool:
    """Whether a process, on this machine or on one that shares its locks, is at this run."""
    return any(is_locked(lock) for lock in (grid_lock(folder), train_lock(folder)))


def last_error(folder: RunFolder) -> str | None:
    """The error that ended the last attempt, as make's words have it; None when there was none."""
    try:
        said = make_log(folder).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    started = folder.record.stat().st_mtime if folder.record.exists() else 0.0
    if make_log(folder).stat().st_mtime < started:
        return None  # gone on with since, by hand
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return errors[-1] if errors else None


def _on_the_way(folder: RunFolder, record: RunRecord) -> Standing:
    """A training that has begun: how far it came, and whether it stopped."""
    share = images = seconds = 0.0
    try:
        points = curve.read(folder.curve) if folder.curve.exists() else []
    except UserError:
        points = []
    if points:
        seconds = points[-1].seconds
        images = points[-1].iteration * (record.batch or 0)
        share = min(1.0, points[-1].iteration / (record.max_iter or math.inf))
    reason = record.reason or ""
    if record.state == run_json.FAILED:
        return Standing(FAILED, reason or "no reason given", share, images, seconds)
    if record.state == run_json.TRAINING:
        # On this machine its lock would be seen.
        elsewhere = record.host != socket.gethostname()
        if elsewhere and _age(folder.log) < _RECENT:
            return Standing(
                RUNNING, "judged by its log: its lock is not seen from here", share, images, seconds
            )
        why = "stopped without a word (killed?); the same make line goes on"
        return Standing(INTERRUPTED, why, share, images, seconds)
    return Standing(INTERRUPTED, reason, share, images, seconds)


def _is_tested(folder: RunFolder) -> bool:
    """Whether there are results; those that can't be read are made again by the same make line."""
    try:
        return read_results(folder.results) is not None
    except InvalidRecord:
        return False


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
