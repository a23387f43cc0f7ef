"""The three prototxts of a run, made from its plan; what was edited by hand is kept."""

from __future__ import annotations

from pathlib import Path

from datasets.build import lmdb_record
from datasets.folders import DataFolder
from datasets.imagelist import read_classes, read_list
from experiments.single_run.plan import RunPlan
from experiments.single_run.run_net import RunNet
from lib.cli import Say
from lib.errors import UserError
from prototxt.iterations import check_counts
from prototxt.keep import Outcome, write_unedited
from prototxt.read import read_nets, read_solver
from prototxt.render import Run, check_task, render, warnings

ROOT = Path(__file__).resolve().parents[2]


def make_prototxts(
    plan: RunPlan,
    *,
    net: RunNet,
    mean: Path,
    gpu: int | None,
    data: DataFolder | None = None,
    out: Path | None = None,
    snapshot_prefix: Path | None = None,
    force: bool = False,
    say: Say,
    warn: Say,
) -> None:
    """Make or keep train_val, deploy and solver.prototxt; say what became of each.

    `net` is the run's, `mean` the starting weights' own, `gpu` the GPU that the solver names (None:
    the CPU); data, out and snapshot_prefix stand for the plan's own. `warn` is told where the
    files, as they are now, do not fit the lists and settings. With `force` edited ones are made
    anew and backed up. Raises UserError for lists or a plan that no net can be made for.
    """
    check_task(plan.task)
    data = data or plan.data
    out = out or plan.prototxts
    prefix = snapshot_prefix or plan.folder.snapshots / net.name
    classes = len(read_classes(data.classes))
    images = _images(data, classes)
    wanted = Run(
        task=plan.task,
        classes=classes,
        train=images["train"],
        val=images["val"],
        train_lmdb=_from_root(data.lmdb("train")),
        val_lmdb=_from_root(data.lmdb("val")),
        mean=_from_root(mean),
        net=_from_root(out / "train_val.prototxt"),
        snapshot_prefix=_from_root(prefix),
        init=plan.init,
        scenario=plan.scenario,
        gpu=gpu,
        settings=plan.settings,
        architecture=net.architecture,
        crop=net.crop,
        scale=net.scale,
    )
    outcomes = write_unedited(out, render(wanted), force=force)
    # Caffe aborts when the folder of its snapshots is not there.
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for name, outcome in outcomes.items():
        if outcome is Outcome.EDITED:
            say(
                f"{out / name}: edited by hand, used as it is "
                "(FORCE=1 makes it anew and keeps a backup)"
            )
        else:
            say(f"{out / name}: {outcome.value}")
    for warning in [*_warnings(wanted, out), *warnings(wanted)]:
        warn(warning)


def _warnings(wanted: Run, out: Path) -> list[str]:
    """Where the files, as they are now, do not fit the lists and settings."""
    solver_file, net_file = out / "solver.prototxt", out / "train_val.prototxt"
    try:
        solver = read_solver(solver_file)
        if solver.nets != (wanted.net,):
            others = ", ".join(solver.nets) or "not named"
            return [f"{solver_file}: its net is {others}, not {wanted.net}"]
        nets = read_nets(net_file)
    except UserError as error:
        return [str(error)]
    if nets is None:
        return []  # of a form that only Caffe reads
    return [
        f"{solver_file}: {sentence}"
        for sentence in check_counts(
            solver, nets, wanted.settings, train=wanted.train, val=wanted.val
        )
    ]


def _from_root(path: Path) -> str:
    """A path as Caffe needs it when it is started in the project's root; absolute if outside."""
    whole = Path.cwd() / path
    return str(whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole)


def _images(data: DataFolder, classes: int) -> dict[str, int]:
    """Images a part: what is in the LMDBs (broken ones may be left out), or will be."""
    record = lmdb_record(data)
    lists = {part: len(read_list(data.list(part), classes)) for part in ("train", "val")}
    return record.images if record else lists
