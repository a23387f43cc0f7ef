"""Compare what CaffeNet computes on the CPU with what it computes on a GPU, number by number.

Both start from the same weights and see the same images: one forward and backward pass, in which
every blob and every gradient is compared, and some iterations of Caffe's own solver. What draws
random numbers (crops, mirrors, dropout) is left out: each device draws its own. Exit code 1 when
they differ by more than float32 arithmetic in another order explains.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.caffe.client import Engine, Event, find_engine
from lib.caffe.device import add_device_flags, gpu_number, pick_device
from lib.cli import Parser, bar, run
from lib.errors import UserError
from lib.files import require_space, write_text
from prototxt.render import Run, render
from prototxt.settings import Settings

# Two BLAS kernels on one CPU (Zen, Sandybridge) were measured to differ by up to 1.0e-6 in a pass
# and 1.2e-7 in the losses of 8 iterations. A GPU sums in yet other orders, and cuDNN may convolve
# by Winograd's or Fourier's ways; a wrong layer differs by far more than these limits.
PASS_LIMIT = 1e-3  # relative difference (L2) of a blob or a gradient
LOSS_LIMIT = 1e-2  # relative difference of a loss while training
_CLASSES = 10
_ROOM = 3_000_000_000  # bytes: blobs, gradients and weights of CaffeNet, twice


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    engine: Engine
    gpu: int | None
    about: dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """How far two arrays are from each other."""

    part: str  # forward, backward or weights
    name: str
    size: int
    largest: float  # absolute difference
    relative: float  # L2 of the difference / L2 of the first; NaN when one of them has a NaN


def main() -> None:
    arguments = _flags().parse_args()
    one, other = _sides(arguments.gpu, arguments.threads, arguments.other)
    require_space(Path(tempfile.gettempdir()), _ROOM, "the numbers to compare")
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        differences, losses = compare(
            one,
            other,
            Path(folder),
            net=arguments.net,
            weights=arguments.weights,
            batch=arguments.batch,
            iterations=arguments.iterations,
            lr=arguments.lr,
            seed=arguments.seed,
        )
    text = report(one, other, differences, losses)
    print(text)
    if arguments.out:
        write_text(arguments.out, text + "\n")
        print(f"written to {arguments.out}")
    faults = too_far(differences, losses)
    if faults:
        print(f"too far apart: {', '.join(faults)}", file=sys.stderr)
        sys.exit(1)


def compare(
    one: Side,
    other: Side,
    folder: Path,
    *,
    net: Path | None,
    weights: Path | None,
    batch: int,
    iterations: int,
    lr: float,
    seed: int,
) -> tuple[list[Difference], list[tuple[float, float]]]:
    """Run both sides; returns the differences, and the loss of each iteration on both.

    `net` is a train_val.prototxt (None: CaffeNet), `weights` those to start from (None: random).
    """
    net = net or _caffenet(folder)
    weights = weights or folder / "start.caffemodel"
    losses: list[list[float]] = []
    for side, place in ((one, folder / "one"), (other, folder / "other")):
        place.mkdir()
        with bar(what=side.name, unit="it", total=iterations) as shown:

            def tell(event: Event, shown: Any = shown) -> None:
                shown.update(event["done"] - shown.n)

            request = {
                "train_val": str(net),
                "weights": str(weights),
                "batch": batch,
                "iterations": iterations,
                "lr": lr,
                "seed": seed,
                "classes": _CLASSES,
                "gpu": side.gpu,
                "out": str(place),
            }
            losses.append(side.engine.call("parity", request, on_event=tell)["losses"])
    differences = [
        difference
        for part in ("forward", "backward", "weights")
        for difference in _compare_files(part, folder / "one", folder / "other")
    ]
    return differences, list(zip(*losses, strict=True))


def difference(part: str, name: str, one: Any, other: Any) -> Difference:
    """The difference of two arrays of one shape; UserError when their shapes differ."""
    if one.shape != other.shape:
        raise UserError(f"{name}: the shapes differ, {one.shape} and {other.shape}")
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    apart = np.abs(a - b)
    length = float(np.sqrt(np.square(a).sum()))
    distance = float(np.sqrt(np.square(apart).sum()))
    relative = distance / length if length else (0.0 if not distance else float("inf"))
    return Difference(part, name, a.size, float(apart.max(initial=0.0)), relative)


def too_far(differences: list[Difference], losses: list[tuple[float, float]]) -> list[str]:
    """What differs by more than arithmetic in another order explains; NaN counts as well."""
    faults = [
        f"{each.part} {each.name} ({each.relative:.1e})"
        for each in differences
        if each.part != "weights" and not each.relative <= PASS_LIMIT
    ]
    for iteration, pair in enumerate(losses, start=1):
        if not _apart(*pair) <= LOSS_LIMIT:
            faults.append(f"loss of iteration {iteration} ({_apart(*pair):.1e})")
    return faults


def _apart(one: float, other: float) -> float:
    """The relative difference of two numbers."""
    return abs(other - one) / abs(one) if one else abs(other)


def report(
    one: Side, other: Side, differences: list[Difference], losses: list[tuple[float, float]]
) -> str:
    """The tables, as Markdown."""
    lines = [
        *(f"One: {describe(one)}", "", f"Other: {describe(other)}", ""),
        "| | blob or gradient | numbers | largest difference | relative (L2) |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for each in differences:
        figures = f"{each.size} | {each.largest:.2e} | {each.relative:.2e}"
        lines.append(f"| {each.part} | {each.name} | {figures} |")
    lines += ["", "| iteration | loss, one | loss, other | relative |"]
    lines += ["| ---: | ---: | ---: | ---: |"]
    for iteration, (first, second) in enumerate(losses, start=1):
        apart = _apart(first, second)
        lines.append(f"| {iteration} | {first:.6f} | {second:.6f} | {apart:.1e} |")
    same = sum(each.largest == 0 for each in differences)
    lines += ["", f"{same} of {len(differences)} arrays are the same, bit for bit."]
    return "\n".join(lines)


def describe(side: Side) -> str:
    """An engine in words: its Caffe, how it was built, its BLAS, its device."""
    about = side.about
    build = about.get("build")
    built = "Caffe " + about["caffe"]
    if build:
        cuda = (
            f"CUDA {build['cuda']}, {build['cudnn'] or 'no cuDNN'}" if build["cuda"] else "CPU only"
        )
        built += f" built here ({cuda})"
    blas = f"{about['blas_kernel'] or about['blas']}, {about['threads']} threads"
    return f"{side.name}: {built}, BLAS {blas}"


def _sides(gpu: str, threads: int | None, other: Path | None) -> tuple[Side, Side]:
    one = find_engine(threads, gpu=False)
    first = Side("CPU", one, None, one.call("about", {}))
    if other:
        engine = Engine(other.absolute(), threads)
        number = None if gpu == "auto" else gpu_number(gpu)
        name = "CPU, the other engine" if number is None else f"GPU {number}"
        return first, Side(name, engine, number, engine.call("about", {"gpu": number}))
    device = pick_device(gpu, threads)
    if device.gpu is None and gpu != "none":
        raise UserError(
            "no GPU to compare with (`make doctor` says what is missing); GPU=none compares the "
            "CPU with itself, --other=<a Python that can import caffe> another engine"
        )
    name = "CPU again" if device.gpu is None else f"GPU {device.gpu}"
    return first, Side(name, device.engine, device.gpu, device.about)


def _caffenet(folder: Path) -> Path:
    """CaffeNet's training net, as every run has it."""
    wanted = Run(
        task="parity",
        classes=_CLASSES,
        train=256,
        val=50,
        train_lmdb="unused",
        val_lmdb="unused",
        mean="unused",
        net="unused",
        snapshot_prefix="unused",
        settings=Settings(),
    )
    path = folder / "train_val.prototxt"
    path.write_text(render(wanted)["train_val.prototxt"], encoding="utf-8")
    return path


def _compare_files(part: str, one: Path, other: Path) -> list[Difference]:
    with np.load(one / f"{part}.npz") as first, np.load(other / f"{part}.npz") as second:
        if missing := set(first.files) ^ set(second.files):
            raise UserError(f"{part}: only one of them has {', '.join(sorted(missing))}")
        return [difference(part, name, first[name], second[name]) for name in first.files]


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--net", type=Path, help="a train_val.prototxt (default: CaffeNet)")
    parser.add_argument(
        "--weights", type=Path, help="weights to start from (default: CaffeNet's fillers)"
    )
    parser.add_argument("--batch", type=int, default=16, help="images at once (%(default)s)")
    parser.add_argument("--iterations", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--lr", type=float, default=0.0001, help="learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of images and weights (%(default)s)")
    parser.add_argument(
        "--other",
        type=Path,
        metavar="PYTHON",
        help="an engine to compare with (default: the GPU's)",
    )
    parser.add_argument("--out", type=Path, help="a file for the tables, Markdown")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
