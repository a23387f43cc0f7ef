"""Grids on real Caffe: side by side, failing, interrupted, killed, and over real Dask workers."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.single_run.plan import RunPlan
from lib.caffe.client import Engine
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings
from tests.small_project import SmallProject, small_project
from tests.small_world import TASK, Plan

pytestmark = pytest.mark.slow

SHORT = Settings(epochs=4, batch=8)
INITS = ("first", "second")
Start = Callable[..., "subprocess.Popen[bytes]"]
_PATIENCE = 300.0  # seconds


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> SmallProject:
    """A small project with two finished runs, which other runs start from."""
    project = small_project(tmp_path_factory.mktemp("grid") / "project", engine)
    for seed, name in enumerate(INITS, start=3):
        project.write_prototxts(name, plan(seed=seed))
        words = ["INIT=scratch", f"RUN={name}", "BATCH=8", f"SEED={seed}", "GPU=none", "THREADS=1"]
        done = project.make(TASK, *words)
        assert done.returncode == 0, done.stderr
    return project


def plan(**what: Any) -> Plan:
    """Prototxts whose training does not diverge, however long; no snapshot on the way."""
    return Plan(**{"lr": 0.001, "snapshot": 1_000_000, **what})


def planned(init: str, scenario: str, settings: Settings = SHORT) -> RunPlan:
    return RunPlan(TASK, f"run:{TASK}/{init}", scenario, settings)


def prepare(project: SmallProject, run: RunPlan, what: Plan) -> RunPlan:
    """Write the prototxts of a run by hand."""
    project.write_prototxts(run.name, what)
    return run


def record(project: SmallProject, run: RunPlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / run.folder.record).read_text())
    return found


def trained(project: SmallProject, run: RunPlan) -> bool:
    return (project.path / run.folder.results).exists()


def iterations(project: SmallProject, run: RunPlan) -> list[int]:
    """The iterations in the curve."""
    lines = (project.path / run.folder.curve).read_text().splitlines()[1:]
    return [int(line.split(",")[0]) for line in lines]


def weights(project: SmallProject, run: RunPlan) -> str:
    return hashlib.sha256((project.path / run.folder.final).read_bytes()).hexdigest()


def wait_for(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < until, f"not within {_PATIENCE:.0f} s: {what}"
        time.sleep(0.1)


def has_snapshot(project: SmallProject, run: RunPlan) -> bool:
    return any((project.path / run.folder.snapshots).glob("*.json"))


def no_children(project: SmallProject) -> bool:
    """Whether no process is at work in the project's folder any more."""
    return not [pid for pid in processes() if _folder_of(pid) == str(project.path)]


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _folder_of(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


@pytest.fixture
def start(project: SmallProject) -> Iterator[Start]:
    """Start a tool in the project; it does not outlive the test."""
    started = []

    def begin(
        *words: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        started.append(project.start(*words, log=log, more=environment or {}))
        return started[-1]

    yield begin
    for process in reversed(started):
        process.kill()
        process.wait()


def grid(name: str, *more: str) -> list[str]:
    return ["tools.grid", "--grid", name, "--gpu", "none", *more]


def test_a_grid_fails_stops_goes_on_and_ends(
    project: SmallProject, start: Start, tmp_path: Path
) -> None:
    """2 inits x 5 scenarios: a failing run among them, Ctrl-C in the middle, then to the end."""
    (project.path / "my.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first", "run:{TASK}/second"]
scenarios = {list(SCENARIOS)!r}
settings = {{epochs = 4, batch = 8}}
""")
    runs = [
        prepare(project, planned(init, scenario), plan(scenario=scenario, max_iter=60))
        for init, scenario in itertools.product(INITS, SCENARIOS)
    ]
    long, failing, later = runs[2], runs[1], runs[3:]
    project.write_prototxts(
        long.name, plan(scenario=long.scenario, max_iter=100_000, test_interval=500, snapshot=500)
    )
    broken = project.path / "prototxt" / TASK / failing.name / "train_val.prototxt"
    whole = broken.read_text()
    broken.write_text(whole.replace('"LRN"', '"LNR"'))

    log = tmp_path / "grid.log"
    process = start(*grid("my.toml", "--side-by-side", "2"), log=log)
    wait_for(lambda: has_snapshot(project, long), "the long run's first snapshot")
    wait_for(lambda: trained(project, later[0]), "a run after the failed one")
    process.send_signal(signal.SIGINT)
    assert process.wait(_PATIENCE) == 130
    said = log.read_text()
    assert "the same line goes on" in said
    assert "LNR" in said.split("failed: ")[1], "the reason, once, at the end"
    assert no_children(project)
    first_session = record(project, long)
    assert first_session["state"] == "interrupted"
    assert record(project, failing)["state"] == "failed"
    done = [run for run in runs if trained(project, run)]
    assert runs[0] in done
    assert 2 <= len(done) < 9
    before = {run: (project.path / run.folder.record).stat().st_mtime_ns for run in done}

    status = project.python("tools.status", "--grid", "my.toml")
    assert f"{len(done)} done, 1 failed" in status.stdout
    assert "LNR" in status.stdout
    again = start(*grid("my.toml", "--side-by-side", "2"), log=log)
    wait_for(lambda: len(record(project, long)["sessions"]) == 2, "the long run goes on")
    wait_for(
        lambda: (
            all(trained(project, run) for run in runs if run not in (long, failing))
            and max(iterations(project, long)) > first_session["iteration"]
        ),
        "all other runs",
    )
    again.send_signal(signal.SIGKILL)  # this time the grid itself dies: no word to anybody
    again.wait()
    wait_for(lambda: no_children(project), "the long run stops by itself")
    assert record(project, long)["state"] == "interrupted"
    assert record(project, long)["sessions"][1]["resumed_from"]
    steps = iterations(project, long)
    assert steps == sorted(set(steps))
    assert before == {run: (project.path / run.folder.record).stat().st_mtime_ns for run in done}, (
        "a run that was done was run again"
    )

    project.write_prototxts(long.name, plan(scenario=long.scenario, max_iter=60))
    broken.write_text(whole)
    ended = project.python(*grid("my.toml"))
    assert ended.returncode == 0, ended.stderr
    assert "10 of 10 runs done, 2 of them now" in ended.stdout
    for run in runs:
        found = record(project, run)
        assert found["state"] == "trained"
        frozen = {each["name"] for each in found["layers"] if not each["changed"]}
        assert frozen == set(SCENARIOS[run.scenario])
        assert not any((project.path / run.folder.snapshots).glob("*.solverstate"))
        assert (project.path / run.folder.final).is_file()
        assert (project.path / run.folder.best).is_file()
        assert found["sessions"][-1]["engine"]["threads"] == 1
    ended = project.python(*grid("my.toml"))
    assert ended.returncode == 0
    assert "10 runs, 10 done already" in ended.stdout
    status = project.python("tools.status", "--grid", "my.toml")
    assert "10 runs: 10 done" in status.stdout
    assert "left:" not in status.stdout


def test_what_cannot_be_started_stops_no_other(project: SmallProject) -> None:
    """A task without material and an init that is no finished run are told apart, with reasons."""
    (project.path / "mixed.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}", "no_material"]
inits = ["run:{TASK}/first", "run:{TASK}/never"]
seeds = [5]
settings = {{epochs = 4, batch = 8}}
""")
    run = planned("first", "all", Settings(epochs=4, batch=8, seed=5))
    prepare(project, run, plan())
    ended = project.python(*grid("mixed.toml"))
    assert ended.returncode == 2
    assert trained(project, run)
    assert "1 of 4 runs done" in ended.stdout
    reasons = re.findall(r"^failed: (.*)$", ended.stdout, re.MULTILINE)
    assert len(reasons) == 2
    assert any("task no_material lacks" in reason for reason in reasons), reasons
    assert any("tiny/never is no finished run" in reason for reason in reasons), reasons


def test_all_snapshots_are_kept_where_that_is_asked_for(project: SmallProject) -> None:
    (project.path / "kept.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first"]
seeds = [7]
settings = {{epochs = 4, batch = 8}}
""")
    run = planned("first", "all", Settings(epochs=4, batch=8, seed=7))
    prepare(project, run, plan(max_iter=60, snapshot=20))
    done = project.make("grid", "GRID=kept.toml", "GPU=none", "KEEP=all")
    assert done.returncode == 0, done.stderr
    kept = sorted(path.name for path in (project.path / run.folder.snapshots).glob("*.solverstate"))
    assert kept == [f"caffenet_iter_{n}.solverstate" for n in (20, 40)]  # 60 is final.caffemodel


def test_a_run_at_work_elsewhere_is_waited_for(
    project: SmallProject, start: Start, tmp_path: Path
) -> None:
    """Two grids with the same run in one project: it is trained once, and both end well."""
    (project.path / "same.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first"]
seeds = [6]
settings = {{epochs = 4, batch = 8}}
""")
    run = planned("first", "all", Settings(epochs=4, batch=8, seed=6))
    prepare(project, run, plan(max_iter=600, test_interval=300))
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    both = [start(*grid("same.toml", "--side-by-side", "1"), log=log) for log in logs]
    assert [process.wait(_PATIENCE) for process in both] == [0, 0], [x.read_text() for x in logs]
    assert len(record(project, run)["sessions"]) == 1
    assert iterations(project, run)[-1] == 600


def test_disk_space_is_looked_at_first(project: SmallProject) -> None:
    """A grid that the disk can't hold does not begin."""
    (project.path / "huge.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first"]
seeds = {list(range(1000, 1000 + 20_000))!r}
""")
    ended = project.python(*grid("huge.toml"))
    assert ended.returncode == 2
    assert re.search(
        r"error: not enough disk space for 20,000 runs to do: 1\d\.\d TB", ended.stderr
    )


class Dask:
    """A real scheduler on loopback, and real workers, each a process."""

    def __init__(self, start: Start, log: Path, deaths: int = 3) -> None:
        """`deaths`: of workers, that a task outlives before Dask itself gives it up."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.log = log
        self._start = start
        words = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port)]
        allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(deaths)}
        start(*words, "--dashboard-address", ":0", log=log, environment=allowed)
        wait_for(self._answers, "the scheduler listens")

    def worker(self, *more: str) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny: killed, it stays dead."""
        words = ["worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", *more]
        return self._start("dask", *words, log=self.log)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def dask(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Dask:
    return Dask(start, tmp_path / "dask.log", getattr(request, "param", 3))


def worker_of(run: RunPlan, workers: Sequence[subprocess.Popen[bytes]]) -> int:
    """Which of the workers has this run, by its child processes."""
    for number, worker in enumerate(workers):
        children = Path(f"/proc/{worker.pid}/task").glob("*/children")
        for child in " ".join(path.read_text() for path in children).split():
            if run.name in Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0"):
                return number
    raise AssertionError(f"no worker has {run}")


@pytest.mark.parametrize("dask", [3, 0], indirect=True, ids=["dask-moves-it", "we-move-it"])
def test_a_killed_workers_run_goes_on_on_another(
    request: pytest.FixtureRequest, project: SmallProject, dask: Dask, start: Start, tmp_path: Path
) -> None:
    """Three runs that differ in name only, two workers, one killed: three equal results."""
    seeds = [10 * request.node.callspec.params["dask"] + number for number in (101, 102, 103)]
    (project.path / "dask.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first"]
seeds = {seeds!r}
settings = {{epochs = 4, batch = 8}}
""")
    long = plan(max_iter=1800, test_interval=600, snapshot=500)
    runs = [
        prepare(project, planned("first", "all", Settings(epochs=4, batch=8, seed=seed)), long)
        for seed in seeds
    ]
    workers = [dask.worker("--resources", "GPU=1") for _ in range(2)]
    log = tmp_path / "grid.log"
    words = ["tools.grid", "--grid", "dask.toml", "--scheduler", dask.address]
    process = start(*words, log=log)
    # Dask may begin with any two of them.
    wait_for(lambda: any(has_snapshot(project, run) for run in runs), "a first snapshot")
    victim = next(run for run in runs if has_snapshot(project, run))
    killed = workers[worker_of(victim, workers)]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert process.wait(_PATIENCE) == 0, log.read_text() + dask.log.read_text()[-3000:]
    assert "3 of 3 runs done, 3 of them now" in log.read_text()
    sessions = {run: record(project, run)["sessions"] for run in runs}
    assert {run: len(each) for run, each in sessions.items()} == {
        run: 2 if run == victim else 1 for run in runs
    }
    assert sessions[victim][1]["resumed_from"], "it went on from a snapshot"
    for run in runs:
        steps = iterations(project, run)
        assert steps == sorted(set(steps))
        assert steps[-1] == long.max_iter
    assert len({weights(project, run) for run in runs}) == 1, "nothing lost, nothing twice"


def test_interrupted_over_dask_it_goes_on(
    project: SmallProject, dask: Dask, start: Start, tmp_path: Path
) -> None:
    """Ctrl-C stops what runs on the workers, with a snapshot. These workers declare no GPU."""
    (project.path / "stopped.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first"]
seeds = [21, 22]
settings = {{epochs = 4, batch = 8}}
""")
    runs = [planned("first", "all", Settings(epochs=4, batch=8, seed=seed)) for seed in (21, 22)]
    prepare(project, runs[0], plan(max_iter=100_000, test_interval=500, snapshot=500))
    prepare(project, runs[1], plan(max_iter=100_000, test_interval=500, snapshot=500))
    dask.worker()
    log = tmp_path / "grid.log"
    words = ["tools.grid", "--grid", "stopped.toml", "--scheduler", dask.address]
    process = start(*words, log=log)
    wait_for(lambda: any(has_snapshot(project, run) for run in runs), "a first snapshot")
    process.send_signal(signal.SIGINT)
    assert process.wait(_PATIENCE) == 130, log.read_text()
    states = [
        record(project, run)["state"] for run in runs if (project.path / run.folder.record).exists()
    ]
    assert states == ["interrupted"], "one ran, the other had not begun"
    assert "2 runs left" in log.read_text()


def test_no_scheduler_is_one_line(project: SmallProject) -> None:
    (project.path / "nowhere.toml").write_text(f"""
[[runs]]
tasks = ["{TASK}"]
inits = ["run:{TASK}/first"]
seeds = [31]
""")
    words = [
        "tools.grid",
        "--grid",
        "nowhere.toml",
        "--scheduler",
        "tcp://127.0.0.1:9",
    ]
    ended = project.python(*words)
    assert ended.returncode == 2
    assert re.search(r"^error: SCHEDULER=tcp://127\.0\.0\.1:9: no Dask", ended.stderr, re.M)
    assert "Traceback" not in ended.stderr
