"""The report: complete, safe, fast, and as a real browser shows it."""

from __future__ import annotations

import base64
import json
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.tasks import get_task
from experiments.grid import definition
from experiments.paper import printed, report
from experiments.paper.claims import DOES_NOT, HOLDS, OPEN, claims
from experiments.paper.valid_runs import read_runs
from experiments.single_run.folder import RUNS
from experiments.single_run.plan import RunPlan
from experiments.single_run.plan_flags import add_plan_flags, plan_from
from lib.cli import Parser
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings
from tests.browser import Browser, chromium
from tests.made_runs import edit_by_hand, made_paper, make_run
from tests.pictures import write_jpeg
from tools import report as program

PROJECT = Path(__file__).resolve().parents[2]
REPORT = Path("experiments/report")
NASTY = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "a & b | c", "*_`[x](y)`")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: the current folder, with the grids of the paper."""
    monkeypatch.chdir(tmp_path)
    new_project(tmp_path)
    return tmp_path


def new_project(folder: Path) -> None:
    (folder / "experiments").mkdir()
    (folder / "experiments" / "grids").symlink_to(PROJECT / "experiments" / "grids")


class Page(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "href":
                self.links.append(value or "")
            elif name == "src":
                self.sources.append(value or "")
            elif name == "id":
                self.ids.add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def check_addresses(folder: Path) -> int:
    """Every address of every page leads to a file in the folder; how many there were."""
    count = 0
    for path in folder.rglob("*.html"):
        page = Page(path)
        for address in (*page.links, *page.sources):
            parts = urlsplit(address)
            assert not parts.scheme, f"{path}: {address} leads outside"
            assert not parts.netloc, f"{path}: {address} leads outside"
            if not parts.path:
                assert parts.fragment in page.ids
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            assert target.is_file(), f"{path}: {address} leads nowhere"
            assert target.is_relative_to(folder.resolve())
            count += 1
    return count


# ---- what it holds ------------------------------------------------------------------------------


def test_with_nothing_it_says_how_to_get_everything(place: Path) -> None:
    report.build(read_runs())
    text = Page(REPORT / "index.html").text
    assert "No runs yet." in text
    assert "table2: 0 of 45 runs are tested" in text
    assert "make grid GRID=experiments/grids/table2.toml" in text
    assert text.count("Not drawn yet.") == 16
    assert "make wga_artist INIT=flickr SCENARIO=only_last" in text
    assert "0.762" in text  # the printed numbers are there
    check_addresses(REPORT)


def test_with_all_runs_all_is_there(place: Path) -> None:
    made_paper(RUNS)
    report.build(read_runs())
    page = Page(REPORT / "index.html")
    assert "81 runs: 81 tested." in page.text
    assert "table2: 45 of 45 runs are tested" in page.text
    for number in (7, 8, 9, 10, 11, 12, 13, 14):
        assert f"fig{number}.png" in page.sources
    assert len(list((REPORT / "runs").glob("*/*.html"))) == 81
    assert check_addresses(REPORT) > 81 * 8
    markdown = (REPORT / "report.md").read_text(encoding="utf-8")
    assert "### Table 2" in markdown
    assert "![Figure 8" in markdown
    assert "| wga_genre | hybrid-all | tested |" in markdown


def test_page_of_a_run(place: Path) -> None:
    plan = RunPlan("met_nationality", "scratch", "all", Settings(epochs=15, lr=0.001, batch=32))
    folder = make_run(RUNS, plan, right=40, name="my_try")
    Image.new("RGB", (50, 50)).save(folder / "confusion.png")
    path = folder / "run.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "batch": 32}))
    prototxts = Path("prototxt/met_nationality/my_try")
    prototxts.mkdir(parents=True)
    report.build(read_runs())
    page = Page(REPORT / "runs/met_nationality/my_try.html")
    line = "make met_nationality INIT=scratch SCENARIO=all EPOCHS=15 LR=0.001 BATCH=32 RUN=my_try"
    assert line in page.text
    assert "Test accuracy 0.4000 (top-1) of 100 images" in page.text
    assert "my_try/confusion.png" in page.sources
    for name in ("caffe.log", "train_val.prototxt", "solver.prototxt", "deploy.prototxt"):
        assert f"my_try/{name}.txt" in page.links
        copy = REPORT / "runs/met_nationality" / f"my_try/{name}.txt"
        assert copy.read_bytes() == (folder / name).read_bytes()
    assert "free to edit: prototxt/met_nationality/my_try" in page.text
    assert page.text.count("the same") == len(said["settings"]) - 3


def test_the_make_line_makes_the_same_run(place: Path) -> None:
    plan = RunPlan(
        "wga_genre", "hybrid", "skip_first2", Settings(epochs=20, lr=0.001, seed=3), "by_work", 2
    )
    make_run(RUNS, plan)
    (run,) = read_runs().runs
    make, task, *words = run.make_line.split()
    assert make == "make"
    flags = [
        f"--{w.partition('=')[0].lower().replace('_', '-')}={w.partition('=')[2]}" for w in words
    ]
    parser = Parser()
    add_plan_flags(parser)
    again = plan_from(vars(parser.parse_args(["--task", task, *flags])))
    assert again == plan
    assert again.name == run.name


def test_invalid_records_are_named(place: Path) -> None:
    folder = make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    (folder / "results.json").write_text("{")
    broken = make_run(RUNS, RunPlan("wga_genre", "flickr", "all", PAPER))
    (broken / "run.json").write_text("{")
    report.build(read_runs())
    text = Page(REPORT / "index.html").text
    assert "1 run: 1 trained; 2 records left out." in text
    assert f"{broken}/run.json: can't be read" in text
    page = Page(REPORT / "runs/wga_genre/hybrid-all.html")
    assert "Not tested: can't be read" in page.text
    assert not (REPORT / "runs/wga_genre/flickr-all.html").exists()


def test_edited_runs_are_listed_as_such(place: Path) -> None:
    make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    plan = RunPlan("wga_genre", "hybrid", "all", PAPER)
    edit_by_hand(make_run(RUNS, plan, right=42, name="edit"))
    report.build(read_runs())
    markdown = (REPORT / "report.md").read_text(encoding="utf-8")
    edited = "edited by hand (train_val.prototxt)"
    assert f"| wga_genre | edit | tested, {edited} | 0.4200 |" in markdown
    assert "| wga_genre | hybrid-all | tested | 0.7000 |" in markdown
    assert "2 runs: 2 tested." in markdown
    assert f"tested, {edited}" in Page(REPORT / "index.html").text
    assert f"It was {edited}" in Page(REPORT / "runs/wga_genre/edit.html").text


def test_runs_that_are_gone_leave_the_report(place: Path) -> None:
    folder = make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    report.build(read_runs())
    shutil.rmtree(folder)
    report.build(read_runs())
    assert not list((REPORT / "runs").iterdir())
    check_addresses(REPORT)


def test_a_folder_of_others_is_not_replaced(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (REPORT / "runs").mkdir(parents=True)
    (REPORT / "runs" / "diary.txt").write_text("my own runs")
    report.build(read_runs())
    assert (REPORT / "runs.backup-1" / "diary.txt").read_text() == "my own runs"
    assert "it is now" in capsys.readouterr().out
    report.build(read_runs())
    assert not (REPORT / "runs.backup-2").exists()


def test_what_other_programs_drew_is_shown(place: Path) -> None:
    for name in ("fig1", "fig15", "classes_wga_genre", "compare/a-their"):
        path = REPORT / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(path)
    for drawn in ("wga/fig16.png", "wga/fig15/some query.png"):
        of_features = Path("experiments/features") / drawn
        of_features.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(of_features)
    (REPORT / "table1.csv").write_text("task,classes,remark\nwga_genre,6,a <b> remark\n")
    (REPORT / "significance-wga_genre.csv").write_text("one,other,p\nhybrid,flickr,0.001\n")
    (REPORT / "grid-my.csv").write_text("task,init,empty,accuracy\nmet_nationality,scratch,,0.5\n")
    (REPORT / "grid-broken.csv").write_text("")
    report.build(read_runs())
    page = Page(REPORT / "index.html")
    for name in ("fig1", "fig15", "classes_wga_genre", "compare/a-their"):
        assert f"{name}.png" in page.sources
    for address in ("features/wga-fig16.png", "features/wga-fig15-some%20query.png"):
        assert address in page.sources
    assert page.sources[0] == "fig1.png"
    assert len(page.sources) == len(set(page.sources))
    assert "a <b> remark" in page.text
    assert "Is it different?" in page.text
    assert "McNemar" in page.text
    assert "Grids of your own" in page.text
    assert "empty" not in page.text  # a column without any value
    check_addresses(REPORT)
    markdown = (REPORT / "report.md").read_text(encoding="utf-8")
    for line in (
        "| wga_genre | 6 | a \\<b\\> remark |",
        "| met_nationality | scratch | 0.5 |",
        "| hybrid | flickr | 0.001 |",
    ):
        assert line in markdown


def test_curves_and_matrices_that_were_drawn_are_linked(place: Path) -> None:
    folder = make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    report.build(read_runs())
    page = Page(REPORT / "runs/wga_genre/hybrid-all.html")
    assert "No picture of its curve yet" in page.text
    for name in ("curve.png", "curve.pdf", "confusion.png", "confusion.pdf"):
        (folder / name).write_bytes(b"a picture")
    report.build(read_runs())
    page = Page(REPORT / "runs/wga_genre/hybrid-all.html")
    assert {"hybrid-all/curve.png", "hybrid-all/confusion.png"} <= set(page.sources)
    assert {"hybrid-all/curve.pdf", "hybrid-all/confusion.pdf"} <= set(page.links)
    index = Page(REPORT / "index.html")
    assert index.sources[:2] == [  # the report begins with them
        "runs/wga_genre/hybrid-all/curve.png",
        "runs/wga_genre/hybrid-all/confusion.png",
    ]
    check_addresses(REPORT)


def test_it_begins_with_the_surest_mistakes_and_hits_of_the_last_run(place: Path) -> None:
    pictures = [f"{n}.jpg" for n in range(40)]
    make_run(
        RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER), images=40, right=30, pictures=pictures
    )
    data = Path("datasets/wga_genre")
    data.mkdir(parents=True)
    for n, name in enumerate(pictures[:39]):
        write_jpeg(place / "images" / name, n)
    (data / "lists.json").write_text(
        json.dumps({"images_root": str(place / "images"), "sha256": {}})
    )
    report.build(read_runs())
    page = Page(REPORT / "index.html")
    shown = [name for name in page.sources if name.endswith(".jpg")]
    assert 10 <= len(shown) <= 12
    assert "Surest mistakes" in page.text
    said = pd.read_csv(RUNS / "wga_genre/hybrid-all/predictions.csv")
    wrong = said[said["right"] == 0].sort_values("probability1", ascending=False).iloc[0]
    words = f"{wrong['class1']} not {wrong['true']}, {100 * wrong['probability1']:.0f} %"
    assert words in " ".join(page.text.split())
    assert "Most confused classes of hybrid-all" in page.text
    check_addresses(REPORT)


def test_claims_are_judged_by_runs_alone(place: Path) -> None:
    verdicts = {each.says: each.verdict for each in claims(read_runs())}
    assert len(verdicts) == 13
    assert set(verdicts.values()) == {OPEN}
    assert all("make grid GRID=" in each.ours for each in claims(read_runs()))
    rights = made_paper(RUNS)
    found = {each.says: each for each in claims(read_runs())}
    best = found["For most tasks the highest accuracy is that from Hybrid-CNN."]
    assert best.paper == "in 8 of 9 tasks"
    share = {key: right / images for key, (right, images) in rights.items()}
    wins = sum(
        max(printed.INITS, key=lambda init: share[task, init, "all"]) == "hybrid"
        for task in printed.tasks()
    )
    assert best.ours.startswith(f"in {wins} of 9 tasks; by more than chance allows in ")
    assert best.verdict == (HOLDS if wins > 4 else DOES_NOT)
    skipping = next(each for each in found.values() if each.section == "5.2")
    assert skipping.paper == "in 7 of 9 tasks"
    variance = next(each for says, each in found.items() if says.startswith("The variance"))
    assert variance.paper == "artist 9.92e-4 to 36.1e-4, genre 0.726e-4 to 1.63e-4"


def test_claims_on_styles_are_read_from_the_matrix(place: Path) -> None:
    names = ("Ukiyo-e", "Academicism", "Realism", "Impressionism", "Post-Impressionism")
    folder = make_run(
        RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER), classes=names, right=70
    )
    counts = np.array(
        [[19, 0, 0, 0, 1], [0, 5, 15, 0, 0], [0, 5, 15, 0, 0], [0, 0, 0, 15, 5], [0, 0, 0, 4, 16]]
    )
    lines = [",".join([name, *map(str, row)]) for name, row in zip(names, counts, strict=True)]
    (folder / "confusion.csv").write_text("\n".join([",".join(["", *names]), *lines]) + "\n")
    said = json.loads((folder / "results.json").read_text())
    said["per_class"] = [
        {"class": name, "images": 20, "right": int(counts[n, n]), "accuracy": counts[n, n] / 20}
        for n, name in enumerate(names)
    ]
    (folder / "results.json").write_text(json.dumps(said))
    found = {each.says: each for each in claims(read_runs())}
    ukiyo = found["The most distinct style is Ukiyo-e."]
    assert ukiyo.verdict == HOLDS
    assert ukiyo.ours.startswith("Ukiyo-e: 95% of 20 (76% to 99%), 1st highest of 5")
    assert found["The poorest style is Academicism."].verdict == HOLDS
    taken = found["Academicism is most often taken for Realism."]
    assert (taken.verdict, taken.ours) == (HOLDS, "Academicism as Realism: 75% (15), 1st of all")
    often = next(each for says, each in found.items() if says.startswith("Often confused"))
    assert often.verdict == OPEN  # Rococo is none of these classes


def test_retrieval_scores_are_shown(place: Path) -> None:
    path = Path("experiments/features/wga_genre/retrieval.csv")
    path.parent.mkdir(parents=True)
    path.write_text("model,label,mAP\nwga_genre/hybrid-all,genre,0.4321\n")
    report.build(read_runs())
    text = Page(REPORT / "index.html").text
    assert "0.4321" in text
    assert "precision at k" in text
    assert "| wga_genre/hybrid-all | genre | 0.4321 |" in (REPORT / "report.md").read_text()


def test_one_bad_record_never_kills_the_report(place: Path) -> None:
    good = make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    surrogate = make_run(RUNS, RunPlan("wga_genre", "flickr", "all", PAPER))
    text = (surrogate / "run.json").read_text()
    (surrogate / "run.json").write_text(text.replace('"reason": null', '"reason": "a \\ud800 b"'))
    for name, init in (("curve", "memnet"), ("deep", "sentiment"), ("lacking", "caffenet")):
        folder = make_run(RUNS, RunPlan("wikiart_style", init, "all", PAPER))
        if name == "curve":
            lines = (folder / "curve.csv").read_text().splitlines()
            lines[2] = "-200,-20,-1,-3,-1,-60,-2,-0.5"
            (folder / "curve.csv").write_text("\n".join(lines) + "\n")
        elif name == "deep":
            (folder / "run.json").write_text("[" * 100_000)
        else:
            said = json.loads((folder / "results.json").read_text())
            del said["macro_f1"]
            (folder / "results.json").write_text(json.dumps(said))
    (good / "predictions.csv").write_bytes(b"\xff\xfe\x00")
    (good / "confusion.csv").write_text("nonsense")
    report.build(read_runs())
    page = Page(REPORT / "index.html")
    assert "hybrid-all" in page.text
    for folder in (RUNS / "wikiart_style/sentiment-all", RUNS / "wikiart_style/caffenet-all"):
        assert str(folder) in page.text.partition("Left out")[2] or folder.name in page.text
    assert "wikiart_style/sentiment-all/run.json" in page.text
    assert "wikiart_style/caffenet-all/results.json" in page.text
    check_addresses(REPORT)


def test_papers_tasks_taken_out_of_tasks_toml_are_said(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(RUNS, RunPlan("met_nationality", "scratch", "all", PAPER))
    few = {"met_nationality": get_task("met_nationality")}
    monkeypatch.setattr(definition, "load_tasks", lambda: few)
    report.build(read_runs())
    text = Page(REPORT / "index.html").text
    assert "unknown task in experiments/grids/table2.toml" in text
    assert "met_nationality: scratch-all" in text


ODD = (b"-1", b'"\\ud800"', b"1e400", b"NaN", b"null", b"[]", b"\xff", b"", b"9" * 30, b"\x00")


def test_the_report_survives_random_damages(place: Path) -> None:
    """A value of a random file is replaced by something odd; the seed names the try."""
    make_run(RUNS, RunPlan("wga_genre", "flickr", "all", PAPER))
    folder = make_run(RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER))
    names = ("run.json", "results.json", "curve.csv", "confusion.csv", "predictions.csv")
    whole = {name: (folder / name).read_bytes() for name in names}
    for seed in range(12):
        chance = random.Random(seed)
        name = names[seed % len(names)]
        places = [m.span() for m in re.finditer(rb'-?\d+\.?\d*|"[^"]*"|[A-Za-z_]+', whole[name])]
        start, end = chance.choice(places)
        odd = chance.choice(ODD)
        (folder / name).write_bytes(whole[name][:start] + odd + whole[name][end:])
        report.build(read_runs())
        assert "flickr-all" in Page(REPORT / "index.html").text, seed
        (folder / name).write_bytes(whole[name])


def test_a_full_disk_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(RUNS, RunPlan("wga_genre", "hybrid", "all", PAPER))
    monkeypatch.setattr("sys.argv", ["report"])
    program.main()
    (REPORT / "index.html").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes fail with EFBIG instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(UserError, match=r"no space left .*free some"):
            program.main()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    program.main()
    assert (REPORT / "index.html").is_file()


# ---- names from catalogues ----------------------------------------------------------------------


def make_nasty(root: Path) -> Path:
    """A run whose classes, paths and reasons hold what would harm a page that trusts them."""
    plan = RunPlan("wikiart_style", "hybrid", "all", PAPER)
    folder = make_run(
        root, plan, classes=NASTY, pictures=[f"{NASTY[0]}/{n}.jpg" for n in range(100)]
    )
    path = folder / "run.json"
    said = json.loads(path.read_text())
    said.update(weights=NASTY[0], reason=NASTY[1], mean=NASTY[2])
    said["sessions"][0]["engine"]["blas"] = NASTY[1]
    path.write_text(json.dumps(said))
    task = f"wga_genre {NASTY[1].replace('/', '')} #1?x=100%"
    own = make_run(root, replace(plan, task=task), classes=NASTY, name="x' onclick='alert(3)")
    Image.new("RGB", (20, 20)).save(own / "confusion.png")
    bad = root / "wga_genre" / "<script>alert(4)<"
    bad.mkdir(parents=True)
    (bad / "run.json").write_text("{")
    return folder


def test_names_are_escaped(place: Path) -> None:
    make_nasty(RUNS)
    report.build(read_runs())
    for path in REPORT.rglob("*.html"):
        page = Page(path)
        assert not {"script", "iframe", "object", "link"} & set(page.tags)
        assert "x" not in page.sources
        assert "onclick" not in path.read_text(encoding="utf-8").replace(
            "&#39; onclick=", ""
        ).replace("x%27%20onclick%3D%27", "")
    run_page = Page(REPORT / "runs/wikiart_style/hybrid-all.html")
    for name in NASTY:
        assert name in run_page.text
    check_addresses(REPORT)
    markdown = (REPORT / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown.replace("\\<script", "")
    assert "<img" not in markdown.replace("\\<img", "")


# ---- speed --------------------------------------------------------------------------------------


def test_500_runs_take_less_than_ten_seconds(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for task in (*printed.tasks(), "met_nationality"):
        size = printed.sizes().get(task, printed.Size(8, 600))
        first = make_run(
            RUNS,
            RunPlan(task, "hybrid", "all", PAPER),
            images=840,
            right=500,
            classes=[f"class {n}" for n in range(27 if task == "wikiart_style" else size.classes)],
            epochs=1000,
        )
        text = (first / "run.json").read_text()
        for seed in range(2, 51):
            plan = RunPlan(task, "hybrid", "all", replace(PAPER, seed=seed))
            said = {**json.loads(text), "run": plan.name}
            said["settings"]["seed"] = seed
            shutil.copytree(first, RUNS / task / plan.name)
            (RUNS / task / plan.name / "run.json").write_text(json.dumps(said))
    monkeypatch.setattr("sys.argv", ["report"])
    began = time.process_time()  # computing alone: a test machine may be busy with other things
    program.main()
    assert time.process_time() - began < 10
    assert len(list(REPORT.glob("fig*.png"))) == 10  # all of ours are among them
    assert len(list((REPORT / "runs").glob("*/*.html"))) == 500
    assert "500 runs: 500 tested." in Page(REPORT / "index.html").text


# ---- in a real browser --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, once for this file."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of all runs of Tables 2 and 3, a nasty one among them, moved elsewhere."""
    folder = tmp_path_factory.mktemp("full")
    new_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_paper(RUNS)
        shutil.rmtree(RUNS / "wikiart_style/hybrid-all")
        make_nasty(RUNS)
        Image.new("RGB", (900, 900)).save(RUNS / "wikiart_style/hybrid-all/confusion.png")
        report.build(read_runs())
    moved = tmp_path_factory.mktemp("else where") / "the report"
    shutil.move(folder / REPORT, moved)
    shutil.rmtree(folder)
    return moved


PAGES = ("index.html", "runs/wikiart_style/hybrid-all.html")


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_it_whole(
    name: str, width: int, dark: bool, full: Path, browser: Browser
) -> None:
    browser.open(full / name, width, dark=dark)
    browser.open_details()
    assert browser.errors() == []
    broken = browser.run(
        "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
    )
    assert broken == []
    assert browser.run("return document.images.length") >= (8 if name == "index.html" else 1)
    # The page itself never scrolls sideways; tables do, within their frames.
    assert browser.run("return document.documentElement.scrollWidth") <= width
    tables = browser.run(
        """return [...document.querySelectorAll('table')].map(table => {
            const frame = table.parentElement, cells = [...table.querySelectorAll('td, th')];
            const seen = cells.filter(cell => cell.checkVisibility());
            return {
                fits: frame.getBoundingClientRect().right <= innerWidth + 0.5,
                scrolls: getComputedStyle(frame).overflowX === 'auto',
                wide: frame.scrollWidth > frame.clientWidth + 1,
                size: Math.min(...seen.map(cell => parseFloat(getComputedStyle(cell).fontSize))),
                cut: seen.filter(cell => cell.scrollWidth > cell.clientWidth + 1).length,
                rows: table.rows.length,
                caption: table.caption ? table.caption.textContent : '',
            };
        })"""
    )
    assert tables
    for table in tables:
        assert table["fits"]
        assert table["scrolls"]
        assert table["size"] >= 12  # pixels
        assert table["cut"] == 0  # nothing sticks out of its cell
    if name == "index.html" and width == 1280:
        of_two, of_three = (
            next(table for table in tables if table["caption"].startswith(f"Table {number}: test"))
            for number in (2, 3)
        )
        assert (of_two["rows"], of_three["rows"]) == (10, 6)
        assert not of_two["wide"]  # Tables 2 and 3 are seen whole
        assert not of_three["wide"]


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(dark: bool, full: Path, browser: Browser) -> None:
    browser.open(full / "index.html", 1280, dark=dark)
    ground, *inks = browser.run(
        """const colour = (what, of) => getComputedStyle(what)[of].match(/[\\d.]+/g).map(Number);
        const texts = ['body', '.notes', 'a', '.higher', '.lower', '.printed', '.change'];
        return [colour(document.body, 'backgroundColor'),
                ...texts.map(text => colour(document.querySelector(text), 'color'))];"""
    )
    for ink in inks:
        assert contrast(ink, ground) >= 4.5  # WCAG 2, AA


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast ratio of two sRGB colours after WCAG 2."""

    def light(colour: list[float]) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (value / 255 for value in colour[:3])
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((light(one), light(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_print_cuts_nothing_and_opens_what_is_folded(
    name: str, full: Path, browser: Browser, tmp_path: Path
) -> None:
    browser.open(full / name, 1032)  # A4 landscape less its margins, at 96 dots an inch
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    cut = browser.run(
        """return [...document.querySelectorAll('table')].filter(table => {
            const frame = table.parentElement, box = table.getBoundingClientRect();
            return box.right > innerWidth + 0.5 || getComputedStyle(frame).overflowX !== 'visible'
                || !table.checkVisibility({contentVisibilityAuto: true}) || box.height < 10;
        }).map(table => table.textContent.slice(0, 80))"""
    )
    assert cut == []
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    made = browser.driver.execute_cdp_cmd(
        "Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True}
    )
    (tmp_path / "page.pdf").write_bytes(base64.b64decode(made["data"]))
    if shutil.which("pdftotext") is None:
        return  # the checks above are Chromium's own; poppler only reads its PDF once more
    done = subprocess.run(
        ["pdftotext", "-layout", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True
    )
    text = " ".join(done.stdout.split())
    if name == "index.html":
        last = [printed.by_scenario()["wga_nationality", scenario] for scenario in SCENARIOS]
        for value in last:  # the last column of Table 3
            assert f"{value:.3f}" in text
        assert "variance, ours" in text
        assert "Intervals, numbers of test images, runs" in text
        assert text.count("only_last3") > 9  # what is folded on the screen too


@pytest.mark.browser
def test_links_lead_from_page_to_page(full: Path, browser: Browser) -> None:
    browser.open(full / "index.html", 1280)
    browser.run("document.querySelector('a[href*=\"wga_artist/hybrid-all.html\"]').click()")
    assert "wga_artist: hybrid-all" in browser.driver.title
    browser.run("[...document.links].find(a => a.textContent === 'caffe.log').click()")
    assert "made for a test, never trained" in browser.run("return document.body.innerText")
    assert browser.errors() == []
