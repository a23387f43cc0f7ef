"""Write requirements/*.lock: exact versions and SHA-256 of all Python packages, for every Python.

The ranges are those of pyproject.toml; a version that is locked and in range stays. uv finds the
versions, from wherever it is set up to look (its UV_ variables), in a folder that is thrown away.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import write_text

PROJECT = Path(__file__).resolve().parent.parent
LOCKS = PROJECT / "requirements"
BASE = "base"  # what every target needs; the others are the extras of pyproject.toml

_UV = "uv>=0.5,<1"
_OPTIONS = (
    "--universal", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links",
    "--no-header", "--no-annotate", "--quiet",
)  # fmt: skip
_HEADER = "# Made by `make lock` from pyproject.toml, for every Python that it names.\n"


def main() -> None:
    """Lock all needs, so that they agree."""
    parser = Parser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="take the newest versions in range")
    force = parser.parse_args().force
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = list(project["optional-dependencies"])
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder)
        uv = _uv(aside / "venv")
        together = aside / "together.lock"
        locked = LOCKS / "dev.lock"  # has those of all others
        if locked.is_file() and not force:
            shutil.copy(locked, together)
        _compile(uv, "--all-extras", "--output-file", str(together))
        for need in (BASE, *extras):
            made = aside / f"{need}.lock"
            extra = [] if need == BASE else ["--extra", need]
            _compile(uv, *extra, "--constraint", str(together), "--output-file", str(made))
            write_text(LOCKS / made.name, _HEADER + made.read_text(encoding="utf-8"))
            print(f"{(LOCKS / made.name).relative_to(PROJECT)}: written")


def _uv(venv: Path) -> Path:
    """The program uv, in a venv of its own."""
    _call("make a virtual environment", sys.executable, "-m", "venv", str(venv))
    _call("install uv", str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", _UV)
    return venv / "bin" / "uv"


def _compile(uv: Path, *words: str) -> None:
    _call("lock", str(uv), "pip", "compile", *_OPTIONS, *words, "pyproject.toml")


def _call(what: str, *words: str) -> None:
    done = subprocess.run(words, cwd=PROJECT, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    if done.returncode:
        raise UserError(f"could not {what}: {' '.join(done.stderr.split())}")


if __name__ == "__main__":
    run(main)
