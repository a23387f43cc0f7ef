"""What a run is: task, init, scenario, settings and split; made once and handed on.

Its name, its folders, its make line follow from it, and nothing is ever read back out of a name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from datasets.folders import SPLITS, DataFolder, data_folder
from experiments.single_run.folder import RunFolder, check_run_name, prototxt_folder, run_folder
from lib.errors import unknown
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings

DEFAULT_INIT = "hybrid"  # of the paper's inits the best on most tasks (Table 2)
DEFAULT_SCENARIO = "all"

# Settings that change nothing but how the same numbers are computed stay out of the name.
_UNNAMED = {"device_batch"}


@dataclass(frozen=True)
class RunPlan:
    """One run, done or not. Two with the same task and name are the same run."""

    task: str
    init: str = DEFAULT_INIT
    scenario: str = DEFAULT_SCENARIO
    settings: Settings = PAPER
    split: str = "by_image"
    split_seed: int = 1
    own_name: str = ""  # the user's (RUN=); without it: the standard name

    @property
    def name(self) -> str:
        """Its name."""
        return self.own_name or standard_name(self)

    @property
    def has_standard_name(self) -> bool:
        """Whether its name says what it is."""
        return self.name == standard_name(self)

    @property
    def data(self) -> DataFolder:
        """The lists and LMDBs that it learns from."""
        return data_folder(self.task, seed=self.split_seed, split=self.split)

    @property
    def folder(self) -> RunFolder:
        """Where it is kept."""
        return run_folder(self.task, self.name)

    @property
    def prototxts(self) -> Path:
        """Where its prototxts are made, and may be edited by hand."""
        return prototxt_folder(self.task, self.name)

    @property
    def words(self) -> list[str]:
        """What to type after `make` to get it: the task, and what is not the paper's."""
        said = [self.task, f"INIT={self.init}", f"SCENARIO={self.scenario}"]
        for each in fields(Settings):
            value = getattr(self.settings, each.name)
            if value != getattr(PAPER, each.name):
                said.append(f"{each.name.upper()}={_plain(value)}")
        if self.split != "by_image":
            said.append(f"SPLIT={self.split}")
        if self.split_seed != 1:
            said.append(f"SPLIT_SEED={self.split_seed}")
        if self.own_name:
            said.append(f"RUN={self.own_name}")
        return said

    @property
    def make_line(self) -> str:
        """The make line that makes this run."""
        return " ".join(["make", *self.words])

    def named(self, name: str) -> RunPlan:
        """The same run under the user's own name; '' for the standard one."""
        return replace(self, own_name=name)

    def check(self) -> None:
        """Raise UserError for a scenario, split or name that there can't be."""
        if self.scenario not in SCENARIOS:
            raise unknown("scenario", self.scenario, SCENARIOS)
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        check_run_name(self.name)

    def __str__(self) -> str:
        return f"{self.task}/{self.name}"


def standard_name(plan: RunPlan) -> str:
    """The name that `make <task>` gives a run: init and scenario, then what is not the paper's.

    Two runs with different numbers have different names.
    """
    parts = [plan.init.replace("run:", "run.").replace("/", "."), plan.scenario]
    for each in fields(Settings):
        value = getattr(plan.settings, each.name)
        if each.name not in _UNNAMED and value != getattr(PAPER, each.name):
            parts.append(f"{each.name}{_short(value)}")
    suffix = plan.data.path.name.removeprefix(plan.task)
    return "-".join(parts) + (f"-data{suffix}" if suffix else "")


def without_seed(settings: Settings) -> Settings:
    """The settings with the paper's seed, and without where it was computed."""
    return replace(settings, seed=PAPER.seed, device_batch=PAPER.device_batch)


def _short(value: float | str) -> str:
    """A setting's value in a name, as short as tells it from any other."""
    if isinstance(value, str):
        return value.replace("/", ".")
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _plain(value: float | str) -> str:
    """As a user would type it: 20 and not 20.0."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(value)
