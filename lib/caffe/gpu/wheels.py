"""Programs and libraries that come as wheels: CMake, Ninja, and what a CUDA toolkit lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lib.caffe.gpu.stages import digest, is_made, making
from lib.caffe.install.download import pip_reason
from lib.errors import UserError

HERE = Path(__file__).resolve().parent
BUILD_TOOLS = HERE / "tools.requirements"


def install_wheels(requirements: list[str], into: Path) -> Path:
    """Let pip install the pinned `requirements` (with their hashes) into a folder of their own.

    Raises UserError in pip's words.
    """
    text = "\n".join(sorted(requirements)) + "\n"
    made_by = digest(text)
    if is_made(into, made_by):
        return into
    names = ", ".join(line.split(" --hash", 1)[0] for line in sorted(requirements))
    print(f"wheels to install into {into}: {names}", flush=True)
    with making(into, made_by) as aside:
        listed = aside / "requirements.txt"
        listed.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
        command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"]
        done = subprocess.run(
            [*command, "--target", str(aside), "--requirement", str(listed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise UserError(f"pip could not install {names}: {pip_reason(done.stderr)}")
    return into


def read_requirements(path: Path) -> list[str]:
    """The lines of a requirements file, without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
