"""Weights that lie in a source package of the Python registry, fetched by pip, never installed.

pip runs the setup.py of a source package to learn its metadata, so the package is pinned by its
SHA-256: nothing of it runs before that has been compared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lib.errors import UserError


def download(requirement: str, sha256: str, into: Path) -> Path:
    """Download the source package `name==version` into a folder; return its .tar.gz.

    Raises UserError with pip's last words when it can't be had or has another checksum.
    """
    name = requirement.partition("==")[0]
    pins = into / "requirements.txt"
    pins.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", f"--no-binary={name}"]
    command += ["--require-hashes", "--retries=2", "--dest", str(into), "-r", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = sorted(into.glob("*.tar.gz"))
    if done.returncode or not found:
        words = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = words[-1].removeprefix("ERROR: ") if words else "pip gave no reason"
        raise UserError(f"cannot download {requirement}: {why}")
    return found[0]
