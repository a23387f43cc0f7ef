"""Of which task and runs a figure is to be: the paper's, or a user's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from datasets.catalogue import RAW
from experiments.paper.seed_groups import in_words
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run import run_json as states
from experiments.single_run.plan import RunPlan, without_seed
from prototxt.settings import PAPER, Settings

PAPER_IN_WORDS = "100 epochs at a learning rate of 1e-4, as in the paper"


@dataclass(frozen=True)
class Choice:
    """What a user may choose instead of what the paper shows. None, "": the paper's."""

    task: str | None = None
    init: str = "hybrid"
    run: str | None = None
    settings: Settings = PAPER
    raw: Path = RAW  # where the catalogues and images are

    def heading(self, number: str) -> str:
        """'Figure 5', or for another task, run or settings than the paper's what it is like."""
        is_papers = not self.task and not self.run and without_seed(self.settings) == PAPER
        return f"Figure {number}" if is_papers else f"As Figure {number}, of your own runs"

    def name(self, number: str) -> str:
        """The name of the figure's files: fig5, or fig5-<task>."""
        return f"fig{number}-{self.task}" if self.task else f"fig{number}"

    @property
    def settings_in_words(self) -> str:
        """A sentence for captions."""
        return f"Settings: {in_words('', self.settings).lstrip(', ') or PAPER_IN_WORDS}."


def pick(records: Records, wanted: RunPlan) -> RecordedRun | None:
    """The run with the lowest seed that is the wanted one in all else, trained or on its way.

    One that was edited by hand only where there is no other.
    """
    found = [
        run
        for run in records.runs
        if (run.task, run.plan.init, run.plan.scenario, run.plan.split)
        == (wanted.task, wanted.init, wanted.scenario, wanted.split)
        and without_seed(run.plan.settings) == without_seed(wanted.settings)
        and run.folder.curve.is_file()
    ]
    # A finished one before one on its way, one of the standard name before others.
    return min(
        found,
        key=lambda run: (
            bool(run.edits),
            run.state != states.TRAINED,
            run.plan.split_seed,
            run.plan.settings.seed,
            run.name != run.plan.name,
            run.name,
        ),
        default=None,
    )


def inits_of(records: Records, task: str, settings: Settings, first: Iterable[str]) -> list[str]:
    """The inits of `first`, then all others that a task has runs of with these settings."""
    found = {
        run.plan.init
        for run in records.runs
        if run.task == task and without_seed(run.plan.settings) == without_seed(settings)
    }
    known = list(first)
    return [*known, *sorted(found - set(known))]


def edited(runs: Iterable[RecordedRun]) -> list[str]:
    """A remark on each run that was edited by hand."""
    return [f"{run.task}/{run.name}: {run.edits}" for run in runs if run.edits]
