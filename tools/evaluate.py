"""Test one run on the task's test images, each exactly once, after all the steps before it."""

from __future__ import annotations

from experiments.paper.next_steps import next_steps
from experiments.single_run.plan_flags import plan_from
from experiments.single_run.step_flags import means_from, step_parser
from experiments.single_run.steps import check_material, do_steps
from lib.cli import run


def main() -> None:
    """Do all steps of a run."""
    parser = step_parser(__doc__)
    parser.add_argument(
        "--check", action="store_true", help="do nothing, but say whether something is missing"
    )
    flags = vars(parser.parse_args())
    plan, means = plan_from(flags), means_from(flags)
    if flags["check"]:
        check_material(plan, "evaluate", means)
    else:
        done = do_steps(plan, "evaluate", means, force=flags["force"], only=flags["only"])
        print(next_steps(done.task, done.name))


if __name__ == "__main__":
    run(main)
