"""Make train_val, deploy and solver.prototxt of one run; what was edited by hand is kept.

Its own folders may be named: --data, --out, --mean, --snapshot-prefix. Then only the prototxts are
made.
"""

from __future__ import annotations

from pathlib import Path

from datasets.folders import DataFolder
from experiments.single_run.plan_flags import plan_from
from experiments.single_run.prototxts import make_prototxts
from experiments.single_run.run_net import find_run_net
from experiments.single_run.start import find_start
from experiments.single_run.step_flags import means_from, step_parser
from experiments.single_run.steps import do_steps
from lib.caffe.client import find_engine
from lib.caffe.device import gpu_number
from lib.cli import run, say, warn


def main() -> None:
    """Do the steps up to the prototxts."""
    parser = step_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder with the lists and LMDBs")
    parser.add_argument("--out", type=Path, help="folder for the three files")
    parser.add_argument("--mean", type=Path, help="a mean.binaryproto (default: the init's own)")
    parser.add_argument(
        "--snapshot-prefix",
        type=Path,
        help="start of the snapshots' paths, as experiments/runs/TASK/RUN/snapshots/caffenet",
    )
    flags = vars(parser.parse_args())
    plan, means = plan_from(flags), means_from(flags)
    if not any(flags[name] for name in ("data", "out", "mean", "snapshot_prefix")):
        do_steps(plan, "prototxt", means, force=flags["force"], only=flags["only"])
        return
    data = DataFolder(flags["data"]) if flags["data"] else plan.data
    start = find_start(plan.init, plan.task, data)
    make_prototxts(
        plan,
        net=find_run_net(plan, start, find_engine),
        mean=flags["mean"] or start.mean,
        gpu=means.device().gpu if means.gpu == "auto" else gpu_number(means.gpu),
        data=data,
        out=flags["out"],
        snapshot_prefix=flags["snapshot_prefix"],
        force=flags["force"],
        say=say,
        warn=warn,
    )


if __name__ == "__main__":
    run(main)
