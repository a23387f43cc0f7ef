"""Where a training goes on from, and which files stand in its way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from experiments.single_run.curve import reached
from experiments.single_run.job import Job
from experiments.single_run.snapshots import Snapshot, Snapshots
from lib.cli import say
from lib.errors import UserError
from lib.files import back_up
from prototxt.read import read_solver


@dataclass(frozen=True)
class ResumePoint:
    """Where a training begins; without snapshots: at the beginning."""

    own: Snapshot | None = None  # this run's newest
    by_caffe: Snapshot | None = None  # made since by `caffe train`, further on

    @property
    def snapshot(self) -> Snapshot | None:
        """The one that Caffe restores from."""
        return self.by_caffe or self.own

    @property
    def state(self) -> str | None:
        """The path of its .solverstate."""
        return str(self.snapshot.state) if self.snapshot else None

    @property
    def iteration(self) -> int:
        """The iteration that it begins at."""
        return self.snapshot.iteration if self.snapshot else 0


def find_resume_point(job: Job, found: Snapshots, *, is_new: bool) -> ResumePoint:
    """The newest whole snapshot to go on from; for a new run only one that nothing contradicts."""
    folder = job.folder
    # The worker may have been ahead of us when we were killed: what it validated before a
    # snapshot that we did not hear of is not in the curve.
    known = -1 if is_new else reached(folder.curve)
    own = found.newest(known)
    if known > 0 and not own:
        say(f"{folder.path}: no whole snapshot is there: it begins from the beginning")
    return ResumePoint(own, _by_caffe(job, found, own) if own else None)


def snapshot_prefix(job: Job) -> Path:
    """How the paths of a run's snapshots begin (UpgradeSnapshotPrefixProperty, in Caffe)."""
    prefix = Path(read_solver(job.solver).snapshot_prefix or job.solver.with_suffix(""))
    return prefix / job.solver.stem if prefix.is_dir() else prefix


def refuse_to_overwrite(job: Job, found: Snapshots, start: int) -> None:
    """Raise UserError where a file outside the run's folder has the name of a snapshot to come.

    Those come after iteration `start`.
    """
    _, outside = _others(job, found, start)
    if outside:
        more = f" (and {len(outside) - 1} more)" if len(outside) > 1 else ""
        raise UserError(
            f"{outside[0]}{more} is there already and was not written by this run, which "
            "would write a file of that name: move it away, or give the solver another "
            "snapshot_prefix"
        )


def make_way(job: Job, found: Snapshots, start: int) -> None:
    """Clear the names of the snapshots to come after iteration `start`, and of the weights.

    What this run did not write is backed up. Raises as refuse_to_overwrite does.
    """
    refuse_to_overwrite(job, found, start)
    inside, _ = _others(job, found, start)
    found.remove_after(start)
    final = [job.folder.final] if job.folder.final.exists() else []
    for path in inside + final:
        backup = back_up(path)
        say(f"{path}: this training will write a file of that name; it is now {backup}")


def _by_caffe(job: Job, found: Snapshots, own: Snapshot) -> Snapshot | None:
    """The newest whole snapshot that `caffe train` has made since `own`, of the same net."""
    made = found.by_caffe(own, read_solver(job.solver).max_iter)
    if not made:
        return None
    answer = job.device.engine.call(
        "restorable",
        {
            "solver": str(job.solver),
            "gpu": job.device.gpu,
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
        say(f"{job.folder.path}: a snapshot that is not this run's is not used: {why}")
    return None if answer["chosen"] is None else made[answer["chosen"]]


def _others(job: Job, found: Snapshots, start: int) -> tuple[list[Path], list[Path]]:
    """Files in the way of the snapshots due after iteration `start`: in the run's folder, outside.

    None of them was written by this run.
    """
    solver = read_solver(job.solver)
    home = job.folder.path.resolve()
    paths = found.others(start, solver.snapshot, solver.max_iter)
    inside = [path for path in paths if path.parent.resolve().is_relative_to(home)]
    return inside, [path for path in paths if path not in inside]
