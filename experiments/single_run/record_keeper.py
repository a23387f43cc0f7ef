"""Keeps a run's run.json true while it is trained, however that ends."""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import Any

import msgspec

from experiments.single_run.curve import Curve
from experiments.single_run.edits import edited_prototxts
from experiments.single_run.find_run import highest_number
from experiments.single_run.fingerprint import git_commit
from experiments.single_run.job import Job
from experiments.single_run.resume import ResumePoint
from experiments.single_run.run_json import (
    FAILED,
    TRAINED,
    TRAINING,
    Best,
    Layer,
    RunRecord,
    Session,
    State,
    now,
    write_run_record,
)
from lib.caffe.client import Event
from lib.caffe.same_bits import engine_changes
from lib.cli import warn
from lib.errors import UserError
from lib.files import sha256
from models.compare import Comparison
from models.store import unverified_files


def new_record(job: Job, inputs: dict[str, str]) -> RunRecord:
    """The record of a run that begins."""
    plan = job.plan
    return RunRecord(
        state=TRAINING,
        task=plan.task,
        run=plan.name,
        own_name=not plan.has_standard_name,
        init=plan.init,
        scenario=plan.scenario,
        split=plan.split,
        split_seed=plan.split_seed,
        settings=asdict(plan.settings),
        weights=str(job.start.weights) if job.start.weights else None,
        mean=str(job.start.mean),
        unverified=unverified_files(plan.init) if job.start.is_card else [],
        data=str(plan.data.path),
        inputs=inputs,
        started=now(),
    )


class RecordKeeper:
    """Writes run.json whenever something is known."""

    def __init__(self, job: Job, record: RunRecord, curve: Curve) -> None:
        self.job = job
        self.record = record
        self.curve = curve

    def begin_session(self, resume: ResumePoint) -> None:
        """Note one call of the training: where it begins, and on which engine."""
        device = self.job.device
        session = Session(
            began=now(),
            resumed_from=resume.state,
            resumed_from_caffe_train=resume.by_caffe is not None,
            host=socket.gethostname(),
            engine=device.about,
            gpu=device.gpu,
            git_commit=git_commit(),
        )
        before = self.record.sessions
        changes = engine_changes(before[-1].engine, device.about) if before else []
        if resume.snapshot and changes:
            warn(
                f"the engine has changed ({'; '.join(changes)}); the run goes on, but its weights "
                "will not be bit-identical to those of an uninterrupted run"
            )
        before.append(session)
        self.save(TRAINING)

    def started(self, event: Event, comparison: Comparison | None) -> None:
        """Caffe has built the nets. Raises UserError when it did not copy what the weights hold."""
        # Only now does the run's folder hold the nets that run: the worker has put them there.
        self.record.edits = edited_prototxts(self.job.folder, self.job.plan.prototxts)
        self.record.batch = event["batch"]
        self.record.max_iter = event["max_iter"]
        if event["iteration"] == 0:
            self.record.layers = msgspec.convert(event["layers"], list[Layer])
            self._check_transfer(comparison)
        self.save(TRAINING)

    def finish(self, done: dict[str, Any]) -> None:
        """The training has come to its end. Raises UserError when frozen layers have changed."""
        record = self.record
        for layer in record.layers or []:
            layer.after = done["layers"][layer.name]
            layer.changed = layer.after != layer.before
        wrong = [each for each in record.layers or [] if each.changed == each.frozen]
        if idle := [each.name for each in wrong if not each.frozen]:
            warn(f"{', '.join(idle)} did not change, though no lr_mult of 0 froze it")
        if moved := [each.name for each in wrong if each.frozen]:
            reason = f"frozen layers changed: {', '.join(moved)}"
            self.save(FAILED, reason)
            raise UserError(f"{self.job.folder.path}: {reason}")
        best = self.curve.best
        if best:
            record.best = Best(best.iteration, best.val_accuracy or 0.0)
        record.final = sha256(self.job.folder.final)
        record.number = 1 + highest_number()
        record.finished = now()
        self.save(TRAINED)

    def save(self, state: State, reason: str | None = None) -> None:
        """Write run.json."""
        self.record.state = state
        self.record.reason = reason
        self.record.iteration = self.curve.points[-1].iteration if self.curve.points else 0
        self.record.seconds = round(self.curve.elapsed, 3)
        write_run_record(self.job.folder.record, self.record)

    def _check_transfer(self, comparison: Comparison | None) -> None:
        expected = set(comparison.copied) if comparison else set()
        layers = self.record.layers or []
        lost = [each.name for each in layers if each.name in expected and not each.transferred]
        if lost:
            raise UserError(
                f"{self.job.start.weights}: Caffe did not copy {', '.join(lost)} from it"
            )
