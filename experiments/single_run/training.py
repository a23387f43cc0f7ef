"""Train one run with the real Caffe, or go on with it where it was; up to date, it does nothing."""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb

from datasets.checksums import BackgroundCheck, require_whole
from datasets.folders import DataFolder
from datasets.imagelist import read_classes
from experiments.single_run import record as records
from experiments.single_run.backups import bring_back, has_work, set_aside
from experiments.single_run.curve import Curve, Point, reached
from experiments.single_run.fingerprint import differences, digest, fingerprint, git_commit
from experiments.single_run.folder import RunFolder, check_run_name, prototxt_folder, run_folder
from experiments.single_run.plots import draw_curve
from experiments.single_run.snapshots import Snapshot, Snapshots
from experiments.single_run.start import Start, find_start
from lib.caffe.client import Event, Interrupted
from lib.caffe.device import Device, add_device_flags, pick_device
from lib.caffe.same_bits import engine_changes
from lib.cli import Parser, bar, run
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.files import back_up, readable, require_space
from models.compare import Comparison, check_weights
from models.store import require
from prototxt.caffenet import IMAGE_SIZE
from prototxt.read import read_solver
from prototxt.settings import Settings, add_settings_flags, settings_from

if TYPE_CHECKING:
    from tqdm import tqdm

_KEPT_SNAPSHOTS = 2  # while training; the older one is there should the newer be damaged
_ROOM = 6 * 250_000_000  # bytes: final and best weights, two snapshots of two files each
_WORKER_DIES = 3.0  # seconds at most that the worker of a killed training still holds the lock
_INPUTS_WORDS = {"lmdb": "the LMDBs", "weights": "the starting weights", "mean": "the mean"}


@dataclass(frozen=True)
class Job:
    """What is to be trained, and with what."""

    task: str
    name: str
    scenario: str
    settings: Settings
    data: DataFolder
    start: Start
    device: Device

    @property
    def folder(self) -> RunFolder:
        """Where the run is kept."""
        return run_folder(self.task, self.name)

    @property
    def prototxts(self) -> Path:
        """Where its prototxts are made and edited."""
        return prototxt_folder(self.task, self.name)


def main() -> None:
    """Parse the flags and train."""
    arguments = _flags().parse_args()
    check_run_name(arguments.run)
    job = Job(
        task=arguments.task,
        name=arguments.run,
        scenario=arguments.scenario,
        settings=settings_from(vars(arguments)),
        data=DataFolder(arguments.data),
        start=find_start(arguments.init, arguments.task, DataFolder(arguments.data)),
        device=pick_device(arguments.gpu, arguments.threads),
    )
    train(job, keep_all=arguments.keep == "all", force=arguments.force)


def train(job: Job, *, keep_all: bool = False, force: bool = False) -> None:
    """Train `job`, resuming from its newest whole snapshot; a finished run is left as it is.

    Where `caffe train` has gone on from a snapshot of the run, its newest whole one is resumed
    from, and that is said and recorded. No file that this run did not write is deleted or written
    over: where one has the name of a snapshot to come, it is backed up, or, outside the run's
    folder, the training is refused.

    A run made from other files than today's (an edited prototxt, say) is moved aside, not lost, and
    only when Caffe can train by those files. Once they are as they were, that run is brought back.
    Raises UserError, and Interrupted after Ctrl-C (a snapshot has been taken then).
    """
    with _alone(job.folder) as held:
        inputs = fingerprint(job.prototxts, job.data, job.start.mean, job.start.weights)
        record, why = _record_of(job.folder, inputs, force)
        if record and record["state"] == records.TRAINED and job.folder.final.exists():
            print(f"{job.folder.path}: trained already, up to date")
            return
        require_space(job.folder.path, _ROOM, "weights and snapshots of this run")
        require_whole(job.data, _read_parts(job.data))
        run = record["id"] if record and "id" in record else uuid.uuid4().hex
        found = Snapshots(_snapshot_prefix(job), digest(inputs), run)
        if record is None and has_work(job.folder):
            _try_out(job)
            _refuse_to_overwrite(_others(job, found, 0))
            aside = set_aside(job.folder)
            print(f"{job.folder.path}: begun anew ({why}); what was there is now {aside}")
        Training(job, inputs, record, found, keep_all, held).go()


class Training:
    """One call's worth of training: from the start or a snapshot, to the end or an interruption."""

    def __init__(
        self,
        job: Job,
        inputs: dict[str, str],
        record: records.Record | None,
        found: Snapshots,
        keep_all: bool,
        lock: int,
    ) -> None:
        self.job = job
        self.lock = lock
        self.folder = job.folder
        self._name = f"train {job.task}/{job.name}"
        self.keep_all = keep_all
        self.found = found
        found.prefix.parent.mkdir(parents=True, exist_ok=True)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        found.clear_halves()
        # The worker may have been ahead of us when we were killed: what it validated before a
        # snapshot that we did not hear of is not in the curve.
        known = reached(self.folder.curve) if record else -1
        snapshot = found.newest(known)
        if known > 0 and not snapshot:
            print(f"{self.folder.path}: no whole snapshot is there: it begins from the beginning")
        self.by_caffe = self._look_for_caffes(snapshot) if snapshot else None
        start = self.by_caffe or snapshot
        self.resume = start.state if start else None
        self._make_way(start.iteration if start else 0)
        # What the curve has after our own snapshot is not what `caffe train` went through.
        self.curve = Curve(self.folder.curve, snapshot.iteration if snapshot else None)
        self.record = record or self._new_record(inputs)
        self.record["id"] = found.run
        self.comparison = None if self.resume else _look_at_weights(job)
        self.train_images = 0  # the worker counts them
        self.began = time.monotonic() - self.curve.seconds
        self.bar: tqdm[Any] | None = None  # of the replay, then of the training
        self.since: list[Event] = []  # iterations since the last point of the curve

    def go(self) -> None:
        """Run the worker and keep the record true, however it ends."""
        for name in ("deploy", "solver"):  # the worker keeps the nets that it trains by
            shutil.copyfile(self.job.prototxts / f"{name}.prototxt", self._kept(name))
        if self.by_caffe:
            print(
                f"{self.folder.path}: goes on from {self.resume}, made since by `caffe train` (it "
                "has no marker of this run): no promise that the weights will be those of an "
                "uninterrupted run; to go on from the run's own snapshot, move it away"
            )
        elif self.resume:
            print(f"{self.folder.path}: goes on from {self.resume}")
        else:
            self.folder.log.unlink(missing_ok=True)
        self._sit_down()
        self.pixels = BackgroundCheck(self.job.data, _read_parts(self.job.data))
        try:
            done = self.job.device.engine.call(
                "train",
                self._request(),
                log=self.folder.log,
                on_event=self._on_event,
                keep_open=[self.lock],
            )
            self.pixels.finish()
        except Interrupted:
            self._save(records.INTERRUPTED, reason="interrupted")
            there = [each.iteration for each in (self.found.newest(), self.by_caffe) if each]
            where = f"from iteration {max(there)}" if there else "from the beginning"
            raise Interrupted(
                f"interrupted; the same make line goes on {where} ({self.folder.path})"
            ) from None
        except UserError as error:
            self._save(records.FAILED, reason=str(error))
            raise
        finally:
            self.pixels.stop()
            self._close_bar()
        self._finish(done)

    def _look_for_caffes(self, own: Snapshot) -> Snapshot | None:
        """The newest whole snapshot that `caffe train` has made since `own`, of the same net."""
        solver = self.job.prototxts / "solver.prototxt"
        made = self.found.by_caffe(own, read_solver(solver).max_iter)
        if not made:
            return None
        answer = self.job.device.engine.call(
            "restorable",
            {
                "solver": str(solver),
                "gpu": self.job.device.gpu,
                "snapshots": [
                    {
                        "iteration": each.iteration,
                        "weights": str(each.weights),
                        "state": str(each.state),
                    }
                    for each in made
                ],
            },
        )
        for why in answer["refused"]:
            print(f"{self.folder.path}: a snapshot that is not this run's is not used: {why}")
        return None if answer["chosen"] is None else made[answer["chosen"]]

    def _make_way(self, start: int) -> None:
        """Clear the names of the snapshots to come after iteration `start`, and of the weights.

        Raises UserError where a file outside the run's folder has such a name.
        """
        others = _others(self.job, self.found, start)
        _refuse_to_overwrite(others)
        self.found.remove_after(start)
        final = [self.folder.final] if self.folder.final.exists() else []
        for path in others.inside + final:
            backup = back_up(path)
            print(f"{path}: this training will write a file of that name; it is now {backup}")

    def _request(self) -> dict[str, Any]:
        best = self.curve.best
        return {
            **_nets(self.job),
            "weights": str(self.job.start.weights) if self.job.start.weights else None,
            "run": str(self.folder.path),
            "snapshot_prefix": str(self.found.prefix),
            "aside": str(self.found.aside),
            "inputs": self.found.inputs,
            "id": self.found.run,
            "resume": str(self.resume) if self.resume else None,
            "validated": self.curve.last_validated,
            "best": best.val_accuracy if best else None,
        }

    def _on_event(self, event: Event) -> None:
        self.pixels.raise_if_damaged()
        kind = event["event"]
        if kind == "replay":
            replayed = self.bar or self._new_bar("replaying the data", "batch", event["of"])
            replayed.update(event["done"] - replayed.n)
        elif kind == "start":
            self._on_start(event)
        elif kind == "iteration":
            self._on_iteration(event)
        elif kind == "validating":
            self._describe(f"validate {event['done']}/{event['of']}")
        elif kind == "validation":
            self._describe(self._name)
            self._add_point(event["iteration"], event)
        elif kind == "snapshot":
            if not self.curve.points or self.curve.points[-1].iteration < event["iteration"]:
                self._add_point(event["iteration"])  # so that the curve tells that it is known
            if not self.keep_all:
                self.found.prune(_KEPT_SNAPSHOTS)

    def _new_bar(self, what: str, unit: str, total: int, initial: int = 0) -> tqdm[Any]:
        self._close_bar()
        self.bar = bar(what=what, unit=unit, total=total, initial=initial)
        return self.bar

    def _describe(self, what: str) -> None:
        if self.bar is not None and sys.stderr.isatty():
            self.bar.set_description_str(what)

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _on_start(self, event: Event) -> None:
        self._new_bar(self._name, "it", event["max_iter"], event["iteration"])
        # What can't be counted (HDF5, say) is taken for the task's own training images.
        self.train_images = event["train_images"] or _records(str(self.job.data.lmdb("train")))
        self.record["batch"] = event["batch"]
        self.record["max_iter"] = event["max_iter"]
        if event["iteration"] == 0:
            self.record["layers"] = event["layers"]
            self._check_transfer(event["layers"])
        self._save(records.TRAINING, reason=None)

    def _on_iteration(self, event: Event) -> None:
        assert self.bar is not None  # the worker says `start` first
        self.since.append(event)
        self.bar.set_postfix_str(
            f"loss {event['loss']:.3f}, lr {event['lr']:.2g}, "
            f"{event['images'] / event['seconds']:.1f} images/s{self._best_so_far()}",
            refresh=False,  # update() draws it, as often as the stream is fit for
        )
        self.bar.update(event["iteration"] - self.bar.n)
        if event["curve"]:
            self._add_point(event["iteration"])

    def _check_transfer(self, layers: list[dict[str, Any]]) -> None:
        """Raise UserError when Caffe did not copy a layer that the weights hold."""
        expected = set(self.comparison.copied) if self.comparison else set()
        lost = [
            each["name"] for each in layers if each["name"] in expected and not each["transferred"]
        ]
        if lost:
            raise UserError(
                f"{self.job.start.weights}: Caffe did not copy {', '.join(lost)} from it"
            )

    def _best_so_far(self) -> str:
        best = self.curve.best
        return f", best val {best.val_accuracy:.3f}" if best else ""

    def _add_point(self, iteration: int, validated: Event | None = None) -> None:
        images = sum(event["images"] for event in self.since)
        seconds = sum(event["seconds"] for event in self.since)
        loss = sum(event["loss"] * event["images"] for event in self.since)
        self.curve.add(
            Point(
                iteration=iteration,
                epoch=round(iteration * self.record["batch"] / self.train_images, 4),
                lr=self.since[-1]["lr"] if images else None,
                train_loss=loss / images if images else None,
                images_per_s=round(images / seconds, 2) if images else None,
                seconds=round(time.monotonic() - self.began, 3),
                val_loss=validated["loss"] if validated else None,
                val_accuracy=validated["accuracy"] if validated else None,
            )
        )
        self.since = []

    def _finish(self, done: dict[str, Any]) -> None:
        for layer in self.record["layers"]:
            layer["after"] = done["layers"][layer["name"]]
            layer["changed"] = layer["after"] != layer["before"]
        wrong = [each for each in self.record["layers"] if each["changed"] == each["frozen"]]
        if idle := [each["name"] for each in wrong if not each["frozen"]]:
            print(
                f"warning: {', '.join(idle)} did not change, though no lr_mult of 0 froze it",
                file=sys.stderr,
            )
        if moved := [each["name"] for each in wrong if each["frozen"]]:
            reason = f"frozen layers changed: {', '.join(moved)}"
            self._save(records.FAILED, reason=reason)
            raise UserError(f"{self.folder.path}: {reason}")
        best = self.curve.best
        if best:
            self.record["best"] = {"iteration": best.iteration, "val_accuracy": best.val_accuracy}
        self.record["finished"] = records.now()
        self._save(records.TRAINED, reason=None)
        if not self.keep_all:
            self.found.prune(0)
        draw_curve(self.curve.points, self.folder.path / "curve.png", title=self.job.name)
        size = readable(self.folder.final.stat().st_size)
        print(f"{self.folder.final}: {size}, after {done['iteration']} iterations")

    def _new_record(self, inputs: dict[str, str]) -> records.Record:
        job = self.job
        return {
            "state": records.TRAINING,
            "task": job.task,
            "run": job.name,
            "init": job.start.init,
            "scenario": job.scenario,
            "settings": asdict(job.settings),
            "weights": str(job.start.weights) if job.start.weights else None,
            "mean": str(job.start.mean),
            "data": str(job.data.path),
            "inputs": inputs,
            "started": records.now(),
            "sittings": [],
        }

    def _sit_down(self) -> None:
        """Note one call of this tool: where it begins, and on which engine."""
        sitting = {
            "began": records.now(),
            "resumed_from": str(self.resume) if self.resume else None,
            "resumed_from_caffe_train": self.by_caffe is not None,
            "host": socket.gethostname(),
            "engine": self.job.device.about,
            "gpu": self.job.device.gpu,
            "git_commit": git_commit(),
        }
        before = self.record["sittings"]
        changes = engine_changes(before[-1]["engine"], self.job.device.about) if before else []
        if self.resume and changes:
            print(
                f"warning: the engine has changed ({'; '.join(changes)}); the run goes on, but "
                "its weights will not be bit-identical to those of an uninterrupted run",
                file=sys.stderr,
            )
        before.append(sitting)
        self._save(records.TRAINING, reason=None)

    def _save(self, state: str, *, reason: str | None) -> None:
        """Write run.json."""
        self.record["state"] = state
        self.record["reason"] = reason
        self.record["iteration"] = self.curve.points[-1].iteration if self.curve.points else 0
        self.record["seconds"] = round(time.monotonic() - self.began, 3)
        records.write(self.folder.record, self.record)

    def _kept(self, name: str) -> Path:
        return self.folder.path / f"{name}.prototxt"


def _record_of(
    folder: RunFolder, inputs: dict[str, str], force: bool
) -> tuple[records.Record | None, str]:
    """The record of a run of these inputs, brought back if need be; or None, and why there is none.

    Raises UserError for a record that cannot be read.
    """
    if force:
        return None, "FORCE=1"
    record = records.read(folder.record)
    changed = differences(record["inputs"], inputs) if record else []
    if record and not changed:
        return record, ""
    if said := bring_back(folder, inputs):
        print(said)
        return records.read(folder.record), ""
    if record is None:
        return None, f"{folder.record.name} is missing"
    return None, f"{', '.join(_INPUTS_WORDS.get(name, name) for name in changed)} changed"


def _snapshot_prefix(job: Job) -> Path:
    """How the paths of a run's snapshots begin (UpgradeSnapshotPrefixProperty, in Caffe)."""
    solver = job.prototxts / "solver.prototxt"
    prefix = Path(read_solver(solver).snapshot_prefix or solver.with_suffix(""))
    return prefix / solver.stem if prefix.is_dir() else prefix


@dataclass(frozen=True)
class _Others:
    """Files that a run did not write, with names of its snapshots to come."""

    inside: list[Path]  # in the run's folder
    outside: list[Path]


def _others(job: Job, found: Snapshots, start: int) -> _Others:
    """What is in the way of the snapshots due after iteration `start`."""
    solver = read_solver(job.prototxts / "solver.prototxt")
    home = job.folder.path.resolve()
    paths = found.others(start, solver.snapshot, solver.max_iter)
    inside = [path for path in paths if path.parent.resolve().is_relative_to(home)]
    return _Others(inside, [path for path in paths if path not in inside])


def _refuse_to_overwrite(others: _Others) -> None:
    """Raise UserError where a file outside the run's folder is in the way."""
    if others.outside:
        more = f" (and {len(others.outside) - 1} more)" if len(others.outside) > 1 else ""
        raise UserError(
            f"{others.outside[0]}{more} is there already and was not written by this run, which "
            "would write a file of that name: move it away, or give the solver another "
            "snapshot_prefix"
        )


def _try_out(job: Job) -> None:
    """Raise UserError if Caffe could not train by the files of a job."""
    _look_at_weights(job)
    job.device.engine.call("check", _nets(job))


def _nets(job: Job) -> dict[str, Any]:
    """What the worker needs to build the nets of a job."""
    return {
        "solver": str(job.prototxts / "solver.prototxt"),
        "deploy": str(job.prototxts / "deploy.prototxt"),
        "classes": [len(read_classes(job.data.classes)), str(job.data.classes)],
        "validation": str(job.data.lmdb("val")),
        "image_size": IMAGE_SIZE,
        "gpu": job.device.gpu,
    }


def _look_at_weights(job: Job) -> Comparison | None:
    """What is in the weights to start from; UserError when CaffeNet cannot start from them."""
    start = job.start
    if not start.weights:
        return None
    if start.is_card:
        require(start.init)
    return check_weights(job.device.engine, start.weights, start.last_layer, expected=start.layers)


def _records(lmdb_folder: str) -> int:
    """Records of an LMDB; 0 for a net that reads none, or for one that Caffe will miss."""
    if not lmdb_folder or not Path(lmdb_folder).exists():
        return 0
    try:
        with lmdb.open(lmdb_folder, readonly=True, lock=False) as database:
            return int(database.stat()["entries"])
    except lmdb.Error as error:
        raise UserError(f"{lmdb_folder} is no LMDB that can be read: {error}") from None


def _read_parts(data: DataFolder) -> list[str]:
    """The task's LMDBs that a training reads; an edited net may do without them."""
    return [part for part in ("train", "val") if data.lmdb(part).is_dir()]


@contextmanager
def _alone(folder: RunFolder) -> Iterator[int]:
    """Hold the run's lock, so that no two trainings write into one folder."""
    lock = folder.path.with_name(f".{folder.path.name}.lock")
    patience = time.monotonic() + _WORKER_DIES
    with ExitStack() as stack:
        held = None
        while held is None:
            try:
                held = stack.enter_context(
                    exclusive_lock(lock, f"a training of {folder.path}", wait=False)
                )
            except UserError:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.1)
        yield held


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--task", required=True, help="task, for its place and its name")
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--init", required=True, help="weights that training starts from")
    parser.add_argument("--scenario", required=True, help="which layers learn, for the record")
    parser.add_argument("--data", type=Path, required=True, help="data folder: lists and LMDBs")
    parser.add_argument("--keep", choices=("some", "all"), default="some", help="snapshots to keep")
    parser.add_argument("--force", action="store_true", help="train again, keeping the old run")
    add_device_flags(parser)
    add_settings_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
