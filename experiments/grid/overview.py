"""Say how the runs of the paper, or of a grid, stand, what is left will cost, and the disk used."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.grid import cost
from experiments.grid.definition import find_grid, load_grid, merge
from experiments.grid.run_status import (
    DONE,
    FAILED,
    INTERRUPTED,
    MISSING,
    RUNNING,
    Standing,
    make_log,
    stand,
)
from experiments.paper.counted import counted
from experiments.paper.valid_runs import InvalidRecord, RecordedRun, Records, read_runs
from experiments.single_run.backups import is_backup
from experiments.single_run.folder import PROTOTXTS, RUNS
from experiments.single_run.plan import RunPlan
from lib.files import readable

PAPER = ("table2", "table3", "table4", "figures")
_DATASETS = Path("datasets")
_MODELS = Path("models")


def show(words: Sequence[str] = PAPER, *, missing_too: bool = False) -> None:
    """Print the state of the runs of each grid (names or files), then times and disk.

    With `missing_too` each run that is missing is named.
    """
    grids = {word: load_grid(find_grid(word)) for word in words}
    runs = merge(*grids.values())
    records = read_runs()
    standings = {run: stand(run.folder) for run in runs}
    by_name = {str(run): standing for run, standing in standings.items()}
    for word, planned in grids.items():
        print(f"{word:<10} {_counts([by_name[str(each)] for each in planned])}")
    if len(grids) > 1:
        print(f"{'together':<10} {_counts(list(standings.values()))}")
    _print_runs(standings, missing_too=missing_too)
    _print_edited(records, runs)
    _print_others(records, runs)
    _print_invalid(records.invalid)
    _print_cost(standings, records)
    _print_disk()


def _counts(standings: Sequence[Standing]) -> str:
    counts = Counter(standing.state for standing in standings)
    words = [
        f"{counts[state]} {state}"
        for state in (DONE, RUNNING, FAILED, INTERRUPTED, MISSING)
        if counts[state]
    ]
    return f"{counted(len(standings), 'run')}: {', '.join(words)}"


def _print_runs(standings: dict[RunPlan, Standing], *, missing_too: bool) -> None:
    """The runs that are neither done nor missing, with the reason; if asked, the missing too."""
    for state in (RUNNING, INTERRUPTED, FAILED, MISSING):
        found = [(run, each) for run, each in standings.items() if each.state == state]
        if not found or (state == MISSING and not missing_too):
            continue
        print(f"\n{state}:")
        for planned, standing in found:
            log = make_log(planned.folder) if state == FAILED else None
            words = [_details(standing), f"see {log}" if log and log.exists() else ""]
            told = "; ".join(word for word in words if word)
            print(f"  {planned}{f': {told}' if told else ''}\n    {planned.make_line}")


def _print_edited(records: Records, runs: Sequence[RunPlan]) -> None:
    """The planned runs that are not what was planned."""
    planned = {(run.task, run.name) for run in runs}
    edited = [run for run in records.runs if (run.task, run.name) in planned and run.edits]
    if edited:
        print("\nedited by hand, so experiments of their own:")
        for each in edited:
            print(f"  {each.task}/{each.name}: {_told(each)}")


def _print_others(records: Records, runs: Sequence[RunPlan]) -> None:
    planned = {(run.task, run.name) for run in runs}
    others = [each for each in records.runs if (each.task, each.name) not in planned]
    if others:
        print(f"\nother runs: {len(others)}")
        for other in others:
            print(f"  {other.task}/{other.name}: {_told(other)}")


def _told(other: RecordedRun) -> str:
    return f"{_stands(other)}, {other.edits}" if other.edits else _stands(other)


def _stands(other: RecordedRun) -> str:
    if other.results is not None:
        return f"done, test accuracy {other.accuracy:.1%}"
    standing = stand(other.folder)
    if standing.trained:
        return standing.reason
    if standing.state == DONE:
        return "done, but its results are not counted: see below"
    details = _details(standing)
    return f"{standing.state}, {details}" if details else standing.state


def _details(standing: Standing) -> str:
    """How far a run is, how fast, and why it is not done, as far as that is known."""
    if standing.trained:
        return standing.reason
    speed = f", {standing.speed:.1f} images/s" if standing.speed else ""
    share = f"{standing.share:.0%}{speed}" if standing.share else ""
    reason = standing.reason if standing.reason != standing.state else ""  # no word twice
    return "; ".join(word for word in (share, reason) if word)


def _print_invalid(invalid: Sequence[InvalidRecord]) -> None:
    if invalid:
        print("\nrecords that no table counts:")
        for each in invalid:
            print(f"  {each}")


def _print_cost(standings: dict[RunPlan, Standing], records: Records) -> None:
    """Images and hours of what is left, at the speeds of this project's own records."""
    left = {run: each for run, each in standings.items() if each.state != DONE}
    if not left:
        return
    speeds = cost.measured(records)
    works = {run: cost.work(run) for run in left}
    todo = [
        ((1 - standing.share) * (works[run] or 0), standing.speed or speeds.of(run))
        for run, standing in left.items()
    ]
    print(
        f"\nleft: {counted(len(left), 'run')}, "
        f"{counted(round(sum(images for images, _ in todo)), 'image')} to go through"
    )
    if unknown := sorted({run.task for run, images in works.items() if images is None}):
        print(f"  not counted, because their lists are not made yet: {', '.join(unknown)}")
    for scenario, speed in sorted(speeds.by_scenario.items()):
        print(f"  {scenario:<12} {speed:,.1f} images/s measured, validations included")
    hours = cost.hours_left(todo, 1)
    print(f"  one after the other: {cost.in_words(hours)}{'; side by side less' if hours else ''}")
    free = shutil.disk_usage(".").free
    print(f"  disk: up to {readable(cost.space(left, 1))} more; {readable(free)} are free")


def _print_disk() -> None:
    print("\ndisk used:")
    for folder in (RUNS, PROTOTXTS, _DATASETS, _MODELS):
        print(f"  {folder!s:<17} {readable(_size(folder))}")
    backups = [path for path in RUNS.glob("*/*") if path.is_dir() and is_backup(path)]
    if backups:
        size, runs = readable(sum(map(_size, backups))), counted(len(backups), "run")
        print(f"  of {RUNS}, {size} in {runs} backed up, which nothing needs:")
        for path in sorted(backups):
            print(f"    {path}")


def _size(folder: Path) -> int:
    """Bytes on disk of all files in a folder; links are not followed."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(root, name)).st_blocks * 512
            except OSError:
                continue  # gone since
    return total
