"""The flags that say with what a run is made: material, decoders, device."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.folders import RAW
from experiments.single_run.plan_flags import add_plan_flags
from experiments.single_run.steps import Means
from lib.caffe.device import add_device_flags
from lib.cli import Parser, positive


def step_parser(description: str | None) -> Parser:
    """A parser with the flags of a step of a run: the plan's, the means', --force, --only."""
    parser = Parser(description=description)
    add_plan_flags(parser)
    _add_means(parser)
    parser.add_argument(
        "--force", action="store_true", help="make anew what is up to date; a backup is kept"
    )
    parser.add_argument(
        "--only", action="store_true", help="this step alone: what it needs must be there"
    )
    return parser


def means_from(flags: Mapping[str, Any]) -> Means:
    """The means that a tool's parsed flags, by name, ask for."""
    return Means(
        raw=flags["raw"],
        workers=flags["workers"],
        skip_broken=flags["skip_broken"],
        gpu=flags["gpu"],
        threads=flags["threads"],
        keep_all=flags["keep"] == "all",
        any_order=flags["any_order"],
        require_verified=flags["require_verified"],
    )


def _add_means(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--raw", type=Path, default=RAW, help="raw material (%(default)s)")
    parser.add_argument("--workers", type=positive, help="processes that decode (one a core)")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave broken images out; lmdb.json names them"
    )
    parser.add_argument(
        "--keep", choices=("some", "all"), default="some", help="snapshots to keep (%(default)s)"
    )
    parser.add_argument(
        "--any-order",
        action="store_true",
        help="train even from weights of a net with another order of layers",
    )
    parser.add_argument(
        "--require-verified",
        action="store_true",
        help="refuse weights that come over plain http and have no known checksum",
    )
    add_device_flags(parser)
