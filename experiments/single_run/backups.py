"""Runs of other files than today's: backed up as RUN.old-1, RUN.old-2, ..., and restored."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from experiments.single_run import curve
from experiments.single_run.fingerprint import differences
from experiments.single_run.folder import RunFolder
from experiments.single_run.json_records import InvalidRecord
from experiments.single_run.run_json import read_run_record
from lib.errors import UserError

# What a training leaves that ended before it had computed anything.
_WITHOUT_WORK = {
    *("run.json", "caffe.log", "curve.csv", ".solver.in_use.prototxt"),
    *("train_val.prototxt", "deploy.prototxt", "solver.prototxt", "snapshots"),
}
_NAME = re.compile(r"(?P<run>.+)\.old-(?P<number>\d+)")


def is_backup(folder: Path) -> bool:
    """Whether a run's folder is a backup."""
    return _NAME.fullmatch(folder.name) is not None


def has_work(folder: RunFolder) -> bool:
    """Whether something was computed in a run's folder that it would be a pity to lose."""
    if folder.final.exists() or folder.best.exists() or any(folder.snapshots.glob("*")):
        return True
    try:
        return curve.reached(folder.curve) > 0
    except UserError:
        return True  # a curve that can't be read is no reason to write over it


def _has_other_files(folder: RunFolder) -> bool:
    """Whether a run's folder holds anything but what a training without work leaves."""
    return folder.path.exists() and any(
        path.name not in _WITHOUT_WORK for path in folder.path.iterdir()
    )


def back_up_run(folder: RunFolder) -> Path:
    """Move a run's folder to the next free RUN.old-N; return where it is now."""
    number = 1
    while (backup := _numbered(folder, number)).exists():
        number += 1
    folder.path.rename(backup)
    return backup


def restore_run(folder: RunFolder, inputs: dict[str, str]) -> str | None:
    """Put the newest backup that is of `inputs` in the place of `folder`.

    What is there now is backed up in its turn. Returns a sentence that says so, or None when
    there is no such run. Killed in between, the next call finds all there is.
    """
    for old in sorted(backups_of(folder), key=_number, reverse=True):
        try:
            record = read_run_record(old / folder.record.name)
        except InvalidRecord:
            continue
        if record is None or differences(record.inputs, inputs):
            continue
        instead = ""
        if has_work(folder) or _has_other_files(folder):
            instead = f", and what was there is now {back_up_run(folder)}"
        elif folder.path.exists():
            shutil.rmtree(folder.path)
        old.rename(folder.path)
        return f"{old.name} is of these very files: it is {folder.path} again{instead}"
    return None


def backups_of(folder: RunFolder) -> list[Path]:
    """The backups of a run."""
    return [
        path
        for path in folder.path.parent.glob("*.old-*")
        if (match := _NAME.fullmatch(path.name)) and match["run"] == folder.path.name
    ]


def _numbered(folder: RunFolder, number: int) -> Path:
    return folder.path.with_name(f"{folder.path.name}.old-{number}")


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match["number"]) if match else 0
