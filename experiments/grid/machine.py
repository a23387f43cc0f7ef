"""What this machine has for trainings side by side: GPUs, cores, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.caffe.device import pick_device
from lib.errors import UserError
from lib.machine import free_memory, usable_cores
from prototxt.settings import Settings

_DEVICE_BATCH = 32  # images at once where the settings leave it open
_FIXED, _PER_IMAGE = 1.35e9, 10.5e6  # bytes that a CaffeNet in training takes on the CPU


@dataclass(frozen=True)
class Places:
    """Where runs go: one at a time in each place."""

    gpus: tuple[str, ...]  # the GPU= of each place: a number, or none
    threads: int  # BLAS threads of each run
    why: str  # in words, why so many

    def __len__(self) -> int:
        return len(self.gpus)


def find_places(
    settings: Sequence[Settings], *, gpu: str, side_by_side: int | None, threads: int | None
) -> Places:
    """The places of this machine: as many as GPUs, or else as CPU cores and memory are there for.

    `gpu` is auto, none, or the numbers of GPUs: 0,2. `side_by_side` and `threads` are the user's
    own choice, or None. Two trainings with one BLAS thread each beat one with two, so on the CPU
    the threads are what is left of the cores. Asks the engine what it can; raises UserError when a
    GPU is asked for that it cannot use.
    """
    numbers = _gpus(gpu)
    cores = usable_cores()
    if numbers:
        places = tuple(numbers[: side_by_side or None])
        if side_by_side and side_by_side > len(numbers):  # several runs share a GPU, as asked
            places = tuple(numbers[place % len(numbers)] for place in range(side_by_side))
        return Places(
            places, threads or max(1, cores // len(places)), f"{len(numbers)} GPU(s) to use"
        )
    each = max(training_memory(one) for one in settings)
    free = free_memory()
    fitting = max(1, min(cores // (threads or 1), int(free / each)))
    count = side_by_side or fitting
    return Places(
        ("none",) * count,
        threads or max(1, cores // count),
        f"{cores} core(s), {free / 1e9:.1f} GB of memory free, {each / 1e9:.1f} GB a run",
    )


def training_memory(settings: Settings) -> float:
    """Bytes of main memory that one training of CaffeNet on the CPU takes.

    Measured on Caffe 1.0: 1.7 GB with 32 images at once (bench/grid.py), 4 GB with 256; make and
    the parent process included.
    """
    return _FIXED + _PER_IMAGE * (settings.device_batch or min(_DEVICE_BATCH, settings.batch))


def _gpus(asked: str) -> list[str]:
    """The numbers of the GPUs to use; none at all for the CPU."""
    if asked == "none":
        return []
    if asked == "auto":
        found: list[str] = []
        while _works(str(len(found))):
            found.append(str(len(found)))
        return found
    numbers = asked.split(",")
    for number in numbers:
        if not number.isdigit():
            raise UserError(f"GPU={asked}: numbers of GPUs (0,1), none or auto")
        pick_device(number, 1)
    return numbers


def _works(number: str) -> bool:
    try:
        device = pick_device("auto" if number == "0" else number, 1)
    except UserError:
        if number == "0":
            raise  # no engine at all
        return False
    return device.gpu is not None
