"""A tool that is started by its path, where Python finds tools/ before the packages, says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# Those that say it, and the one that runs on any Python, by path or not.
_OTHERS = {"__init__", "lib", "datasets", "experiments", "check_python"}


def test_every_tool_says_in_one_line_how_to_run_it(tmp_path: Path) -> None:
    tools = {path.stem for path in (PROJECT / "tools").glob("*.py")} - _OTHERS
    assert {"caffe", "inspect", "lmdb", "prototxt", "test"} <= tools  # named as packages are
    running = {
        name: subprocess.Popen(
            [sys.executable, str(PROJECT / "tools" / f"{name}.py"), "--help"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in sorted(tools)
    }
    for name, process in running.items():
        out, err = process.communicate()
        said = f"error: run it in {PROJECT} as: python -m tools.{name}\n"
        assert (process.returncode, out, err) == (2, "", said)


def test_as_a_module_a_tool_runs() -> None:
    for name in ("inspect", "lmdb", "prototxt"):
        done = subprocess.run(
            [sys.executable, "-m", f"tools.{name}", "--help"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: python -m tools.{name}")
