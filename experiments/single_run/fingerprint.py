"""What decides a run's weights, as hashes: to tell whether a run is of today's files."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from datasets.folders import PARTS, DataFolder
from lib.errors import UserError
from lib.files import sha256
from lib.text import require_caffe_text
from prototxt.read import read_solver

# Where the same numbers are computed is no other experiment.
_DEVICE = re.compile(rb"^\s*(solver_mode|device_id)\s*:.*$", re.MULTILINE)


def fingerprint(
    prototxts: Path, data: DataFolder, mean: Path, weights: Path | None
) -> dict[str, str]:
    """SHA-256 by name of the prototxts, lists, mean and starting weights of a run.

    The nets are those that the solver names, wherever they are. The solver's device is left out of
    its hash: a run may go on on another one.

    Raises UserError naming the first file that is missing and the command that makes it.
    """
    solver_file = prototxts / "solver.prototxt"
    if not solver_file.is_file():
        raise _missing(solver_file)
    nets = dict(zip(_nets(), map(Path, read_solver(solver_file).nets), strict=False))
    files = {
        **nets,
        "deploy": prototxts / "deploy.prototxt",
        "solver": solver_file,
        "classes": data.classes,
        **{part: data.list(part) for part in PARTS},
        "lmdb": data.lmdb_record,
        "mean": mean,
    }
    if weights:
        files["weights"] = weights
    for path in files.values():
        if not path.is_file():
            raise _missing(path)
        if path.suffix == ".prototxt":
            require_caffe_text(path)
    hashes = {name: sha256(path) for name, path in files.items()}
    solver = _DEVICE.sub(b"", files["solver"].read_bytes())
    return hashes | {"solver": hashlib.sha256(solver).hexdigest()}


def _nets() -> Iterator[str]:
    """What the files with a solver's nets are called, in order."""
    yield "train_val"
    for number in itertools.count(2):
        yield f"net {number}"


def _missing(path: Path) -> UserError:
    return UserError(f"{path} is missing: `make <task>` makes it, step by step")


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The names whose hashes differ, in order."""
    return [name for name in now | before if before.get(name) != now.get(name)]


def digest(inputs: dict[str, str]) -> str:
    """One word for all of a run's inputs."""
    return hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()


def git_commit() -> str | None:
    """The project's commit, with '+edited' when tracked files differ from it; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        edited = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+edited" if edited else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
