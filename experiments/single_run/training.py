"""Trains one run with the real Caffe, or goes on with it where it was."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import lmdb

from datasets.checksums import BackgroundCheck, require_whole
from datasets.folders import DataFolder
from experiments.single_run.backups import back_up_run, has_work, restore_run
from experiments.single_run.curve import Curve
from experiments.single_run.fingerprint import differences, digest, fingerprint
from experiments.single_run.folder import RunFolder
from experiments.single_run.job import Job
from experiments.single_run.plots import draw_curve
from experiments.single_run.progress import TrainingBar
from experiments.single_run.record_keeper import RecordKeeper, new_record
from experiments.single_run.resume import (
    ResumePoint,
    find_resume_point,
    make_way,
    refuse_to_overwrite,
    snapshot_prefix,
)
from experiments.single_run.run_json import (
    FAILED,
    INTERRUPTED,
    TRAINED,
    RunRecord,
    read_run_record,
)
from experiments.single_run.run_lock import hold_train_lock
from experiments.single_run.snapshots import Snapshots
from lib.caffe.client import Event, Interrupted
from lib.cli import say
from lib.errors import UserError
from lib.files import readable, require_space
from models.compare import Comparison

_KEPT_SNAPSHOTS = 2  # while training; the older one is there should the newer be damaged
_ROOM = 6 * 250_000_000  # bytes: final and best weights, two snapshots of two files each
_INPUTS_WORDS = {"lmdb": "the LMDBs", "weights": "the starting weights", "mean": "the mean"}


def train(job: Job, *, keep_all: bool = False, force: bool = False) -> None:
    """Train `job`, resuming from its newest whole snapshot; a finished run is left as it is.

    Where `caffe train` has gone on from a snapshot of the run, its newest whole one is resumed
    from, and that is said and recorded. No file that this run did not write is deleted or written
    over: where one has the name of a snapshot to come, it is backed up, or, outside the run's
    folder, the training is refused.

    A run made from other files than today's (an edited prototxt, say) is backed up, not lost, and
    only when Caffe can train by those files. Once they are as they were, that run is restored.
    Raises UserError, and Interrupted after Ctrl-C, SIGTERM, SIGHUP (a snapshot has been taken
    then).
    """
    plan, folder = job.plan, job.folder
    with hold_train_lock(folder) as lock:
        inputs = fingerprint(plan.prototxts, plan.data, job.start.mean, job.start.weights)
        record, why = _record_of(folder, inputs, force)
        if record and record.state == TRAINED and folder.final.exists():
            say(f"{folder.path}: trained already, up to date")
            return
        require_space(folder.path, _ROOM, "weights and snapshots of this run")
        require_whole(plan.data, _read_parts(plan.data))
        compare_weights = cache(job.compare_weights)  # they are looked into once
        run = record.id if record and record.id else uuid.uuid4().hex
        found = Snapshots(snapshot_prefix(job), digest(inputs), run)
        if record is None and has_work(folder):
            compare_weights()
            job.device.engine.call("check", job.nets)  # Caffe can train by these files
            refuse_to_overwrite(job, found, 0)
            backup = back_up_run(folder)
            say(f"{folder.path}: begun anew ({why}); what was there is now {backup}")
        found.prefix.parent.mkdir(parents=True, exist_ok=True)
        folder.path.mkdir(parents=True, exist_ok=True)
        found.clear_halves()
        resume = find_resume_point(job, found, is_new=record is None)
        make_way(job, found, resume.iteration)
        record = record or new_record(job, inputs)
        record.id = run
        Training(job, record, found, resume, compare_weights, keep_all=keep_all).run(lock)


class Training:
    """One call's worth of training: from the start or a snapshot, to the end or an interruption."""

    def __init__(
        self,
        job: Job,
        record: RunRecord,
        found: Snapshots,
        resume: ResumePoint,
        compare_weights: Callable[[], Comparison | None],
        *,
        keep_all: bool,
    ) -> None:
        self.job = job
        self.found = found
        self.resume = resume
        self.keep_all = keep_all
        self.comparison = None if resume.snapshot else compare_weights()
        # What the curve has after our own snapshot is not what `caffe train` went through.
        own = resume.own.iteration if resume.own else None
        self.curve = Curve(job.folder.curve, own)
        self.keeper = RecordKeeper(job, record, self.curve)
        self.bar = TrainingBar(f"train {job.plan}")

    def run(self, lock: int) -> None:
        """Run the worker, which holds the `lock` too, and keep the record true, however it ends."""
        folder = self.job.folder
        # The worker keeps the nets that it trains by: they may be elsewhere.
        for made, kept in ((self.job.deploy, folder.deploy), (self.job.solver, folder.solver)):
            shutil.copyfile(made, kept)
        self._say_where_it_begins()
        self.keeper.begin_session(self.resume)
        data = self.job.plan.data
        self.pixels = BackgroundCheck(data, _read_parts(data))
        try:
            done = self.job.device.engine.call(
                "train",
                self._request(),
                log=folder.log,
                on_event=self._on_event,
                keep_open=[lock],
            )
            self.pixels.finish()
        except Interrupted:
            self.keeper.save(INTERRUPTED, "interrupted")
            there = [each.iteration for each in (self.found.newest(), self.resume.by_caffe) if each]
            where = f"from iteration {max(there)}" if there else "from the beginning"
            raise Interrupted(
                f"interrupted; the same make line goes on {where} ({folder.path})"
            ) from None
        except UserError as error:
            self.keeper.save(FAILED, str(error))
            raise
        finally:
            self.pixels.stop()
            self.bar.close()
        self.keeper.finish(done)
        if not self.keep_all:
            self.found.prune(0)
        draw_curve(self.curve.points, folder.path / "curve.png", title=self.job.plan.name)
        size = readable(folder.final.stat().st_size)
        say(f"{folder.final}: {size}, after {done['iteration']} iterations")

    def _say_where_it_begins(self) -> None:
        folder = self.job.folder
        if self.resume.by_caffe:
            say(
                f"{folder.path}: goes on from {self.resume.state}, made since by `caffe train` (it "
                "has no marker of this run): no promise that the weights will be those of an "
                "uninterrupted run; to go on from the run's own snapshot, move it away"
            )
        elif self.resume.own:
            say(f"{folder.path}: goes on from {self.resume.state}")
        else:
            folder.log.unlink(missing_ok=True)

    def _request(self) -> dict[str, Any]:
        best, weights = self.curve.best, self.job.start.weights
        return {
            **self.job.nets,
            "weights": str(weights) if weights else None,
            "run": str(self.job.folder.path),
            "snapshot_prefix": str(self.found.prefix),
            "unfinished": str(self.found.unfinished),
            "inputs": self.found.inputs,
            "id": self.found.run,
            "resume": self.resume.state,
            "validated": self.curve.last_validated,
            "best": best.val_accuracy if best else None,
        }

    def _on_event(self, event: Event) -> None:
        self.pixels.raise_if_damaged()
        kind = event["event"]
        if kind == "replay":
            self.bar.replay(event)
        elif kind == "start":
            self.bar.start(event)
            self.curve.batch = event["batch"]
            # What can't be counted (HDF5, say) is taken for the task's own training images.
            task_images = _records_in(str(self.job.plan.data.lmdb("train")))
            self.curve.images = event["train_images"] or task_images
            self.keeper.started(event, self.comparison)
        elif kind == "iteration":
            self.curve.iteration(event)
            self.bar.iteration(event, self.curve.best)
        elif kind == "validating":
            self.bar.validating(event)
        elif kind == "validation":
            self.bar.validated()
            self.curve.add_point(event["iteration"], event)
        elif kind == "snapshot":
            if not self.curve.points or self.curve.points[-1].iteration < event["iteration"]:
                self.curve.add_point(event["iteration"])  # so that the curve tells it is known
            if not self.keep_all:
                self.found.prune(_KEPT_SNAPSHOTS)


def _record_of(
    folder: RunFolder, inputs: dict[str, str], force: bool
) -> tuple[RunRecord | None, str]:
    """The record of a run of these inputs, restored if need be; or None, and why there is none.

    Raises UserError for a record that cannot be read.
    """
    if force:
        return None, "FORCE=1"
    record = read_run_record(folder.record)
    changed = differences(record.inputs, inputs) if record else []
    if record and not changed:
        return record, ""
    if restored := restore_run(folder, inputs):
        say(restored)
        return read_run_record(folder.record), ""
    if record is None:
        return None, f"{folder.record.name} is missing"
    return None, f"{', '.join(_INPUTS_WORDS.get(name, name) for name in changed)} changed"


def _read_parts(data: DataFolder) -> list[str]:
    """The task's LMDBs that a training reads; an edited net may do without them."""
    return [part for part in ("train", "val") if data.lmdb(part).is_dir()]


def _records_in(lmdb_folder: str) -> int:
    """Records of an LMDB; 0 for a net that reads none, or for one that Caffe will miss."""
    if not lmdb_folder or not Path(lmdb_folder).exists():
        return 0
    try:
        with lmdb.open(lmdb_folder, readonly=True, lock=False) as database:
            return int(database.stat()["entries"])
    except lmdb.Error as error:
        raise UserError(f"{lmdb_folder} is no LMDB that can be read: {error}") from None
