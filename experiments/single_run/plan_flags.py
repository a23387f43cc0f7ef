"""The flags that say which run is meant, the same for every tool; each is a variable of make."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from datasets.folders import SPLITS
from experiments.single_run.plan import DEFAULT_INIT, DEFAULT_SCENARIO, RunPlan
from prototxt.caffenet import SCENARIOS
from prototxt.settings import add_settings_flags, settings_from


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
    """The flags --task, --init, --scenario, --split, --split-seed, --run, and the settings'."""
    parser.add_argument("--task", required=True, help="task to work on")
    parser.add_argument(
        "--init", default=DEFAULT_INIT, help="weights that training starts from (%(default)s)"
    )
    parser.add_argument(
        "--scenario",
        default=DEFAULT_SCENARIO,
        help=f"layers that learn: {', '.join(SCENARIOS)} (%(default)s)",
    )
    add_split_flags(parser)
    parser.add_argument("--run", default="", help="name of the run (default: from its settings)")
    add_settings_flags(parser)


def add_split_flags(parser: argparse.ArgumentParser) -> None:
    """The flags --split and --split-seed."""
    parser.add_argument(
        "--split",
        default=SPLITS[0],
        help=f"{' or '.join(SPLITS)}: no work on two sides (%(default)s)",
    )
    parser.add_argument(
        "--split-seed", type=int, default=1, help="the split follows from it (%(default)s)"
    )


def plan_from(flags: Mapping[str, Any]) -> RunPlan:
    """The plan that a tool's parsed flags, by name, ask for: `plan_from(vars(arguments))`.

    Raises UserError for a scenario, a split, a setting or a name that there can't be.
    """
    plan = RunPlan(
        task=flags["task"],
        init=flags["init"],
        scenario=flags["scenario"],
        settings=settings_from(flags),
        split=flags["split"],
        split_seed=flags["split_seed"],
        own_name=flags["run"],
    )
    plan.check()
    return plan
