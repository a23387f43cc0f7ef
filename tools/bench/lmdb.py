"""Building LMDBs against the real convert_imageset, and against decoding alone.

    python -m tools.bench.lmdb            about 5 minutes on 2 cores
    python -m tools.bench.lmdb --quick    about 1 minute

All contenders take the same JPEGs of about 1 megapixel, in turn, in one run; a ratio of two rates
counts, not a rate. Decoding alone is measured twice: in plain processes, and in such as keep freed
memory, as those of make_lmdb do. The other part builds collections of small images, of growing
size, up to 100,000: time grows in proportion, memory does not. (What such an LMDB takes longest is
the disk: it has 20 GB. So the processor's time is shown too.)
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from datasets.decode import read_picture
from datasets.folders import DataFolder
from datasets.lmdb_writer import space_needed
from datasets.parallel import keep_memory
from lib.caffe.client import find_engine
from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import readable, require_space
from lib.machine import usable_cores

ROUNDS = 3


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="default: all cores")
    parser.add_argument("--scratch", type=Path, help="folder for the files (default: the system's)")
    args = parser.parse_args()
    large, small = (600, 8_000) if args.quick else (2_000, 100_000)
    program = _convert_imageset()
    scratch = Path(args.scratch or tempfile.gettempdir())
    require_space(scratch, 2 * space_needed(max(large, small)), "the benchmark's LMDBs")
    lmdb_version = importlib.metadata.version("lmdb")
    print(
        f"{args.workers} processes on {usable_cores()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, OpenCV {cv2.__version__}, lmdb {lmdb_version}, against "
        f"{program}"
    )
    with tempfile.TemporaryDirectory(prefix="bench-lmdb-", dir=scratch) as folder:
        _against_convert_imageset(
            Path(folder), program, large, 1 if args.quick else ROUNDS, args.workers
        )
        _in_proportion(Path(folder), small, args.workers)


def _convert_imageset() -> Path:
    beside = find_engine(threads=1).python.parent / "convert_imageset"
    found = beside if beside.exists() else shutil.which("convert_imageset")
    if not found:
        raise UserError(f"no convert_imageset beside {beside.parent} or on PATH; run `make caffe`")
    return Path(found)


def _against_convert_imageset(
    folder: Path, program: Path, number: int, rounds: int, workers: int
) -> None:
    images = folder / "large"
    names, size = _write_images(images, 40, 1_000_000)
    task = _write_task(folder / "task", images, [names[row % 40] for row in range(number)])
    theirs = folder / "theirs"

    def convert() -> None:
        shutil.rmtree(theirs, ignore_errors=True)
        options = ["--resize_height=256", "--resize_width=256"]
        command = [str(program), *options, f"{images}/", str(task.list("train")), str(theirs)]
        subprocess.run(command, check=True, capture_output=True)

    def build() -> None:
        _run_tool(task, images, workers)

    contenders: dict[str, Callable[[], float]] = {
        "convert_imageset": lambda: _seconds(convert),
        "make_lmdb": lambda: _seconds(build),
        "decode + resize alone": lambda: _bare(images, names, number, workers, plain),
        "the same, memory kept": lambda: _bare(images, names, number, workers, keep_memory),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    cpu = dict.fromkeys(contenders, 0.0)
    for _ in range(rounds):
        for name, seconds in contenders.items():
            before = _cpu_seconds()
            rates[name].append(number / seconds())
            cpu[name] += (_cpu_seconds() - before) / number / rounds
    print(f"\n{number:,} JPEGs of 1 megapixel, {readable(size)} each; median of {rounds} rounds")
    for name, found in rates.items():
        print(
            f"  {name:22} {statistics.median(found):6.1f} images/s, "
            f"{cpu[name] * 1e3:.2f} ms of processor time an image"
        )
    ours = rates["make_lmdb"]
    aims = {"convert_imageset": " (aim: 1.7)", "decode + resize alone": " (aim: 0.85)"}
    for name in [name for name in rates if name != "make_lmdb"]:
        ratio = statistics.median(a / b for a, b in zip(ours, rates[name], strict=True))
        print(f"  make_lmdb / {name}: {ratio:.2f}{aims.get(name, '')}")
    print(f"  load of the machine over this minute: {os.getloadavg()[0]:.1f}")


def _cpu_seconds() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _in_proportion(folder: Path, largest: int, workers: int) -> None:
    images = folder / "small"
    names, _ = _write_images(images, 500, 12_000)
    print(f"\ncollections of small images ({workers} processes)")
    first = None
    for number in (largest // 10, largest // 3, largest):
        listed = [names[row % len(names)] for row in range(number)]
        task = _write_task(folder / "proportion", images, listed)
        start, before = time.monotonic(), _cpu_seconds()
        peak = _run_tool(task, images, workers)
        seconds, cpu = time.monotonic() - start, (_cpu_seconds() - before) / number
        first = first or cpu
        print(
            f"  {number:7,} images: {seconds:6.1f} s ({number * 0.2007 / seconds:.0f} MB/s); "
            f"{cpu * 1e3:.2f} ms of processor time an image ({cpu / first:.2f} x the first); "
            f"peak memory {readable(peak)}"
        )
        shutil.rmtree(task.path)


def _run_tool(task: DataFolder, images: Path, workers: int) -> int:
    """Build with the tool itself; the peak of the memory that all its processes held, in bytes."""
    command = [sys.executable, "-m", "tools.lmdb", "--force", "--data", str(task.path)]
    command += ["--images", str(images), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            peak = max(peak, _memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise UserError(f"make_lmdb failed: {errors.decode(errors='replace').splitlines()[-1]}")
    return peak


def _memory(pid: int) -> int:
    """Bytes held by a process and its children; what they share counts once (PSS)."""
    total = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    except OSError:
        return total  # it has just ended
    return total


def plain() -> None:
    """Leave a process as it is."""


def _bare(
    images: Path, names: list[str], number: int, workers: int, prepare: Callable[[], None]
) -> float:
    """Seconds of decoding and resizing alone, in as many processes, their start not counted."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers + 1)
    paths = [str(images / name) for name in names]
    pool = [
        context.Process(
            target=_decode_share, args=(paths, range(share, number, workers), barrier, prepare)
        )
        for share in range(workers)
    ]
    for process in pool:
        process.start()
    barrier.wait()
    start = time.monotonic()
    for process in pool:
        process.join()
    return time.monotonic() - start


def _decode_share(
    paths: list[str], rows: range, barrier: threading.Barrier, prepare: Callable[[], None]
) -> None:
    prepare()
    cv2.setNumThreads(1)
    read_picture(paths[0])
    barrier.wait()
    for row in rows:
        read_picture(paths[row % len(paths)])


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _write_images(folder: Path, number: int, pixels: int) -> tuple[list[str], float]:
    """JPEGs with detail at all scales, as a painting has; their names and mean size in bytes."""
    folder.mkdir()
    random = np.random.default_rng(1)
    names = []
    for row in range(number):
        height = int(random.uniform(0.8, 1.25) * pixels**0.5)
        width = pixels // height
        picture = np.full((height, width, 3), 128, np.float32)
        for scale in (4, 8, 16, 32, 64, 128, 256, 512):
            noise = random.normal(0, 60 / scale**0.35, (scale, scale, 3)).astype(np.float32)
            picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        names.append(f"{row}.jpg")
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(folder / names[-1]), picture.clip(0, 255).astype(np.uint8), quality)
    sizes = [(folder / name).stat().st_size for name in names]
    return names, statistics.mean(sizes)


def _write_task(folder: Path, images: Path, listed: list[str]) -> DataFolder:
    task = DataFolder(folder)
    folder.mkdir(exist_ok=True)
    task.classes.write_text("only\n")
    task.list("train").write_text("".join(f"{name} 0\n" for name in listed))
    for part in ("val", "test"):
        task.list(part).write_text(f"{listed[0]} 0\n")
    return task


if __name__ == "__main__":
    run(main)
