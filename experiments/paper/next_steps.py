"""What to type after a run was tested: see the report, search, explain a misread painting."""

from __future__ import annotations

import shlex
from pathlib import Path

from experiments.paper.places import REPORT
from experiments.paper.predictions import images_root, read_predictions
from experiments.paper.report import build
from experiments.paper.valid_runs import RecordedRun, read_runs
from lib.errors import UserError


def next_steps(task: str, name: str, report: Path = REPORT) -> str:
    """Make the report where it is older than the run's test, and say three lines to go on with.

    '' for a run that the report leaves out.
    """
    records = read_runs()
    run = records.find(task, name)
    if run is None or run.results is None:
        return ""
    page = report / "index.html"
    if not page.is_file() or page.stat().st_mtime_ns < run.folder.results.stat().st_mtime_ns:
        try:
            build(records, report)
        except UserError as error:  # a full disk, say: the run itself is done and kept
            return f"the report could not be made: {error}"
    which = f"{task}/{name}"
    lines = [
        f"xdg-open {shlex.quote(str(page))}",
        f"make serve MODELS={shlex.quote(which)} TASK={shlex.quote(task)}",
    ]
    if misread := _misread(run):
        lines.append(f"make explain RUN={shlex.quote(which)} IMAGE={shlex.quote(misread)}")
    return "\n".join(["what next:", *(f"  {line}" for line in lines)])


def _misread(run: RecordedRun) -> str:
    """The file of the test image that the run was surest of, and wrong; else of any other."""
    try:
        said = read_predictions(run).sort_values("probability", ascending=False, kind="stable")
    except UserError:
        return ""
    wrong = said[~said["right"]]
    chosen = wrong if len(wrong) else said
    root = images_root(run)
    if root is None or not len(chosen):
        return ""
    path = root / str(chosen["image"].iloc[0])
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
