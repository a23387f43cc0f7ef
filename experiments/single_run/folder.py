"""What a run is called and where its files lie: the one home of that knowledge."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from lib.cli import Parser
from lib.cli import run as run_tool
from lib.errors import UserError, unknown
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings, add_settings_flags, settings_from

RUNS = Path("experiments/runs")
PROTOTXTS = Path("prototxt")

# Settings that change nothing but how the same numbers are computed stay out of the name.
_UNNAMED = {"device_batch"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training, and what lies in it."""

    path: Path

    @property
    def record(self) -> Path:
        """run.json: all settings, engine, hashes, times."""
        return self.path / "run.json"

    @property
    def train_val(self) -> Path:
        """The very net that ran."""
        return self.path / "train_val.prototxt"

    @property
    def deploy(self) -> Path:
        """The net for single images that belongs to the weights."""
        return self.path / "deploy.prototxt"

    @property
    def solver(self) -> Path:
        """The very solver that ran."""
        return self.path / "solver.prototxt"

    @property
    def log(self) -> Path:
        """Caffe's own log of the training."""
        return self.path / "caffe.log"

    @property
    def curve(self) -> Path:
        """Loss, learning rate, validation accuracy over the iterations."""
        return self.path / "curve.csv"

    @property
    def snapshots(self) -> Path:
        """Caffe's snapshots, each with a marker that says that it is whole."""
        return self.path / "snapshots"

    @property
    def final(self) -> Path:
        """The weights after the last iteration: those that are tested."""
        return self.path / "final.caffemodel"

    @property
    def best(self) -> Path:
        """The weights with the best validation accuracy."""
        return self.path / "best.caffemodel"

    @property
    def results(self) -> Path:
        """results.json: the test metrics."""
        return self.path / "results.json"


def run_name(init: str, scenario: str, settings: Settings, data_suffix: str = "") -> str:
    """The name of a run: init and scenario, then whatever differs from the paper's settings.

    `data_suffix` tells apart runs on other splits of the same task ('-seed2', '-by_work').
    """
    parts = [init.replace("run:", "run.").replace("/", "."), scenario]
    for each in fields(Settings):
        value = getattr(settings, each.name)
        if each.name not in _UNNAMED and value != getattr(PAPER, each.name):
            parts.append(f"{each.name}{_short(value)}")
    return "-".join(parts) + (f"-data{data_suffix}" if data_suffix else "")


def _short(value: float) -> str:
    """A number, as short as tells it from any other."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def run_folder(task: str, name: str) -> RunFolder:
    """The folder of a run of a task."""
    return RunFolder(RUNS / task / name)


def prototxt_folder(task: str, name: str) -> Path:
    """Where the prototxts of a run are made, and may be edited by hand."""
    return PROTOTXTS / task / name


def check_run_name(name: str) -> None:
    """Raise UserError unless `name` can be a folder and a word in make and prototxt."""
    if not _NAME.fullmatch(name):
        raise UserError(f"RUN={name}: a run's name is letters, digits and . _ + - only")


def main() -> None:
    """Print the name that a run's settings give it."""
    parser = Parser(description=main.__doc__)
    parser.add_argument("--init", required=True, help="weights that training starts from")
    parser.add_argument("--scenario", default="all", help="which layers learn")
    parser.add_argument("--data-suffix", default="", help="suffix of the data folder, if any")
    add_settings_flags(parser)
    arguments = parser.parse_args()
    if arguments.scenario not in SCENARIOS:
        raise unknown("scenario", arguments.scenario, SCENARIOS)
    print(
        run_name(
            arguments.init, arguments.scenario, settings_from(arguments), arguments.data_suffix
        )
    )


if __name__ == "__main__":
    run_tool(main)
