"""Train one run with the real Caffe, or go on with it where it was; up to date, it does nothing."""

from __future__ import annotations

from experiments.single_run.plan_flags import plan_from
from experiments.single_run.step_flags import means_from, step_parser
from experiments.single_run.steps import do_steps
from lib.cli import run


def main() -> None:
    """Do the steps up to the training."""
    flags = vars(step_parser(__doc__).parse_args())
    do_steps(plan_from(flags), "train", means_from(flags), force=flags["force"], only=flags["only"])


if __name__ == "__main__":
    run(main)
