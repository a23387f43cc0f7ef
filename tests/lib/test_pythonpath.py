"""PYTHONPATH of the user's shell: under make only a foreign Caffe sees it, not our own Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SHOW = (
    "import json, os, sys; from lib.caffe.client import Engine; from pathlib import Path; "
    "print(json.dumps([sys.path, Engine(Path('x')).environment().get('PYTHONPATH')]))"
)


def seen_under_make(folder: Path, pythonpath: str, depth: int) -> tuple[list[str], str | None]:
    """Our Python's sys.path, and the PYTHONPATH that an engine gets, below `depth` makes."""
    makefile = folder / "Makefile"
    makefile.write_text(
        f"include {PROJECT}/Makefile\n"
        f'show-1: ; @cd {PROJECT} && {sys.executable} -c "{SHOW}"\n'
        f"show-2: ; @$(MAKE) --no-print-directory -f {makefile} show-1\n"
    )
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", str(makefile), f"show-{depth}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": pythonpath},
    )
    assert done.returncode == 0, done.stderr
    path, engines = json.loads(done.stdout.splitlines()[-1])
    return path, engines


def test_ros_on_pythonpath_is_ignored_and_handed_on(tmp_path: Path) -> None:
    for depth in (1, 2):  # also in a make that make calls
        path, engines = seen_under_make(tmp_path, f"/opt/ros:{tmp_path}/$cost", depth)
        assert not [folder for folder in path if folder.startswith(("/opt/ros", f"{tmp_path}"))]
        assert engines == f"/opt/ros:{tmp_path}/$cost"


def test_without_pythonpath_nothing_is_handed_on(tmp_path: Path) -> None:
    assert seen_under_make(tmp_path, "", 1)[1] is None
