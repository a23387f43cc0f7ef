"""The five steps of a run, from its paintings to its test, each done where it is not up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from datasets.folders import RAW
from datasets.mean import read_mean, write_mean
from datasets.task_data import make_task_lists, make_task_lmdbs
from datasets.tasks import get_task
from experiments.single_run.evaluation import evaluate
from experiments.single_run.job import Job
from experiments.single_run.plan import RunPlan
from experiments.single_run.prototxts import make_prototxts
from experiments.single_run.run_net import find_run_net
from experiments.single_run.start import Start, find_start
from experiments.single_run.training import train
from lib.caffe.client import find_engine
from lib.caffe.device import Device, check_device, gpu_number, pick_device
from lib.cli import Say, say, warn
from lib.errors import UserError
from models.cards import Card, find_card, load_cards
from models.get import Checks, get
from models.nets import check_card_weights

STEPS = ("lists", "lmdb", "prototxt", "train", "evaluate")


@dataclass(frozen=True)
class Means:
    """With what a run is made; none of it decides what comes out."""

    raw: Path = RAW  # the sources' material
    workers: int | None = None  # processes that decode images; None: one a core
    skip_broken: bool = False  # leave broken images out of the LMDBs
    gpu: str = "auto"  # a GPU's number, none, auto
    threads: int | None = None  # of BLAS; None: one a core
    keep_all: bool = False  # snapshots
    any_order: bool = False  # train even from weights of a net with another order of layers
    require_verified: bool = False  # refuse weights over plain http without a known checksum

    def device(self) -> Device:
        """The engine and its device; UserError when there is none as asked."""
        return pick_device(self.gpu, self.threads)


def do_steps(
    plan: RunPlan, last: str, means: Means, *, force: bool = False, only: bool = False
) -> RunPlan:
    """Do the steps up to `last` (of STEPS), or `only` that one; the plan, its init by its own name.

    `force` makes the last step's lists, LMDBs, prototxts, training or test anew, and with the
    latter two also the prototxts, but never lists and LMDBs that other runs share. Raises UserError
    naming all that is missing before anything is done.
    """
    until = STEPS.index(last)
    if not only:
        check_material(plan, last, means)
    is_of_run = until >= STEPS.index("prototxt")
    start = find_start(plan.init, plan.task, plan.data) if is_of_run else None
    plan = replace(plan, init=start.init) if start else plan  # 'caffe' is caffenet
    for step in [last] if only else STEPS[: until + 1]:
        if step in ("lists", "lmdb"):
            _make_data(plan, step, means, force=force and step == last)
        elif start:
            _make_run(plan, start, step, means, force=force, only=only)
    return plan


def check_material(plan: RunPlan, last: str, means: Means) -> None:
    """Raise UserError naming all that is missing for the steps up to `last`.

    Weights that can be fetched are named with the paintings, and are no fault alone.
    """
    from datasets.catalogue import missing as missing_material  # pandas takes a second to load

    task = get_task(plan.task)
    material = missing_material(task, means.raw)
    weights: list[str] = []
    if STEPS.index(last) >= STEPS.index("prototxt"):
        start = find_start(plan.init, plan.task, plan.data)
        find_run_net(plan, start, find_engine)  # a net that can't be had is told now
        weights = [f"{path}: make weights INIT={start.init}" for path in start.missing]
    if material:
        raise UserError("\n  ".join([f"{task.name} can't be made yet:", *material, *weights]))
    if STEPS.index(last) >= STEPS.index("prototxt"):
        check_device(means.gpu, means.threads)


def _make_data(plan: RunPlan, step: str, means: Means, *, force: bool) -> None:
    if step == "lists":
        make_task_lists(
            get_task(plan.task),
            plan.data,
            raw=means.raw,
            split=plan.split,
            split_seed=plan.split_seed,
            force=force,
            say=say,
            warn=warn,
        )
    else:
        make_task_lmdbs(
            plan.data,
            workers=means.workers,
            skip_broken=means.skip_broken,
            force=force,
            say=say,
        )


def _make_run(
    plan: RunPlan, start: Start, step: str, means: Means, *, force: bool, only: bool
) -> None:
    if step == "prototxt":
        if start.missing and not only:
            get_weights(
                find_card(start.init),
                say=say,
                require_verified=means.require_verified,
                any_order=means.any_order,
            )
        number = means.device().gpu if means.gpu == "auto" else gpu_number(means.gpu)
        net = find_run_net(plan, start, find_engine)
        make_prototxts(plan, net=net, mean=start.mean, gpu=number, force=force, say=say, warn=warn)
    elif step == "train":
        job = Job(plan, start, means.device(), means.any_order)
        train(job, keep_all=means.keep_all, force=force)
    else:
        evaluate(plan, means.device, force=force)


def get_weights(
    card: Card, *, say: Say, require_verified: bool = False, any_order: bool = False
) -> None:
    """Put the weights and the mean of an init in place, checked by Caffe itself.

    UserError as models.get.get; with `require_verified` also for what can only be had unverified.
    """
    engine = find_engine()

    def fit(weights: Path, of: Card) -> None:
        check_card_weights(engine, weights, of, load_cards(), any_order=any_order)

    checks = Checks(weights=fit, read_mean=read_mean, write_mean=write_mean)
    get(card, checks, say=say, require_verified=require_verified)
