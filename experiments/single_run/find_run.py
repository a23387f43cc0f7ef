"""RUN=: from a part of a run's name, or `last`, to the run that is meant.

The order in which runs were trained is in their records: each has a number, one more than the
highest there was. No clock counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from experiments.single_run.backups import is_backup
from experiments.single_run.folder import RUNS, RunFolder
from experiments.single_run.json_records import InvalidRecord
from experiments.single_run.run_json import read_run_record
from lib.errors import UserError, unknown

LAST = "last"

_FEW = 6  # runs that a message names


def find_run(word: str, task: str | None = None, what: str = "RUN") -> RunFolder:
    """The run that `word` means: <task>/<run>, <run>, any part of that only one run has, or `last`.

    With `task` only its runs are looked at. Raises UserError, naming the variable `what` and the
    nearest runs or those that it may mean.
    """
    runs = {f"{path.parent.name}/{path.name}": path for path in _runs(RUNS)}
    if task:
        runs = {name: path for name, path in runs.items() if path.parent.name == task}
    if not runs:
        raise UserError(f"{what}={word}: no runs {f'of {task} ' if task else ''}yet")
    if word == LAST:
        return RunFolder(_last(runs.values(), what))
    word = word.strip("/")
    exact = [path for name, path in runs.items() if word in (name, path.name)]
    found = [runs[word]] if word in runs else exact
    found = found or [path for name, path in runs.items() if word and word in name]
    if not found:
        raise unknown(f"run (of {what}=)", word, [*runs, LAST])
    if len(found) > 1:
        names = [f"{path.parent.name}/{path.name}" for path in found]
        more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
        raise UserError(
            f"{what}={word} may be {', '.join(names[:_FEW])}{more}: name more of one of them"
        )
    return RunFolder(found[0])


def number_of(run: RunFolder) -> int:
    """The how many-th training this was, of those that came to their end; 0 where none knows."""
    try:
        record = read_run_record(run.record)
    except InvalidRecord:
        return 0
    return record.number if record else 0


def highest_number() -> int:
    """The number of the last training that came to its end, of runs backed up too."""
    return max((number_of(RunFolder(path.parent)) for path in RUNS.glob("*/*/run.json")), default=0)


def _last(paths: Iterable[Path], what: str) -> Path:
    """Of the tested runs the one that was trained last."""
    tested = [path for path in paths if RunFolder(path).results.is_file()]
    if not tested:
        raise UserError(f"{what}={LAST}: no run is tested yet")
    numbers = {path: number_of(RunFolder(path)) for path in tested}
    highest = max(numbers.values())
    found = [path for path, number in numbers.items() if number == highest]
    if len(found) > 1:
        raise UserError(
            f"{what}={LAST}: their records do not say which of {len(found)} tested runs was "
            "trained last; name one (`make status` lists them)"
        )
    return found[0]


def _runs(root: Path) -> list[Path]:
    """The folders of runs that have a record, without backups."""
    return sorted(
        path.parent
        for path in root.glob("*/*/run.json")
        if not is_backup(path.parent) and not path.parent.name.startswith(".")
    )
