"""Say what this machine has for the experiments, what is missing, and how to get it.

Exit code 0 when the main job can run (Python packages, Caffe and disk space are there), else 1.
Weights and sources that are missing are named with what gets them, and count as no fault.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from lib.caffe.client import GPU_BUILD, INSTALLED, find_engine
from lib.caffe.gpu.build import describe, read_record
from lib.caffe.install.blas import processor_flags
from lib.caffe.install.build import is_intact
from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import readable

PROJECT = Path(__file__).resolve().parent.parent
_SPACE = 3_000_000_000  # bytes: a small task's LMDBs and a run's snapshots, 0.5 GB each
# OpenBLAS's kernels without AVX2; on a processor that has it they take up to twice the time.
_OLD_KERNELS = ("Prescott", "Core2", "Penryn", "Nehalem", "Opteron", "Barcelona", "Sandybridge")

OK, MISSING, FAULT = "ok", "-", "FAULT"


@dataclass(frozen=True)
class Finding:
    """One line of the report. Only a FAULT keeps the main job from running."""

    mark: str  # OK, MISSING or FAULT
    words: str


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--raw", type=Path, default=Path("datasets/raw"), help="raw material (datasets/raw)"
    )
    arguments = parser.parse_args()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = check_packages(project["dependencies"])
    faults = _tell("Python packages", packages)
    faults += _tell("Caffe", check_engine())
    faults += _tell("GPU", check_gpu())
    faults += _tell("Disk", check_disk(PROJECT))
    if all(finding.mark == OK for finding in packages):
        _tell("Weights", check_weights())
        _tell("Sources", check_sources(arguments.raw))
    if faults:
        print("\nThe main job cannot run yet: see FAULT above.")
        sys.exit(1)
    print("\nThe main job can run.")


def check_packages(requirements: Iterable[str]) -> list[Finding]:
    """The Python packages of pyproject.toml: there, and in range?"""
    faults = []
    number = 0
    for line in requirements:
        wanted = Requirement(line)
        number += 1
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(Finding(FAULT, f"{wanted.name} is missing; make venv"))
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            words = f"{wanted.name} is {version}, {wanted.specifier} is needed; make venv"
            faults.append(Finding(FAULT, words))
    if faults:
        return faults
    python = f"Python {platform.python_version()} ({sys.executable})"
    return [Finding(OK, f"{python}, all {number} packages of pyproject.toml in range")]


def check_engine() -> list[Finding]:
    """The engine: its Caffe, whether that can use a GPU, and how it multiplies matrices."""
    try:
        engine = find_engine()
        about = engine.call("about", {"gpu": 0})
    except UserError as error:
        return [Finding(FAULT, str(error))]
    findings = [
        Finding(
            OK,
            f"Caffe {about['caffe']} in Python {about['python']} with numpy {about['numpy']} "
            f"({engine.python})",
        ),
        Finding(OK, "can use GPU 0" if about["gpu"] else "CPU only (or there is no GPU 0)"),
        judge_blas(about, processor_flags()),
    ]
    if built := read_record(GPU_BUILD.parent.parent):
        chosen = "taken" if engine.python == GPU_BUILD else "not taken"
        findings.append(
            Finding(OK, f"`make caffe-gpu` built Caffe with {describe(built)}: {chosen}")
        )
    if engine.python == INSTALLED and not is_intact(INSTALLED.parent.parent):
        findings.append(Finding(FAULT, ".caffe is damaged or out of date; make caffe"))
    return findings


def judge_blas(about: dict[str, Any], flags: Collection[str]) -> Finding:
    """The BLAS of an engine on a processor with these flags: is it a slow one?"""
    blas = about["blas"]
    if not blas:
        return Finding(OK, "BLAS: not found among the engine's libraries")
    words = f"BLAS: {blas}"
    if about["blas_version"]:
        words += f", OpenBLAS {about['blas_version']}"
    if about["blas_kernel"]:
        words += f", kernel {about['blas_kernel']}, {about['threads']} threads"
    if Path(blas).name.startswith("libblas"):
        return Finding(MISSING, f"{words}: the slow reference BLAS; install OpenBLAS for it")
    if about["blas_kernel"] in _OLD_KERNELS and {"avx2", "fma"} <= set(flags):
        words += ": a slow kernel for this processor; OPENBLAS_CORETYPE=Haswell is faster"
        return Finding(MISSING, words)
    return Finding(OK, words)


def check_gpu() -> list[Finding]:
    """What nvidia-smi says is in the machine."""
    if not shutil.which("nvidia-smi"):
        return [Finding(MISSING, "no nvidia-smi: training runs on the CPU")]
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total,driver_version"]
    try:
        done = subprocess.run(
            [*query, "--format=csv,noheader"], capture_output=True, text=True, timeout=30
        )
    except subprocess.TimeoutExpired:
        return [Finding(MISSING, "nvidia-smi does not answer")]
    if done.returncode:
        return [Finding(MISSING, f"nvidia-smi: {(done.stdout + done.stderr).strip()}")]
    findings = [Finding(OK, f"GPU {line}") for line in done.stdout.splitlines()]
    if findings and not GPU_BUILD.exists() and "CAFFE_PYTHON" not in os.environ:
        findings.append(Finding(MISSING, "no Caffe for this GPU yet; make caffe-gpu"))
    return findings


def check_disk(folder: Path) -> list[Finding]:
    """The space on the project's disk."""
    free = shutil.disk_usage(folder).free
    words = f"{readable(free)} free for {folder}"
    if free < _SPACE:
        return [Finding(FAULT, f"{words}: free {readable(_SPACE)}, or move the project")]
    return [Finding(OK, words)]


def check_weights() -> list[Finding]:
    """Every init's weights and mean."""
    from models.cards import init_names
    from models.store import MISSING as NOT_THERE
    from models.store import state

    states = [state(init) for init in init_names()]
    return [Finding(MISSING if s.status == NOT_THERE else OK, f"{s.init}: {s}") for s in states]


def check_sources(raw: Path) -> list[Finding]:
    """Every source that a task draws from: its catalogue and images."""
    from datasets.catalogue import missing
    from datasets.tasks import load_tasks

    findings = []
    folders = {task.folder(raw): task for task in load_tasks().values()}
    for folder, task in folders.items():
        lacks = missing(task, raw)
        findings += [Finding(MISSING, words) for words in lacks]
        if not lacks:
            findings.append(Finding(OK, f"{task.source}: catalogue and images are in {folder}/"))
    return findings


def _tell(title: str, findings: list[Finding]) -> int:
    """Print one part of the report; returns the number of faults."""
    print(title)
    for finding in findings:
        print(f"  {finding.mark:5}  {finding.words}")
    return sum(finding.mark == FAULT for finding in findings)


if __name__ == "__main__":
    run(main)
