"""GPU= and THREADS=: on what a tool lets the engine compute."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import dataclass
from typing import Any

from lib.caffe.client import GPU_BUILD, Engine, NoEngineError, find_engine
from lib.cli import positive
from lib.errors import UserError


def add_device_flags(parser: argparse.ArgumentParser) -> None:
    """The flags --gpu and --threads."""
    parser.add_argument(
        "--gpu",
        default="auto",
        metavar="N|none|auto",
        help="GPU to use; none: the CPU; auto: GPU 0 if this Caffe can use one (%(default)s)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="BLAS threads (default: one a core)"
    )


@dataclass(frozen=True)
class Device:
    """An engine, what it says of itself, and the GPU to use (None: the CPU)."""

    engine: Engine
    about: dict[str, Any]
    gpu: int | None


def pick_device(asked: str = "auto", threads: int | None = None) -> Device:
    """The engine and device that the flags --gpu (`asked`) and --threads ask for.

    Raises UserError when there is no engine, or a GPU is asked for that it cannot use.
    """
    number = 0 if asked == "auto" else gpu_number(asked)
    engine = find_engine(threads, gpu=number is not None)
    about = engine.call("about", {"gpu": number})
    if about["gpu"] or number is None:
        return Device(engine, about, number)
    if asked == "auto":
        if engine.python == GPU_BUILD:  # built for other cards, say
            engine = find_engine(threads, gpu=False)
            about = engine.call("about", {})
        return Device(engine, about, None)
    raise UserError(
        f"GPU={asked}: the Caffe of {engine.python} cannot use GPU {number} (a CPU-only build, or "
        "no such GPU); `make caffe-gpu` builds Caffe for this machine's GPUs, GPU=none computes on "
        "the CPU"
    )


def check_device(asked: str, threads: int | None) -> None:
    """Raise UserError, as `pick_device` would, for a GPU that is asked for and cannot be used.

    As long as there is no engine yet, only the word itself is checked.
    """
    if asked == "auto" or gpu_number(asked) is None:
        return
    with contextlib.suppress(NoEngineError):
        pick_device(asked, threads)


def gpu_number(asked: str) -> int | None:
    """The number of the GPU that `GPU=` asks for, None for none; UserError if it is no such."""
    if asked == "none":
        return None
    if not asked.isdecimal():
        raise UserError(f"GPU={asked}: a GPU's number, none or auto")
    return int(asked)
