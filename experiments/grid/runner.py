"""Run all runs of a grid that are not done yet, as many side by side as there is room for.

On this machine: one run a GPU, or else as many as CPU cores and memory are there for. On several
machines: on the workers of a Dask scheduler, over a shared folder (--scheduler). A failed run stops
no other; interrupted, the same line goes on where it was.
"""

from __future__ import annotations

import signal
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from datasets.catalogue import RAW
from datasets.catalogue import missing as missing_material
from datasets.tasks import get_task
from experiments.grid import cost
from experiments.grid.dask_pool import DaskPool
from experiments.grid.definition import GRIDS, find_grid, load_grid, merge
from experiments.grid.machine import find_places
from experiments.grid.pool import Outcome, Pool, ThisMachine
from experiments.grid.prepare import prepare
from experiments.grid.run_one import REPEATED, STOPS
from experiments.grid.run_status import (
    DONE,
    FAILED,
    INTERRUPTED,
    RUNNING,
    Standing,
    make_log,
    stand,
)
from experiments.paper.counted import counted
from experiments.paper.table_files import write as write_table
from experiments.paper.tables import grid_table
from experiments.paper.valid_runs import read_runs
from experiments.single_run.folder import RUNS
from experiments.single_run.json_records import InvalidRecord
from experiments.single_run.plan import RunPlan
from experiments.single_run.results_json import read_results
from lib.cli import bar
from lib.errors import UserError
from lib.files import require_space

_TICK = 0.2  # seconds between two looks at what has ended
_LOOK = 5.0  # seconds between two looks at how far the runs are


@dataclass(frozen=True)
class Options:
    """How a grid is run; none of it decides what comes out."""

    raw: Path = RAW
    gpu: str = "auto"  # numbers of GPUs (0,1), none, auto: all
    threads: int | None = None  # BLAS threads of each run; None: as many as there is room for
    side_by_side: int | None = None  # runs at a time; None: as many as there is room for
    scheduler: str | None = None  # of Dask; None: this machine
    keep_all: bool = False  # snapshots
    skip_broken: bool = False  # images
    require_verified: bool = False  # weights


def run_grids(words: Sequence[str], options: Options) -> None:
    """Run the runs of these grids (names or files) that are not done yet; then their tables.

    Raises UserError, naming each failed run and why; KeyboardInterrupt when it was interrupted.
    """
    paths = [find_grid(word) for word in words]
    runs = merge(*(load_grid(path) for path in paths))
    outcomes = Grid(runs, options).go()
    _write_tables([path for path in paths if path.parent != GRIDS])
    _summarise(runs, outcomes)


class Grid:
    """One call's worth of a grid."""

    def __init__(self, runs: Sequence[RunPlan], options: Options) -> None:
        self.options = options
        self.runs = runs
        self.todo = [run for run in runs if stand(run.folder).state != DONE]
        self.interruptions = 0
        self.outcomes: list[Outcome] = []

    def go(self) -> list[Outcome]:
        """Run what is not done; what became of each. UserError before the start only."""
        done = len(self.runs) - len(self.todo)
        print(f"grid: {counted(len(self.runs), 'run')}, {done} done already")
        if not self.todo:
            return []
        words = [f"RAW={self.options.raw}"]
        words += ["REQUIRE_VERIFIED=1"] if self.options.require_verified else []
        data_words = [*words, *(["SKIP_BROKEN=1"] if self.options.skip_broken else [])]
        words += ["KEEP=all"] if self.options.keep_all else []
        with_material = [run for run in self.todo if self._has_material(run)]
        pool = self._pool(with_material, words)
        try:
            require_space(
                RUNS,
                cost.space(with_material, pool.side_by_side, keep_all=self.options.keep_all),
                f"{counted(len(with_material), 'run')} to do",
            )
            unready = {each.run: each.reason for each in prepare(self.todo, data_words)}
            self.outcomes = [Outcome(run, FAILED, why) for run, why in unready.items()]
            pool.begin([run for run in self.todo if run not in unready])
            self._follow(pool)
        finally:
            pool.close()
        return self.outcomes

    def _pool(self, runs: Sequence[RunPlan], words: Sequence[str]) -> ThisMachine | DaskPool:
        asked = self.options
        if asked.scheduler:
            threads = [f"THREADS={asked.threads or 1}"]
            return DaskPool(asked.scheduler, [*threads, *words], use_gpus=asked.gpu != "none")
        places = find_places(
            [run.settings for run in runs or self.todo],
            gpu=asked.gpu,
            side_by_side=asked.side_by_side,
            threads=asked.threads,
        )
        print(f"{len(places)} side by side, {places.threads} thread(s) each: {places.why}")
        return ThisMachine(places, words)

    def _has_material(self, run: RunPlan) -> bool:
        return not missing_material(get_task(run.task), self.options.raw)

    def _follow(self, pool: Pool) -> None:
        """Look after the pool until nothing is open, telling how far it is."""
        before = {number: signal.getsignal(number) for number in STOPS}
        for number in before:
            signal.signal(number, self._on_signal)
        progress = Progress(self.todo, self.outcomes)
        obeyed = 0
        try:
            while pool.open:
                if self.interruptions > obeyed:
                    obeyed += 1
                    if obeyed == 1:
                        progress.say("stopping: the runs end with a snapshot (again: at once)")
                        pool.stop()
                    else:
                        pool.kill()
                for outcome in pool.step():
                    self.outcomes.append(outcome)
                    progress.say(_line(outcome))
                progress.look(pool.side_by_side)
                time.sleep(_TICK)
        finally:
            progress.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        if obeyed:
            told = {outcome.run for outcome in self.outcomes}
            self.outcomes += [Outcome(run, INTERRUPTED) for run in self.todo if run not in told]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if not self.interruptions or number in REPEATED:
            self.interruptions += 1


class Progress:
    """One bar over all runs to do, each by its cost, with an ETA from measured speeds."""

    def __init__(self, runs: Sequence[RunPlan], outcomes: list[Outcome]) -> None:
        """`outcomes` grows as the runs end; it is read here, not written."""
        self.runs = runs
        self.outcomes = outcomes
        costs = {run: cost.work(run) for run in runs}
        known = [each for each in costs.values() if each]
        usual = sum(known) / len(known) if known else 1.0
        self.costs = {run: each or usual for run, each in costs.items()}
        self.total = round(sum(self.costs.values()))
        self.speeds = cost.measured(read_runs())
        self.next_look = 0.0
        self.bar = bar(
            what="grid",
            unit="image",
            total=self.total,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        )

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.bar.write(line)
        self.next_look = 0.0

    def look(self, side_by_side: int) -> None:
        """Show how far the runs are; cheap to call often."""
        if time.monotonic() < self.next_look:
            return
        ended = {outcome.run for outcome in self.outcomes}
        standings = {run: stand(run.folder) for run in self.runs if run not in ended}
        left = [
            ((1 - standing.share) * self.costs[run], standing.speed or self._speed(run, standings))
            for run, standing in sorted(
                standings.items(), key=lambda each: each[1].state != RUNNING
            )
        ]
        self.bar.n = round(self.total - sum(images for images, _ in left))
        running = sum(standing.state == RUNNING for standing in standings.values())
        failed = sum(outcome.state == FAILED for outcome in self.outcomes)
        self.bar.set_description_str(f"grid {len(ended)}/{len(self.runs)} runs", refresh=False)
        self.bar.set_postfix_str(
            f"{running} running, {failed} failed, "
            f"ETA {cost.in_words(cost.hours_left(left, side_by_side))}",
            refresh=False,
        )
        self.bar.update(0)
        self.next_look = time.monotonic() + _LOOK

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()

    def _speed(self, run: RunPlan, standings: dict[RunPlan, Standing]) -> float | None:
        """What is measured of runs like it: those of earlier records, else those of now."""
        if speed := self.speeds.of(run):
            return speed
        now = [standing.speed for standing in standings.values() if standing.speed]
        return sum(now) / len(now) if now else None


def _line(outcome: Outcome) -> str:
    where = f" on {outcome.where}" if outcome.where else ""
    took = f"{cost.in_words(outcome.seconds / 3600)}{where}" if outcome.seconds else ""
    if outcome.state == DONE:
        words = ", ".join(each for each in (_accuracy(outcome.run), outcome.reason, took) if each)
    else:
        reason = outcome.reason if outcome.reason != outcome.state else ""  # no word twice
        words = f"{textwrap.shorten(reason or 'stopped', 160, placeholder=' ...')}{where}"
    return f"{outcome.state:<12}{outcome.run}: {words}"


def _accuracy(planned: RunPlan) -> str:
    try:
        results = read_results(planned.folder.results)
    except InvalidRecord:
        return ""
    return f"test accuracy {results.top1:.1%}" if results else ""


def _summarise(runs: Sequence[RunPlan], outcomes: Sequence[Outcome]) -> None:
    """Say how it ended: UserError when runs failed, KeyboardInterrupt when it was interrupted."""
    counts = Counter(outcome.state for outcome in outcomes)
    done = len(runs) - len(outcomes) + counts[DONE]
    together = counted(len(runs), "run")
    print(f"grid: {done} of {together} done, {counts[DONE]} of them now; make report")
    failed = [outcome for outcome in outcomes if outcome.state == FAILED]
    for reason in dict.fromkeys(outcome.reason for outcome in failed):
        print(f"failed: {reason}")
        for outcome in failed:
            if outcome.reason == reason:
                log = make_log(outcome.run.folder)
                print(f"  {outcome.run}{f' ({log})' if log.exists() else ''}")
    if counts[INTERRUPTED]:
        raise KeyboardInterrupt(
            f"interrupted: {counted(counts[INTERRUPTED], 'run')} left; the same line goes on"
        )
    if failed:
        raise UserError(f"{len(failed)} of {together} failed (above); the same line tries again")


def _write_tables(own: Sequence[Path]) -> None:
    """The table of each grid of the user's own, as `make table` makes it."""
    records = read_runs()
    for path in own:
        shown, *_ = write_table(grid_table(path, records))
        print(f"table: {shown}")
