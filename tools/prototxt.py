"""Make train_val, deploy and solver.prototxt of one run; what was edited by hand is kept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from datasets.build import lmdb_record
from datasets.folders import DataFolder
from datasets.imagelist import read_classes, read_list
from lib.caffe.device import gpu_number, pick_device
from lib.cli import Parser, run
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from prototxt.iterations import check_counts
from prototxt.keep import Outcome, write_unedited
from prototxt.read import read_nets, read_solver
from prototxt.render import NAMES, SCRATCH, Run, check_task, render
from prototxt.settings import add_settings_flags, settings_from

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Make or keep the three files, say what became of each, and warn where they do not fit."""
    arguments = _flags().parse_args()
    check_task(arguments.task)
    data = DataFolder(arguments.data)
    out: Path = arguments.out
    classes = len(read_classes(data.classes))
    images = _images(data, classes)
    wanted = Run(
        task=arguments.task,
        classes=classes,
        train=images["train"],
        val=images["val"],
        train_lmdb=_from_root(data.lmdb("train")),
        val_lmdb=_from_root(data.lmdb("val")),
        mean=_from_root(arguments.mean or data.mean),
        net=_from_root(out / "train_val.prototxt"),
        snapshot_prefix=_from_root(arguments.snapshot_prefix),
        init=arguments.init,
        scenario=arguments.scenario,
        gpu=_gpu(arguments.gpu),
        settings=settings_from(vars(arguments)),
    )
    outcomes = write_unedited(out, render(wanted), force=arguments.force)
    # Caffe aborts when the folder of its snapshots is not there.
    arguments.snapshot_prefix.parent.mkdir(parents=True, exist_ok=True)
    for name, outcome in outcomes.items():
        if outcome is Outcome.EDITED:
            print(
                f"{out / name}: edited by hand, used as it is "
                "(FORCE=1 makes it anew and keeps a backup)"
            )
        else:
            print(f"{out / name}: {outcome.value}")
    for warning in _warnings(wanted, out):
        print(f"warning: {warning}", file=sys.stderr)


def _warnings(wanted: Run, out: Path) -> list[str]:
    """Where the files, as they are now, do not fit the lists and settings."""
    solver_file, net_file = out / "solver.prototxt", out / "train_val.prototxt"
    try:
        solver, nets = read_solver(solver_file), read_nets(net_file)
    except UserError as error:
        return [str(error)]
    said = [
        f"{solver_file}: {sentence}"
        for sentence in check_counts(
            solver, nets, wanted.settings, train=wanted.train, val=wanted.val
        )
    ]
    if solver.net != wanted.net:
        said.append(f"{solver_file}: its net is {solver.net or 'not named'}, not {wanted.net}")
    return said


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--task", required=True, help="names the last layer, fc8_<task>")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with classes.txt, train.txt, val.txt and the LMDBs",
    )
    parser.add_argument("--out", type=Path, required=True, help=f"folder for {', '.join(NAMES)}")
    parser.add_argument(
        "--snapshot-prefix",
        type=Path,
        required=True,
        help="start of the snapshots' paths, as experiments/runs/TASK/RUN/snapshots/caffenet",
    )
    parser.add_argument(
        "--init",
        default=SCRATCH,
        help="weights that training starts from; %(default)s (the default): CaffeNet's own fillers",
    )
    parser.add_argument(
        "--mean", type=Path, help="the init's mean.binaryproto (default: the data's own)"
    )
    parser.add_argument(
        "--scenario", default="all", help=f"layers that learn: {', '.join(SCENARIOS)} (%(default)s)"
    )
    parser.add_argument(
        "--gpu",
        default="none",
        metavar="N|none|auto",
        help="solver_mode: a GPU's number; none: the CPU; auto: as the engine can (%(default)s)",
    )
    parser.add_argument(
        "--force", action="store_true", help="make edited files anew too, keeping a backup of each"
    )
    add_settings_flags(parser)
    return parser


def _gpu(asked: str) -> int | None:
    if asked == "auto":
        return pick_device(asked, 1).gpu
    return gpu_number(asked)


def _from_root(path: Path) -> str:
    """A path as Caffe needs it when it is started in the project's root; absolute if outside."""
    whole = Path.cwd() / path
    return str(whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole)


def _images(data: DataFolder, classes: int) -> dict[str, int]:
    """Images a part: what is in the LMDBs (broken ones may be left out), or will be."""
    record = lmdb_record(data)
    lists = {part: len(read_list(data.list(part), classes)) for part in ("train", "val")}
    return record.images if record else lists


if __name__ == "__main__":
    run(main)
