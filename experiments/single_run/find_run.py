"""RUN=: from a part of a run's name, or `last`, to the run that is meant.

The order in which runs were finished is kept with them: each has a number in its file
`finished.txt`, one more than the highest there was. No clock counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from experiments.single_run.backups import is_backup
from experiments.single_run.folder import RUNS, RunFolder
from lib.errors import UserError, unknown
from lib.files import write_text

LAST = "last"

_NUMBER = "finished.txt"
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


def note_finished(run: RunFolder) -> int:
    """Write down that a run was finished (trained and tested) after all others; its number."""
    number = max((_number(path) for path in _runs(RUNS) if path != run.path), default=0) + 1
    if number > _number(run.path):
        write_text(run.path / _NUMBER, f"{number}\n")
    return number


def _last(paths: Iterable[Path], what: str) -> Path:
    """The run that was finished last; of runs from before this was noted, the only tested one."""
    tested = [path for path in paths if RunFolder(path).results.is_file()]
    if not tested:
        raise UserError(f"{what}={LAST}: no run is finished yet")
    numbers = {path: _number(path) for path in tested}
    highest = max(numbers.values())
    found = [path for path, number in numbers.items() if number == highest]
    if len(found) > 1:
        raise UserError(
            f"{what}={LAST}: which of the {len(found)} finished runs was last was not noted then; "
            "name one (`make status` lists them)"
        )
    return found[0]


def _runs(root: Path) -> list[Path]:
    """The folders of runs that have a record, without those that were moved aside."""
    return sorted(
        path.parent
        for path in root.glob("*/*/run.json")
        if not is_backup(path.parent) and not path.parent.name.startswith(".")
    )


def _number(run: Path) -> int:
    try:
        return int((run / _NUMBER).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
