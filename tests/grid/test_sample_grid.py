"""A grid on the sample's paintings, from `make grid` to tables, figures and report, on real Caffe.

The nets are of few weights, so that ten trainings take seconds; all else is as a user has it.
"""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import pytest

from experiments.single_run.plan import RunPlan
from lib.caffe.client import Engine
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings
from tests.small_project import SmallProject, copy_project
from tests.small_world import PROJECT, Plan

pytestmark = pytest.mark.slow

TASK = "met_nationality"
INITS = ("first", "second")
SHORT = Settings(epochs=2, batch=8)
RAW = f"RAW={PROJECT / 'datasets' / 'raw'}"
GRID = f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first", "run:{TASK}/second"]
scenarios = {list(SCENARIOS)!r}
settings = {{epochs = 2, batch = 8}}
"""


def planned(init: str, scenario: str) -> RunPlan:
    return RunPlan(TASK, f"run:{TASK}/{init}", scenario, SHORT)


RUNS = {each: planned(*each) for each in itertools.product(INITS, SCENARIOS)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> SmallProject:
    """A project where `make grid` has run: 2 inits, each an earlier run, x 5 scenarios."""
    project = copy_project(tmp_path_factory.mktemp("sample") / "project", engine)
    assert project.make("lists", f"TASK={TASK}", RAW).returncode == 0
    classes = len((project.path / "datasets" / TASK / "classes.txt").read_text().splitlines())
    plan = Plan(task=TASK, classes=classes, lr=0.001, snapshot=0, max_iter=20, test_interval=5)
    for seed, name in enumerate(INITS, start=1):
        project.write_prototxts(name, replace(plan, seed=seed))
        words = ["INIT=scratch", f"RUN={name}", "BATCH=8", f"SEED={seed}", "GPU=none", "THREADS=1"]
        done = project.make(TASK, *words, RAW)
        assert done.returncode == 0, done.stderr
    for (_, scenario), run in RUNS.items():
        project.write_prototxts(run.name, replace(plan, scenario=scenario))
    (project.path / "my.toml").write_text(GRID)
    done = project.make("grid", "GRID=my.toml", "GPU=none", RAW)
    assert done.returncode == 0, done.stderr
    assert "10 of 10 runs done" in done.stdout
    assert "table: experiments/report/grid-my.md" in done.stdout
    return project


def results(project: SmallProject, run: RunPlan) -> dict[str, float]:
    found: dict[str, float] = json.loads((project.path / run.folder.results).read_text())
    return found


def rows(project: SmallProject, name: str) -> list[dict[str, str]]:
    with (project.path / "experiments" / "report" / f"{name}.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_table_has_every_run(project: SmallProject) -> None:
    done = project.make("table", "GRID=my.toml")
    assert done.returncode == 0, done.stderr
    found = rows(project, "grid-my")
    assert len(found) == len(RUNS)
    by_run = {row["runs"]: row for row in found}
    for run in RUNS.values():
        assert float(by_run[run.name]["accuracy"]) == pytest.approx(
            results(project, run)["top1"], abs=1e-6
        )
        assert int(by_run[run.name]["images"]) == results(project, run)["images"] == 24
        assert float(by_run[run.name]["low"]) < float(by_run[run.name]["high"])
        assert by_run[run.name]["init"] == run.init
        assert run.name in done.stdout


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("number", ["7", "8", "9"])
def test_figures_of_scenarios(project: SmallProject, number: str, init: str) -> None:
    found = figure(project, number, "--init", f"run:{TASK}/{init}", "--epochs", "2", "--batch", "8")
    names = {RUNS[init, scenario].name for scenario in SCENARIOS}
    assert {row["run" if "run" in row else "runs"] for row in found} == names
    if number == "7":  # validation curves
        assert len(found) == len(SCENARIOS) * 5  # at iterations 0, 5, 10, 15, 20
        assert all(0 <= float(row["val_accuracy"]) <= 1 for row in found)
    if number == "8":  # test accuracy
        ours = {row["scenario"]: float(row["ours"]) for row in found}
        wanted = {each: results(project, RUNS[init, each])["top1"] for each in SCENARIOS}
        assert ours == pytest.approx(wanted)
    if number == "9":  # training time
        assert all(float(row["hours"]) > 0 for row in found)


def test_the_confusion_matrix_of_a_run(project: SmallProject) -> None:
    run = RUNS["first", "only_last"]
    found = figure(project, "10", "--run", run.name)
    assert {row["run"] for row in found} == {run.name}
    assert sum(int(row["images"]) for row in found) == 24
    right = sum(int(row["images"]) for row in found if row["true"] == row["predicted"])
    assert right / 24 == pytest.approx(results(project, run)["top1"])


def figure(project: SmallProject, number: str, *words: str) -> list[dict[str, str]]:
    """Draw a figure of the task's runs; the lines of its CSV."""
    done = project.python("tools.fig", f"fig{number}", "--task", TASK, *words)
    assert done.returncode == 0, done.stderr
    assert "not complete" not in done.stdout
    picture = project.path / "experiments" / "report" / f"fig{number}-{TASK}.png"
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.std() > 5, "an empty picture"
    return rows(project, picture.stem)


def test_the_report_has_every_run_and_its_pictures(project: SmallProject) -> None:
    done = project.make("report")
    assert done.returncode == 0, done.stderr
    report = project.path / "experiments" / "report"
    page = (report / "index.html").read_text()
    for run in RUNS.values():
        assert run.name in page
        assert f"<td>{results(project, run)['top1']:.4f}</td>" in page
    assert "Grids of your own" in page
    links = Links()
    links.feed(page)
    assert len(links.found) > len(RUNS)
    for link in links.found:
        assert (report / link).is_file(), link


def test_status_has_nothing_left(project: SmallProject) -> None:
    done = project.make("status", "GRID=my.toml")
    assert "10 runs: 10 done" in done.stdout
    assert "left:" not in done.stdout


class Links(HTMLParser):
    """The files that a page shows or links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("#", "http", "data:")):
                self.found.append(value)
