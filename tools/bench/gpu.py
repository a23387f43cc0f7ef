"""Images/s of training (each scenario), testing and feature extraction, on a GPU or the CPU.

    python -m tools.bench.gpu --gpu 0         on GPU 0: about 3 minutes
    python -m tools.bench.gpu --gpu none --quick   on the CPU: about 3 minutes on 2 cores

CaffeNet on an LMDB of its own, of 256x256 noise (raw pixels, as every LMDB here has them), so that
reading, cropping and mirroring are all there. Also shown: the share of the time spent waiting for
data, the peak memory, and what the paper's whole work would take on this device.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from lib.caffe.client import Event
from lib.caffe.device import Device, add_device_flags, pick_device
from lib.caffe.messages import BlobProto, BlobShape, Datum
from lib.cli import Parser, progress, run
from lib.files import readable, require_space, write_text
from prototxt.caffenet import IMAGE_SIZE, SCENARIOS
from prototxt.render import Run, render
from prototxt.settings import Settings
from tools.parity import Side, describe

PAPER_IMAGES = 271_000_000  # that the trainings of the paper's tables go through, all together
_IMAGES = 512  # in the LMDB
_CLASSES = 10


@dataclass(frozen=True)
class Speed:
    """What one kind of work reached."""

    what: str
    images_per_s: float
    waiting: float  # share of the time
    memory: int  # bytes of the process
    gpu_memory: int | None  # bytes; None on the CPU, or where nvidia-smi does not tell


def main() -> None:
    """Measure, print, and write if asked."""
    arguments = _flags().parse_args()
    device = pick_device(arguments.gpu, arguments.threads)
    batch = arguments.batch or _batch(device)
    require_space(Path(tempfile.gettempdir()), 500_000_000, "the benchmark's LMDB")
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        speeds = measure(
            device, Path(folder), batch=batch, rounds=arguments.rounds, quick=arguments.quick
        )
    text = report(device, speeds, batch)
    print(text)
    if arguments.out:
        write_text(arguments.out, text + "\n")
        print(f"written to {arguments.out}")


def measure(
    device: Device, folder: Path, *, batch: int, rounds: int | None, quick: bool
) -> list[Speed]:
    """All kinds of work, one after the other, each in a process of its own."""
    rounds = rounds or (100 if device.gpu is not None else 2 if quick else 8)
    warmup = 10 if device.gpu is not None else 1
    make_data(folder)
    nets = {scenario: make_nets(folder, scenario, batch) for scenario in SCENARIOS}
    scenarios = ("all", "only_last") if quick else tuple(SCENARIOS)
    asked: list[tuple[str, dict[str, Any]]] = [
        (f"training, {name}", {"kind": "train", "net": str(nets[name] / "train_val.prototxt")})
        for name in scenarios
    ]
    whole = nets["all"]
    asked += [
        ("testing", {"kind": "test", "net": str(whole / "train_val.prototxt")}),
        ("features (fc7)", {"kind": "extract", "net": str(whole / "deploy.prototxt")}),
    ]
    speeds = []
    for what, request in progress(asked, what="bench", unit="works"):
        request |= {"batch": batch, "iter_size": 1, "warmup": warmup, "rounds": rounds}
        request |= {"gpu": device.gpu, "blob": "fc7" if request["kind"] == "extract" else None}
        with GpuMemory() as memory:
            done = device.engine.call("bench", request, on_event=memory.watch)
        speeds.append(
            Speed(
                what,
                done["images"] / done["seconds"],
                done["waiting"] / done["seconds"],
                done["memory"],
                memory.peak if device.gpu is not None else None,
            )
        )
    return speeds


class GpuMemory:
    """The most GPU memory that a process holds, as nvidia-smi says it, asked twice a second."""

    def __init__(self) -> None:
        self.peak: int | None = None
        self._pid: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> GpuMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def watch(self, event: Event) -> None:
        """The worker says which process it is."""
        if event["event"] == "ready":
            self._pid = event["pid"]

    def _ask(self) -> None:
        query = ["nvidia-smi", "--query-compute-apps=pid,used_memory"]
        while not self._over.wait(0.5):
            if self._pid is None:
                continue
            try:
                done = subprocess.run(
                    [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True
                )
            except OSError:
                return
            for line in done.stdout.splitlines():
                pid, _, used = line.partition(",")
                if pid.strip() == str(self._pid) and used.strip().isdigit():
                    self.peak = max(self.peak or 0, int(used) * 2**20)


def make_data(folder: Path) -> None:
    """An LMDB of noise with labels, and a mean, as Caffe's tools would write them."""
    numbers = np.random.default_rng(1)
    shape = (3, IMAGE_SIZE, IMAGE_SIZE)
    with lmdb.open(str(folder / "lmdb"), map_size=2**30) as opened, opened.begin(write=True) as put:
        for number in range(_IMAGES):
            pixels = numbers.integers(0, 256, size=shape, dtype=np.uint8)
            datum = Datum(channels=3, height=IMAGE_SIZE, width=IMAGE_SIZE)
            datum.data, datum.label = pixels.tobytes(), number % _CLASSES
            put.put(b"%08d" % number, datum.SerializeToString())
    mean = BlobProto(shape=BlobShape(dim=[1, *shape]), data=np.full(shape, 120.0).ravel().tolist())
    (folder / "mean.binaryproto").write_bytes(mean.SerializeToString())


def make_nets(folder: Path, scenario: str, batch: int) -> Path:
    """The prototxts of a scenario, in a folder of their own."""
    out = folder / scenario
    out.mkdir()
    wanted = Run(
        task="bench",
        classes=_CLASSES,
        train=_IMAGES,
        val=_IMAGES,
        train_lmdb=str(folder / "lmdb"),
        val_lmdb=str(folder / "lmdb"),
        mean=str(folder / "mean.binaryproto"),
        net=str(out / "train_val.prototxt"),
        snapshot_prefix=str(out / "snapshot"),
        scenario=scenario,
        settings=Settings(batch=batch, device_batch=batch),
    )
    for name, text in render(wanted).items():
        (out / name).write_text(text, encoding="utf-8")
    return out


def report(device: Device, speeds: list[Speed], batch: int) -> str:
    """The figures as a Markdown table, with the device's name and the estimate."""
    name = "CPU" if device.gpu is None else _card(device.gpu)
    side = Side(name, device.engine, device.gpu, device.about)
    lines = [f"{describe(side)}; {batch} images at once", ""]
    lines += ["| | images/s | waiting for data | memory | GPU memory |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for each in speeds:
        card = readable(each.gpu_memory) if each.gpu_memory else ""
        figures = f"{each.images_per_s:.1f} | {each.waiting:.0%} | {readable(each.memory)} | {card}"
        lines.append(f"| {each.what} | {figures} |")
    days = PAPER_IMAGES / speeds[0].images_per_s / 86400
    lines += ["", f"The paper's {PAPER_IMAGES // 10**6} million training images would take "]
    lines[-1] += f"{days:.1f} days here, all layers learning (less where some are frozen)."
    return "\n".join(lines)


def _batch(device: Device) -> int:
    """The paper's 256 where it fits; on a CPU 32 at once are as fast."""
    return 256 if device.gpu is not None else 32


def _card(number: int) -> str:
    query = ["nvidia-smi", f"--id={number}", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True)
    except OSError:
        return f"GPU {number}"
    return f"GPU {number}, {done.stdout.strip()}" if done.returncode == 0 else f"GPU {number}"


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--batch", type=int, help="images at once (256 on a GPU, 32 on the CPU)")
    parser.add_argument("--rounds", type=int, help="updates or passes to time")
    parser.add_argument("--quick", action="store_true", help="two scenarios, few rounds")
    parser.add_argument("--out", type=Path, help="a file for the table, Markdown")
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)
