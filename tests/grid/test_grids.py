"""Grid files: which runs they plan, what they share, and what is refused."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.grid.definition import GRIDS, find_grid, load_grid, merge
from experiments.single_run.plan import RunPlan
from experiments.single_run.plan_flags import add_plan_flags, plan_from
from lib.cli import Parser
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings
from tests.small_world import PROJECT

TABLES = PROJECT / GRIDS
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a grid file."""

    def grid(text: str) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return grid


def table(name: str) -> list[RunPlan]:
    return load_grid(TABLES / f"{name}.toml")


def test_tables_2_and_3_share_their_common_runs() -> None:
    two, three = table("table2"), table("table3")
    assert (len(two), len(three)) == (45, 45)
    together = merge(two, three)
    assert len(together) == 81
    assert together[:45] == two
    shared = {run.name for run in two} & {run.name for run in three}
    assert shared == {"hybrid-all"}


def test_the_tables_are_the_papers() -> None:
    two, three = table("table2"), table("table3")
    tasks = {run.task for run in two}
    assert len(tasks) == 9
    assert {run.init for run in two} == {"hybrid", "memnet", "sentiment", "caffenet", "flickr"}
    assert {run.scenario for run in two} == {"all"}
    assert {run.task for run in three} == tasks
    assert {run.init for run in three} == {"hybrid"}
    assert [run.scenario for run in three[:5]] == list(SCENARIOS)
    assert {run.settings for run in two + three} == {PAPER}


def test_the_short_schedule_is_the_texts() -> None:
    runs = table("table4")
    assert len(runs) == 9
    assert {run.settings for run in runs} == {
        Settings(epochs=20, lr=1e-3, lr_step_epochs=5, lr_gamma=0.1)
    }
    assert not {run.name for run in runs} & {run.name for run in table("table3")}


def test_figures_5_and_6_need_eight_runs_more() -> None:
    tables = merge(table("table2"), table("table3"))
    assert len(merge(tables, table("figures"))) == 81 + 8


def test_a_grid_of_ones_own_is_the_product_of_its_lists(write: Write) -> None:
    runs = load_grid(
        write("""
[[runs]]
tasks = ["wga_genre", "met_nationality"]
inits = ["scratch", "caffe", "run:met_nationality/first"]
scenarios = ["all", "only_last"]
seeds = [1, 2]
split_seeds = [1, 5]
split = "by_work"
settings = [{epochs = 20, lr = [1e-3, 1e-4]}, {batch = 32}]
""")
    )
    assert len(runs) == 2 * 3 * 2 * 2 * 2 * 3
    assert len({(run.task, run.name) for run in runs}) == len(runs)
    assert {run.init for run in runs} == {"scratch", "caffenet", "run:met_nationality/first"}
    last = runs[-1]
    assert last == RunPlan(
        task="met_nationality",
        init="run:met_nationality/first",
        scenario="only_last",
        settings=Settings(batch=32, seed=2),
        split="by_work",
        split_seed=5,
    )
    assert str(last.data.path) == "datasets/met_nationality-by_work-seed5"
    assert last.name.endswith("-batch32-seed2-data-by_work-seed5")


def test_blocks_that_overlap_give_each_run_once(write: Write) -> None:
    block = '[[runs]]\ntasks = ["wga_genre"]\ninits = ["hybrid"]\n'
    assert len(load_grid(write(block + block + "seeds = [1, 2]\n"))) == 2


def test_device_batch_is_no_other_run(write: Write) -> None:
    text = '[[runs]]\ntasks = ["wga_genre"]\ninits = ["hybrid"]\n'
    runs = load_grid(write(text + "settings = {device_batch = [32, 64]}\n"))
    assert len(runs) == 1


def test_a_make_line_makes_the_run_that_was_planned(write: Write) -> None:
    """The words, read as make hands them on, give the same settings and name."""
    runs = load_grid(
        write("""
[[runs]]
tasks = ["wga_genre"]
inits = ["hybrid"]
seeds = [7]
settings = {epochs = [0.5, 20], lr = [1e-3, 3.3e-5], batch = 32, dropout = 0.25}
""")
    )
    for planned in runs:
        make, task, *words = shlex.split(planned.make_line)
        assert (make, task) == ("make", "wga_genre")
        flags = []
        for word in words:
            name, _, value = word.partition("=")
            flags += [f"--{name.lower().replace('_', '-')}", value]
        parser = Parser()
        add_plan_flags(parser)
        assert plan_from(vars(parser.parse_args(["--task", task, *flags]))) == planned


GOOD = '[[runs]]\ntasks = ["wga_genre"]\ninits = ["hybrid"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["a grid is made of blocks", "[[runs]]"]),
        ("[[runs]\n", ["can't be read as TOML"]),
        ("runs = 3\n", ["a grid is made of blocks"]),
        ("[[run]]\n", ["unknown key", "'run'", "did you mean runs?"]),
        ('[[runs]]\ninits = ["hybrid"]\n', ["number 1 has no tasks"]),
        ('[[runs]]\ntasks = ["wga_genre"]\n', ["number 1 has no inits"]),
        ("[[runs]]\ntasks = []\n", ["tasks is []", "list of names"]),
        ('[[runs]]\ntasks = "wga_genre"\n', ["tasks is 'wga_genre'", "list of names"]),
        ('[[runs]]\ntasks = ["wga_gener"]\n', ["unknown task", "wga_genre"]),
        (GOOD.replace("hybrid", "hybird"), ["unknown init", "did you mean hybrid?"]),
        (GOOD.replace("hybrid", "run:wga_genre"), ["run:<task>/<run>"]),
        (GOOD + 'scenarios = ["skip_frist"]\n', ["unknown scenario", "skip_first"]),
        (GOOD + "scenario = 1\n", ["unknown key", "'scenario'", "did you mean scenarios"]),
        (GOOD + 'split = "by_artist"\n', ["unknown split", "by_work"]),
        (GOOD + "seeds = 3\n", ["seeds is 3", "list of whole numbers"]),
        (GOOD + "seeds = [true]\n", ["seeds is [True]"]),
        (GOOD + "settings = {epoch = 3}\n", ["unknown setting", "did you mean epochs or"]),
        (GOOD + "settings = {seed = 3}\n", ["seeds = [1, 2, 3]"]),
        (GOOD + "settings = {epochs = true}\n", ["epochs is True", "a number"]),
        (GOOD + 'settings = {lr = "1e-3"}\n', ["lr is '1e-3'", "a number"]),
        (GOOD + "settings = {batch = 2.5}\n", ["batch is 2.5", "a whole number"]),
        (GOOD + "settings = {lr = []}\n", ["lr is []"]),
        (GOOD + "settings = {lr = -1}\n", ["setting lr is -1", "more than 0"]),
        (GOOD + "settings = 3\n", ["settings is 3", "must be a table"]),
        (GOOD + GOOD.replace("genre", "gnre"), ["number 2", "unknown task"]),
    ],
)
def test_what_is_wrong_in_a_grid_is_named(write: Write, text: str, words: list[str]) -> None:
    path = write(text)
    with pytest.raises(UserError) as caught:
        load_grid(path)
    said = str(caught.value)
    assert "\n" not in said
    assert str(path) in said
    for word in words:
        assert word in said, said


def test_a_grid_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no grid .*none\.toml"):
        load_grid(tmp_path / "none.toml")


def test_a_grid_is_a_file_or_one_of_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert find_grid("table2") == GRIDS / "table2.toml"
    assert find_grid("nowhere/my.toml") == Path("nowhere/my.toml")  # load_grid names it
    with pytest.raises(UserError, match="unknown grid 'tabel2': did you mean table2"):
        find_grid("tabel2")
    (tmp_path / GRIDS).mkdir(parents=True)
    (tmp_path / GRIDS / "mine.toml").touch()
    (tmp_path / "mine").touch()
    monkeypatch.chdir(tmp_path)
    assert find_grid("mine") == Path("mine")


def test_help_names_all_grids() -> None:
    assert {"table2", "table3", "table4", "figures"} <= set(grids_there())
    for program in ("tools.grid", "tools.table"):
        done = subprocess.run(
            [sys.executable, "-m", program, "--help"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
        words = done.stdout.split()
        for name in grids_there():
            assert name in words


def grids_there() -> list[str]:
    return [path.stem for path in (PROJECT / GRIDS).glob("*.toml")]
