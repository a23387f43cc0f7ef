"""Tables 2 to 4 from made records of all runs, from none, and from invalid records."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from experiments.grid.definition import load_grid, merge
from experiments.grid.run_status import DONE, FAILED, INTERRUPTED, MISSING, stand
from experiments.paper import printed, tables
from experiments.paper.intervals import beyond_chance, wilson
from experiments.paper.table_files import markdown
from experiments.paper.valid_runs import read_runs
from experiments.single_run.folder import RUNS, RunFolder
from experiments.single_run.plan import RunPlan
from lib.errors import UserError
from lib.files import sha256
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings
from tests.made_runs import edit_by_hand, made_paper, make_run, record
from tools import report, status
from tools import table as program

PROJECT = Path(__file__).resolve().parents[2]
SHORT = Settings(epochs=20, lr=1e-3, lr_step_epochs=5, lr_gamma=0.1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: the current folder, with the grids of the paper."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "grids").symlink_to(PROJECT / "experiments" / "grids")
    return tmp_path


def read(name: str) -> list[dict[str, str]]:
    """The lines of a written table."""
    with (Path("experiments/report") / f"{name}.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def run_tables(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the program as a user does."""
    monkeypatch.setattr("sys.argv", ["table", *words])
    program.main()


# ---- complete and right -------------------------------------------------------------------------


def test_tables_2_and_3_take_81_runs() -> None:
    grids = [load_grid(PROJECT / "experiments" / "grids" / f"table{n}.toml") for n in (2, 3)]
    assert [len(grid) for grid in grids] == [45, 45]
    assert len(merge(*grids)) == 81


def test_all_runs_fill_tables_2_and_3(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rights = made_paper(RUNS)
    assert len(rights) == 81
    for number, cells in (("2", 45), ("3", 45)):
        run_tables(monkeypatch, f"table{number}")
        lines = read(f"table{number}")
        assert len(lines) == cells
        for line in lines:
            right, images = rights[line["task"], line["init"], line["scenario"]]
            ours, theirs = right / images, float(line["printed"])
            expected = (
                printed.by_init()[line["task"], line["init"]]
                if number == "2"
                else printed.by_scenario()[line["task"], line["scenario"]]
            )
            assert theirs == expected
            assert float(line["accuracy"]) == pytest.approx(ours, abs=1e-6)
            assert float(line["difference"]) == pytest.approx(ours - theirs, abs=2e-6)
            assert int(line["images"]) == images
            # Wilson's interval, written out.
            z, p, n = 1.959963984540054, ours, images
            middle = (p + z * z / (2 * n)) / (1 + z * z / n)
            reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
            assert float(line["low"]) == pytest.approx(middle - reach, abs=1e-6)
            assert float(line["high"]) == pytest.approx(middle + reach, abs=1e-6)
            # The z-test of two proportions, written out.
            m = printed.sizes()[line["task"]].test_images
            pooled = (right + theirs * m) / (n + m)
            error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
            beyond = abs(ours - theirs) - 0.0005 > z * error
            mark = (tables.HIGHER if ours > theirs else tables.LOWER) if beyond else ""
            assert line["beyond_chance"] == mark
    marks = {line["beyond_chance"] for line in (*read("table2"), *read("table3"))}
    assert marks == {"", tables.HIGHER, tables.LOWER}  # the made runs hold all three


def test_variance_is_the_population_variance_over_the_inits(place: Path) -> None:
    rights = made_paper(RUNS)
    table = tables.make("2", read_runs())
    for row in table.rows:
        task = str(row[0])
        ours = [np.divide(*rights[task, init, "all"]) for init in printed.INITS]
        theirs = [printed.by_init()[task, init] for init in printed.INITS]
        assert row[-3] == printed.variances()[task]
        assert row[-2] == f"{np.var(theirs) * 1e4:#.3g}e-4"
        assert row[-1] == f"{np.var(ours) * 1e4:#.3g}e-4"


def test_variance_of_ours_needs_all_five(place: Path) -> None:
    for init in printed.INITS[:4]:
        make_run(RUNS, RunPlan("wga_genre", init, "all", PAPER))
    row = next(row for row in tables.make("2", read_runs()).rows if row[0] == "wga_genre")
    assert row[-1] == tables.BLANK


def test_printed_variances_agree_with_the_printed_accuracies() -> None:
    agreeing = [printed.variance_of_printed(task)[1] for task in printed.tasks()]
    assert all(agreeing)
    assert len(agreeing) == 9


def test_a_printed_variance_that_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**printed.variances(), "wga_genre": "2.59e-4"}
    monkeypatch.setattr(printed, "variances", lambda: known)
    assert printed.variance_of_printed("wga_genre") == (pytest.approx(1.6304e-4), False)
    assert printed.variance_of_printed("wga_artist")[1]


def test_table_4_gives_the_best_and_how(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rights = made_paper(RUNS)
    short = RunPlan("wikiart_style", "hybrid", "all", SHORT)
    make_run(RUNS, short, right=531, images=1000)
    run_tables(monkeypatch, "table4")
    lines = {(line["task"], line["what"]): line for line in read("table4")}
    for task in printed.tasks():
        (init, scenario), best = max(
            (
                ((key[1], key[2]), right / images)
                for key, (right, images) in rights.items()
                if key[0] == task
            ),
            key=lambda each: each[1],
        )
        line = lines[task, "best"]
        assert (line["init"], line["scenario"]) == (init, scenario)
        assert float(line["accuracy"]) == pytest.approx(best, abs=1e-6)
        paper = next(b for b in printed.best() if b.is_ours_in_paper and b.task == task)
        assert float(line["printed"]) == paper.accuracy
    line = lines["wikiart_style", "short schedule"]
    assert (line["printed"], line["accuracy"]) == ("0.5302", "0.531")
    assert line["runs"] == "hybrid-all-epochs20-lr0.001-lr_step_epochs5"


def test_table_4_gives_macro_and_weighted_f_for_ticc(place: Path) -> None:
    make_run(RUNS, RunPlan("ticc_artist", "hybrid", "all", PAPER), right=80)
    table = tables.make("4", read_runs())
    row = next(row for row in table.rows if row[0] == "ticc_artist")
    assert "80.26 F-score" in str(row[-1])
    assert "macro F 79.00%" in str(row[-1])
    assert "weighted F 79.50%" in str(row[-1])


def test_table_4_also_chooses_on_the_validation_images(place: Path) -> None:
    one = RunPlan("wga_genre", "hybrid", "all", PAPER)
    other = RunPlan("wga_genre", "flickr", "all", PAPER)
    make_run(RUNS, one, right=90, validation=0.5)
    make_run(RUNS, other, right=80, validation=0.6)
    row = next(row for row in tables.make("4", read_runs()).rows if row[0] == "wga_genre")
    assert str(row[3]) == "hybrid, all"
    assert str(row[4]) == "0.8000: flickr, all"


def test_seeds_give_mean_and_deviation(place: Path) -> None:
    accuracies = [0.70, 0.74, 0.75]
    for seed, accuracy in enumerate(accuracies, start=1):
        plan = RunPlan("wga_genre", "hybrid", "all", replace(PAPER, seed=seed))
        make_run(RUNS, plan, right=round(1000 * accuracy), images=1000)
    table = tables.make("2", read_runs())
    line = next(x for x in table.records if (x["task"], x["init"]) == ("wga_genre", "hybrid"))
    assert line["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-6)
    assert line["std"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-6)
    assert line["low"] is None
    assert line["runs"].count(",") == 2
    assert "0.730 ± 0.026" in markdown(table)


def test_spread_between_seeds_widens_what_chance_allows() -> None:
    assert beyond_chance(0.75, 4000, 0.70, 4000)
    assert not beyond_chance(0.75, 4000, 0.70, 4000, runs=3, std=0.03)
    assert beyond_chance(0.70, 40000, 0.71, 40000)
    assert not beyond_chance(0.70, 40000, 0.71, 40000, rounding=0.005)


def test_wilson_at_the_edges() -> None:
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 10)[1] == pytest.approx(0.2775, abs=1e-4)


@pytest.mark.parametrize(("right", "images"), [(0, 7), (7, 7), (1, 9), (500, 840), (9000, 11726)])
def test_wilson_is_scipys(right: int, images: int) -> None:
    theirs = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert wilson(right, images) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


# ---- none ---------------------------------------------------------------------------------------


def test_without_runs_the_printed_numbers_stand_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, count in (("2", 45), ("3", 45), ("4", 10)):
        run_tables(monkeypatch, f"table{number}")
        lines = read(f"table{number}")
        assert len(lines) == count
        assert all(line["printed"] and not line["accuracy"] for line in lines)
        assert all(not line["difference"] and not line["images"] for line in lines)
    said = capsys.readouterr().out
    assert "| wga_artist | 0.696\\* · – · – | 0.551 · – · – |" in (  # noqa: RUF001
        Path("experiments/report/table2.md").read_text()
    )
    assert max(len(line) for line in said.splitlines() if not line.startswith("wrote ")) <= 80


def test_where_the_paper_disagrees_with_itself_both_are_said(place: Path) -> None:
    texts = {n: markdown(tables.make(n, read_runs())) for n in ("2", "3", "4")}
    for number in ("2", "3"):
        assert "Table 2 prints 0.583, Table 3 0.584" in texts[number]
        assert "Table 2 prints 0.527, Table 3 0.526" in texts[number]
    for text in texts.values():
        assert "Table 1 says 15 classes, Table 4 (and the text) 27" in text
    assert "0.583\\* ·" in texts["2"]  # the highest of its row
    assert "0.584 ·" in texts["3"]
    assert "wga_nationality: Table 4 gives 65.20% as the best, Table 2 has 0.656" in texts["4"]


def test_other_numbers_of_classes_are_said(place: Path) -> None:
    make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER), classes=("a", "b", "c"))
    text = markdown(tables.make("2", read_runs()))
    assert "wga_genre: Table 1 has 6 classes, ours 3" in text


# ---- a grid of one's own ------------------------------------------------------------------------


def test_table_of_a_grid(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = place / "mine.toml"
    grid.write_text(
        '[[runs]]\ntasks = ["met_nationality"]\ninits = ["scratch", "hybrid"]\n'
        'scenarios = ["all", "only_last"]\nsettings = {epochs = 2, lr = 0.01}\n'
        '[[runs]]\ntasks = ["wga_genre"]\ninits = ["hybrid"]\n'
    )
    settings = Settings(epochs=2, lr=0.01)
    make_run(RUNS, RunPlan("met_nationality", "scratch", "only_last", settings), right=33)
    run_tables(monkeypatch, "table", "--grid", str(grid))
    said = capsys.readouterr().out
    assert "only_last, epochs 2, lr 0.01" in said
    shown = Path("experiments/report/grid-mine.md").read_text()
    assert "only_last, epochs 2, lr 0.01 | – · 0.330 · – | – · – · – |" in shown  # noqa: RUF001
    assert "| wga_genre | all |  | 0.796 · – · – |" in shown  # noqa: RUF001
    assert len(read("grid-mine")) == 5


def test_table_of_one_of_the_projects_grids(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(RUNS, GOOD)
    run_tables(monkeypatch, "table", "--grid", "table2")
    assert len(read("grid-table2")) == 45
    with pytest.raises(UserError, match="unknown grid 'tabel2': did you mean table2"):
        run_tables(monkeypatch, "table", "--grid", "tabel2")


def test_the_table_of_a_grid_has_the_notes_of_its_tasks(place: Path) -> None:
    grid = place / "mine.toml"
    grid.write_text(
        '[[runs]]\ntasks = ["wga_timeframe", "wga_genre"]\ninits = ["hybrid", "flickr"]\n'
    )
    edited = make_run(RUNS, GOOD)
    change("run.json", batch=64)(edited)
    table = tables.grid_table(grid, read_runs())
    assert table.notes == (
        "wga_timeframe from hybrid, all layers: Table 2 prints 0.527, Table 3 0.526",
        "wga_genre: Table 1 has 6 classes, ours 4",
        "experiments/runs/wga_genre/hybrid-all: edited by hand (batch 64)",
    )
    other = make_run(RUNS, replace(GOOD, init="flickr"))
    inputs = {**json.loads((other / "run.json").read_text())["inputs"], "test": "9" * 64}
    change("run.json", inputs=inputs)(other)
    change("results.json", tested={"weights": "6" * 64, "list": "9" * 64})(other)
    notes = tables.grid_table(grid, read_runs()).notes
    assert "wga_genre: its runs were not all tested on the same list of images" in notes


def test_differences_have_their_sign() -> None:
    assert [tables.signed(d) for d in (0.0214, -0.0214, -0.0002, 0.0, None)] == [
        *("+0.021", "\u22120.021", "+0.000", "+0.000", tables.BLANK)
    ]


# ---- invalid records ---------------------------------------------------------------------------

GOOD = RunPlan("wga_genre", "hybrid", "all", PAPER)


def change(name: str, **changes: Any) -> Callable[[Path], object]:
    """A damage: other values in one of the run's JSON files."""

    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def change_layer(**changes: Any) -> Callable[[Path], object]:
    """A damage: other values for conv1 in run.json."""

    def damage(folder: Path) -> None:
        path = folder / "run.json"
        said = json.loads(path.read_text())
        said["layers"][0].update(changes)
        path.write_text(json.dumps(said))

    return damage


def as_folder(folder: Path) -> None:
    """A damage: a folder where the record should be."""
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()


def of_class(images: float, right: float) -> dict[str, Any]:
    """What results.json says of a class."""
    return {"class": "a", "images": images, "right": right, "accuracy": 0.7}


def cut(name: str) -> Callable[[Path], object]:
    """A damage: half of the file is gone."""

    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "half-written record": (cut("run.json"), "can't be read, or was cut short"),
    "half-written results": (cut("results.json"), "can't be read, or was cut short"),
    "empty record": (lambda f: (f / "run.json").write_bytes(b""), "can't be read"),
    "no text": (lambda f: (f / "run.json").write_bytes(b"\xff\xfe\x00"), "can't be read"),
    "no record": (lambda f: (f / "run.json").unlink(), "run.json is missing"),
    "foreign list": (lambda f: (f / "run.json").write_text("[1, 2]"), "not a run's record"),
    "foreign dict": (lambda f: (f / "run.json").write_text('{"lr": 1}'), "not a run's record"),
    "foreign results": (lambda f: (f / "results.json").write_text("[]"), "not test results"),
    "unknown state": (change("run.json", state="great"), "invalid enum value 'great'"),
    "unknown scenario": (change("run.json", scenario="some"), "unknown scenario 'some'"),
    "unknown setting": (change("run.json", settings={"warmup": 3}), "unknown setting 'warmup'"),
    "senseless setting": (change("run.json", settings={"lr": -1}), "lr is -1"),
    "of another task": (change("run.json", task="wga_artist"), "learnt from datasets/wga_genre"),
    "of another place": (change("run.json", run="mine", own_name=True), "copied or moved here?"),
    "of another init": (change("run.json", init="flickr"), "settings are those of flickr-all"),
    "of another scenario": (
        change("run.json", scenario="only_last", layers=None),
        "settings are those of hybrid-only_last",
    ),
    "of other settings": (
        change("run.json", settings={"lr": 0.01}),
        "settings are those of hybrid-all-lr0.01",
    ),
    "other data": (change("run.json", data="datasets/wga_artist"), "but learnt from"),
    "frozen layers": (change_layer(frozen=True), "what was frozen is: conv1"),
    "not copied": (change_layer(transferred=False), "not copied were conv1"),
    "unfinished": (change("run.json", iteration=500), "came to iteration 500 of 1000"),
    "steps without number": (change("run.json", iteration=None), "iteration: expected int"),
    "steps in words": (change("run.json", max_iter="many"), "max_iter: expected int"),
    "time in words": (change("run.json", seconds="long"), "seconds: expected float"),
    "time not known": (change("run.json", seconds=float("nan")), "malformed"),
    "batch as a list": (change("run.json", batch=[1]), "batch: expected int"),
    "best without accuracy": (change("run.json", best={"iteration": 3}), "field val_accuracy"),
    "sessions in words": (change("run.json", sessions="two"), "sessions: expected array"),
    "old sessions in words": (change("run.json", sittings="two"), "sessions: expected array"),
    "an engine in words": (change("run.json", sessions=[{"engine": "x"}]), "sessions[0].engine:"),
    "reason as a dict": (change("run.json", reason={"a": 1}), "reason: expected str"),
    "beyond any float": (
        change("run.json", settings={"epochs": 10**400}),
        "settings[...]: expected",
    ),
    "too deep": (lambda f: (f / "run.json").write_text("[" * 100_000), "can't be read"),
    "a folder": (as_folder, "can't be read"),
    "a majority in words": (change("results.json", majority="x"), "majority: expected float"),
    "more right than images": (
        change("results.json", classes=2, per_class=[of_class(100, 170), of_class(0, -100)]),
        "170 of 100 images of 'a'",
    ),
    "parts of images": (
        change("results.json", classes=1, per_class=[of_class(100.0, 70.0)]),
        "per_class[0].images: expected int",
    ),
    "results of a failed run": (change("run.json", state="failed"), "a run that is failed"),
    "NaN": (change("results.json", top1=float("nan")), "malformed"),
    "more than all": (change("results.json", top1=1.2), "top1: expected float <= 1.0"),
    "no images": (change("results.json", images=0), "images: expected int >= 1"),
    "other accuracy": (change("results.json", top1=0.9), "per class 70 of 100 are right"),
    "other images": (change("results.json", images=120), "120 images, but per class"),
    "other classes": (change("results.json", classes=7), "7 classes and"),
    "another list": (
        change("results.json", tested={"weights": "6" * 64, "list": "9" * 64}),
        "tested on another test list",
    ),
    "other weights": (
        change("results.json", tested={"weights": "7" * 64, "list": "3" * 64}),
        "tested with other weights",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_invalid_record_is_named_and_left_out(damage: str, place: Path) -> None:
    act, words = DAMAGES[damage]
    folder = make_run(RUNS, GOOD)
    make_run(RUNS, RunPlan("wga_genre", "flickr", "all", PAPER), right=60)
    assert len(read_runs().tested) == 2
    act(folder)
    records = read_runs()
    assert [run.name for run in records.tested] == ["flickr-all"]
    assert len(records.invalid) == 1
    assert words in str(records.invalid[0])
    assert str(folder) in str(records.invalid[0])
    shown = [x for x in tables.make("2", records).records if x["accuracy"] is not None]
    assert [(x["task"], x["init"], x["accuracy"]) for x in shown] == [("wga_genre", "flickr", 0.6)]


@pytest.mark.parametrize("program", [status, report], ids=["status", "report"])
def test_nothing_stumbles_over_invalid_records(
    program: Any, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for seed, (act, _) in enumerate(DAMAGES.values(), start=2):
        folders.append(make_run(RUNS, replace(GOOD, settings=replace(PAPER, seed=seed))))
        act(folders[-1])
        assert stand(RunFolder(folders[-1])).state in (DONE, FAILED, INTERRUPTED, MISSING)
    monkeypatch.setattr("sys.argv", ["program"])
    program.main()
    said = capsys.readouterr().out
    for folder in folders:
        assert f"{folder}/" in said


def test_results_cut_short_are_made_again(place: Path) -> None:
    folder = make_run(RUNS, GOOD)
    assert stand(GOOD.folder).state == DONE
    cut("results.json")(folder)
    assert stand(GOOD.folder).state == INTERRUPTED  # so that a grid tests it again


def test_seeds_tested_on_an_older_list_are_not_averaged_in(place: Path) -> None:
    """The split was made anew between two seeds: their test images are not the same."""
    old = make_run(RUNS, GOOD, right=90)
    make_run(RUNS, replace(GOOD, settings=replace(PAPER, seed=2)), right=70)
    other_split = make_run(RUNS, replace(GOOD, split_seed=2), right=80)
    for folder in (old, other_split):
        inputs = {**json.loads((folder / "run.json").read_text())["inputs"], "test": "9" * 64}
        change("run.json", inputs=inputs, finished="2025-12-02T00:00:00+00:00")(folder)
        change("results.json", tested={"weights": "6" * 64, "list": "9" * 64})(folder)
    records = read_runs()
    assert [run.name for run in records.tested] == ["hybrid-all-data-seed2", "hybrid-all-seed2"]
    assert [str(fault) for fault in records.invalid] == [
        f"{old}/results.json: left out: tested on another test list than hybrid-all-seed2, "
        "which is newer"
    ]


def test_invalid_records_are_printed_with_the_table(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (make_run(RUNS, GOOD) / "run.json").write_text("{")
    run_tables(monkeypatch, "table2")
    assert "experiments/runs/wga_genre/hybrid-all/run.json: left out: " in capsys.readouterr().out


def test_a_run_counts_once_however_often_it_was_made(place: Path) -> None:
    make_run(RUNS, GOOD, right=70)
    make_run(RUNS, GOOD, right=90, name="again")
    records = read_runs()
    assert [run.name for run in records.tested] == ["hybrid-all"]
    assert [run.name for run in records.runs] == ["again", "hybrid-all"]
    assert "the same experiment, with the same seed, as hybrid-all" in str(records.invalid[0])


def test_duplicates_of_own_names_that_disagree_are_all_left_out(place: Path) -> None:
    make_run(RUNS, GOOD, right=70, name="one")
    make_run(RUNS, GOOD, right=90, name="two")
    records = read_runs()
    assert not records.tested
    assert len(records.invalid) == 2


def test_own_names_and_other_splits_are_fine(place: Path) -> None:
    make_run(RUNS, GOOD, name="my_run")
    make_run(RUNS, replace(GOOD, split_seed=2), right=80)
    make_run(RUNS, replace(GOOD, split="by_work"), right=10)
    make_run(RUNS, RunPlan("wga_genre", "run:wga_artist/hybrid-all", "all", PAPER))
    records = read_runs()
    assert not records.invalid
    assert len(records.tested) == 4
    line = next(
        x
        for x in tables.make("2", records).records
        if (x["task"], x["init"]) == ("wga_genre", "hybrid")
    )
    assert line["accuracy"] == pytest.approx(0.75)  # by_work is another experiment


def test_folders_that_are_no_runs_are_passed_over(place: Path) -> None:
    make_run(RUNS, GOOD)
    make_run(RUNS, replace(GOOD, init="flickr"), name="flickr-all.old-1")
    (RUNS / "wga_genre" / "memnet-all" / "snapshots").mkdir(parents=True)
    (RUNS / "wga_genre" / ".hidden").mkdir()
    (RUNS / "notes.txt").write_text("mine")
    records = read_runs()
    assert [run.name for run in records.runs] == ["hybrid-all"]
    assert not records.invalid


def test_edited_prototxts_are_said_in_the_notes(place: Path) -> None:
    folder = make_run(RUNS, GOOD)
    made = Path("prototxt/wga_genre/hybrid-all/.generated.json")
    made.parent.mkdir(parents=True)
    made.write_text(json.dumps({"train_val.prototxt": ["0" * 64], "solver.prototxt": ["0" * 64]}))
    change("run.json", batch=64)(folder)
    text = markdown(tables.make("2", read_runs()))
    words = "edited by hand (batch 64, train_val.prototxt, solver.prototxt)"
    assert f"experiments/runs/wga_genre/hybrid-all: {words}" in text


def of_table_2(init: str = "hybrid") -> dict[str, Any]:
    """The line of wga_genre from this init."""
    lines = tables.make("2", read_runs()).records
    return next(line for line in lines if (line["task"], line["init"]) == ("wga_genre", init))


def test_an_edited_run_is_an_experiment_of_its_own(place: Path) -> None:
    make_run(RUNS, GOOD, right=70)
    edit_by_hand(make_run(RUNS, GOOD, right=90, name="edit"))
    records = read_runs()
    assert not records.invalid
    assert {run.name: run.accuracy for run in records.tested} == {"edit": 0.9, "hybrid-all": 0.7}
    assert (of_table_2()["runs"], of_table_2()["accuracy"]) == ("hybrid-all", 0.7)
    note = "experiments/runs/wga_genre/edit: edited by hand (train_val.prototxt); not counted"
    for number in ("2", "3", "4"):
        table = tables.make(number, records)
        assert note in table.notes
        assert "edit" not in {line["runs"] for line in table.records}


def test_an_edited_run_stands_where_there_is_no_other(place: Path) -> None:
    edit_by_hand(make_run(RUNS, GOOD, right=90, name="edit"))
    edit_by_hand(make_run(RUNS, GOOD, right=95, name="another"), "num_output: 5000\n")
    edit_by_hand(make_run(RUNS, replace(GOOD, init="flickr"), right=80, name="mine"))
    edit_by_hand(make_run(RUNS, replace(GOOD, init="flickr"), right=60), "num_output: 5\n")
    notes = tables.make("2", read_runs()).notes
    assert of_table_2()["runs"] == "another"
    assert of_table_2("flickr")["runs"] == "flickr-all"  # the standard name first
    edited = "edited by hand (train_val.prototxt)"
    assert f"experiments/runs/wga_genre/another: {edited}" in notes
    assert f"experiments/runs/wga_genre/edit: {edited}; not counted" in notes


def test_an_edited_seed_is_not_averaged_in_and_is_told_in_the_grids_table(place: Path) -> None:
    grid = place / "mine.toml"
    grid.write_text('[[runs]]\ntasks = ["wga_genre"]\ninits = ["hybrid"]\nseeds = [1, 2, 3]\n')
    for seed, right in ((1, 70), (2, 90), (3, 72)):
        folder = make_run(RUNS, replace(GOOD, settings=replace(PAPER, seed=seed)), right=right)
        if seed == 2:
            edit_by_hand(folder)
    table = tables.grid_table(grid, read_runs())
    assert table.records[0]["runs"] == "hybrid-all, hybrid-all-seed3"
    assert table.records[0]["accuracy"] == pytest.approx(0.71)
    note = "hybrid-all-seed2: edited by hand (train_val.prototxt); not counted"
    assert f"experiments/runs/wga_genre/{note}" in table.notes


def test_seeds_that_were_edited_alike_have_a_mean(place: Path) -> None:
    for seed, right in ((1, 70), (2, 90)):
        folder = make_run(RUNS, replace(GOOD, settings=replace(PAPER, seed=seed)), right=right)
        edit_by_hand(folder, f"base_lr: 0.5\nrandom_seed: {seed}  # own\n", "solver.prototxt")
    assert of_table_2()["runs"] == "hybrid-all, hybrid-all-seed2"
    assert of_table_2()["accuracy"] == pytest.approx(0.8)
    again = make_run(RUNS, GOOD, right=80, name="again")
    edit_by_hand(again, "base_lr: 0.5\nrandom_seed: 1\n", "solver.prototxt")
    assert of_table_2()["runs"] == "hybrid-all, hybrid-all-seed2"
    (fault,) = read_runs().invalid
    assert "again/results.json: left out: the same experiment" in str(fault)


def test_prototxts_generated_anew_for_another_device_are_not_edited(place: Path) -> None:
    folder = make_run(RUNS, GOOD)
    (folder / "solver.prototxt").write_text("base_lr: 0.1\nsolver_mode: CPU\n")
    edit_by_hand(folder, (folder / "train_val.prototxt").read_text())  # the same text again
    made = Path("prototxt/wga_genre/hybrid-all")
    anew = made / "solver.prototxt"
    for text, edits in (
        ("base_lr: 0.1\nsolver_mode: GPU\ndevice_id: 0\n", ""),
        ("base_lr: 0.2\nsolver_mode: GPU\ndevice_id: 0\n", "edited by hand (solver.prototxt)"),
    ):
        anew.write_text(text)
        known = json.loads((made / ".generated.json").read_text())
        known["solver.prototxt"] = [sha256(anew)]
        (made / ".generated.json").write_text(json.dumps(known))
        (run,) = read_runs().runs
        assert str(run.edits) == edits


def test_the_record_made_for_tests_says_so() -> None:
    assert record(GOOD, "hybrid-all")["made"] == "made for a test, never trained"


def test_500_records_are_read_in_seconds(place: Path) -> None:
    classes = [f"artist {n}" for n in range(210)]
    first = make_run(RUNS, GOOD, images=840, right=600, classes=classes, name="r0")
    text, results = (first / "run.json").read_text(), (first / "results.json").read_bytes()
    for number in range(1, 500):
        folder = RUNS / "wga_genre" / f"r{number}"
        folder.mkdir()
        said = {**json.loads(text), "run": folder.name}
        said["settings"]["seed"] = number + 1
        (folder / "run.json").write_text(json.dumps(said))
        (folder / "results.json").write_bytes(results)
    began = time.process_time()  # computing alone: a test machine may be busy
    records = read_runs()
    for table in ("2", "3", "4"):
        markdown(tables.make(table, records))
    assert time.process_time() - began < 10
    assert len(records.tested) == 500
    assert set(SCENARIOS) >= {run.plan.scenario for run in records.runs}
