"""Which of OpenBLAS's kernels is right and fastest on this processor: measured, then remembered.

OpenBLAS 0.3.13 picks a kernel by the processor's model. It may take a model newer than itself for a
very old one (Prescott: less than half the speed). So each kernel that the processor's flags allow
is timed on products as large as CaffeNet's, and checked.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lib.cli import progress
from lib.errors import UserError

TABLE = "blas-kernels.tsv"  # in .caffe: processor <tab> kernel; read by the launchers
OWN = "own"  # OpenBLAS's own choice
_MARGIN = 1.10  # how much faster another kernel must be to be preferred to OpenBLAS's own choice
_TRIAL = Path(__file__).resolve().parent / "kernel_trial.py"
_ROUNDS = 2
_SECONDS = 0.3  # of a trial
_NEEDS = {
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"},
}
_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd")


@dataclass(frozen=True)
class Trial:
    """How one kernel did: what OpenBLAS calls it, its speed, and whether its results are right."""

    asked: str
    core: str
    gflops: float
    right: bool


Round = dict[str, Trial]  # by the kernel's name, or OWN


def processor(cpuinfo: str | None = None) -> str:
    """The kind of processor, from /proc/cpuinfo: its name, numbers, and the flags that matter.

    The name alone would not do: virtual machines of different makes are all called "AMD EPYC".
    """
    if cpuinfo is None:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    values: dict[str, str] = {}
    for line in cpuinfo.split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        values[name.strip()] = value.removeprefix(" ")
    flags = set(values.get("flags", "").split())
    name, family, model = (values.get(key, "") for key in ("model name", "cpu family", "model"))
    words = [f"{name}, family {family}, model {model}", *(f for f in _FLAGS if f in flags)]
    return " ".join(words)


def known_kernel(folder: Path) -> str | None:
    """The kernel that was chosen for this processor, OWN, or None if it was never measured."""
    here = processor()
    table = folder / TABLE
    for line in table.read_text(encoding="utf-8").splitlines() if table.exists() else []:
        known, _, kernel = line.partition("\t")
        if known == here:
            return kernel
    return None


def choose_kernel(folder: Path) -> str:
    """Measure in the engine of `folder`, add the choice to its table, return a line of figures.

    Raises UserError if no kernel computes rightly.
    """
    flags = set(processor().split())
    kernels = [OWN, *(kernel for kernel, needs in _NEEDS.items() if needs <= flags)]
    trials = progress(kernels * _ROUNDS, what="BLAS kernel", unit="trials")
    results = [_try(folder, kernel) for kernel in trials]
    rounds = [
        {trial.asked: trial for trial in results[start : start + len(kernels)]}
        for start in range(0, len(results), len(kernels))
    ]
    chosen = best(rounds)
    with (folder / TABLE).open("a", encoding="utf-8") as table:
        table.write(f"{processor()}\t{chosen}\n")
    figures = [_words([one[kernel] for one in rounds]) for kernel in kernels]
    return f"{', '.join(figures)}: {_name(rounds[0][chosen])} is taken"


def best(rounds: list[Round]) -> str:
    """OpenBLAS's own choice, unless it is wrong or another right one is over 10 % faster.

    Faster in each round, that is: another job on the machine may slow down one trial.
    """
    right = [kernel for kernel in rounds[0] if all(one[kernel].right for one in rounds)]
    if not right:
        raise UserError("OpenBLAS computes wrongly on this processor with every kernel")
    if OWN not in right:
        return max(right, key=lambda kernel: max(one[kernel].gflops for one in rounds))

    def gain(kernel: str) -> float:
        return min(one[kernel].gflops / one[OWN].gflops for one in rounds)

    fastest = max(right, key=gain)
    return fastest if gain(fastest) > _MARGIN else OWN


def _try(folder: Path, kernel: str) -> Trial:
    """One kernel in a process of its own, with one thread: a wrong one may crash."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", OPENBLAS_CORETYPE=kernel)
    if kernel == OWN:
        del environment["OPENBLAS_CORETYPE"]
    python = folder / "root" / "usr" / "bin" / "python3.9"
    try:
        done = subprocess.run(
            [python, "-E", "-s", _TRIAL, str(_SECONDS)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return Trial(kernel, kernel, 0.0, right=False)
    if done.returncode:
        return Trial(kernel, kernel, 0.0, right=False)
    result = json.loads(done.stdout)
    return Trial(kernel, result["core"], result["gflops"], result["right"])


def _words(trials: list[Trial]) -> str:
    fastest = max(trials, key=lambda trial: trial.gflops)
    if all(trial.right for trial in trials):
        return f"{_name(fastest)} {fastest.gflops:.0f} GFLOPS"
    return f"{_name(fastest)} WRONG"


def _name(trial: Trial) -> str:
    return f"{trial.core} (OpenBLAS's own choice)" if trial.asked == OWN else trial.core
