"""Figures 5 to 14 from made runs: their numbers, their look on paper, and what they lack."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from experiments.paper.figures.choice import Choice
from experiments.paper.figures.every import OF_RUNS, plot
from experiments.paper.figures.pairs import confused_pairs
from experiments.paper.printed import INITS, by_scenario
from experiments.paper.valid_runs import Records, read_runs
from experiments.single_run.confusion import (
    Matrix,
    draw,
    draw_confusion,
    fits_column,
    readable_on,
)
from experiments.single_run.figure_style import COLUMN, SMALLEST, WIDTH, look
from experiments.single_run.folder import RUNS
from experiments.single_run.plan import RunPlan, without_seed
from experiments.single_run.plots import draw_curve
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings
from tests.made_runs import edit_by_hand, made_paper, make_run
from tests.pictures import write_jpeg
from tools import fig as program

REPORT = Path("experiments/report")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_it(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the program as a user does."""
    number, *others = words
    monkeypatch.setattr("sys.argv", ["fig", f"fig{number}", *others])
    program.main()


def read(name: str) -> pd.DataFrame:
    """The numbers of a drawn figure."""
    return pd.read_csv(REPORT / f"{name}.csv")


def drawn(number: str, choice: Choice | None = None) -> Figure:
    """The figure itself, in its look."""
    made = plot(number, choice or Choice(), read_runs())
    draw = made.draw
    assert draw
    return laid_out(lambda: draw(WIDTH))


def laid_out(draw: Callable[[], Figure]) -> Figure:
    """A figure in its look, drawn, so that all its texts have their places."""
    with mpl.rc_context(look()):
        figure = draw()
        FigureCanvasAgg(figure).draw()
    return figure


def is_picture(path: Path) -> bool:
    """Whether there is something on it."""
    with Image.open(path) as image:
        return len(set(image.convert("L").resize((200, 200)).tobytes())) > 5


# ---- what is missing ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", OF_RUNS)
def test_without_runs_it_fails_and_says_which_it_needs(
    number: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as caught:
        run_it(monkeypatch, number)
    said = str(caught.value)
    assert "\n" not in said
    assert f"fig{number} not drawn: it lacks " in said
    assert "`make wikiart_" in said or "`make wga_" in said
    assert not REPORT.exists()


def test_what_is_there_is_drawn_and_the_rest_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(RUNS, RunPlan("wikiart_artist", "hybrid", "all", PAPER))
    run_it(monkeypatch, "5")
    said = capsys.readouterr().out
    assert "fig5 is not complete: it lacks 9 runs: `make wikiart_artist INIT=memnet" in said
    assert set(read("fig5")["curve"]) == {"hybrid"}


def test_words_are_checked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown figure 'fig55'"):
        run_it(monkeypatch, "55")
    with pytest.raises(UserError, match="unknown task 'wga_artis': did you mean wga_artist"):
        run_it(monkeypatch, "5", "--task", "wga_artis")
    with pytest.raises(UserError, match=r"RUN=none: no runs of wga_genre yet"):
        run_it(monkeypatch, "10", "--task", "wga_genre", "--run", "none")


# ---- curves -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "task"), [("5", "wikiart_artist"), ("6", "wga_artist")])
def test_curves_by_init(number: str, task: str, place: Path) -> None:
    for init, scenario in itertools.product(INITS, ("all", "only_last")):
        value = 0.5 + 0.05 * INITS.index(init)
        make_run(RUNS, RunPlan(task, init, scenario, PAPER), validation=value)
    made = plot(number, Choice(), read_runs())
    assert not made.missing
    assert list(dict.fromkeys(made.table["panel"])) == ["all layers learn", "only the last"]
    for init in INITS:
        curve = made.table[(made.table["curve"] == init) & (made.table["panel"] == "only the last")]
        assert list(curve["epoch"]) == [0, 20, 40, 60, 80, 100]
        top = (0.5 + 0.05 * INITS.index(init)) * (0.3 + 0.7 * (1 - np.exp(-3)))
        assert curve["val_accuracy"].iloc[-1] == pytest.approx(top, abs=1e-5)
    left, right = drawn(number).axes
    assert left.get_xlabel() == "epoch"
    for axes in (left, right):
        lines = [line for line in axes.get_lines() if isinstance(line, Line2D)]
        # Colour-blind readers, and a grey print: no two share a colour, a dash or a marker.
        for of in (Line2D.get_color, Line2D.get_linestyle, Line2D.get_marker):
            looks = [str(of(line)) for line in lines]
            if of is Line2D.get_linestyle:  # all custom dashes are "--" to matplotlib
                looks = [str(line._unscaled_dash_pattern) for line in lines]  # type: ignore[attr-defined]
            assert len(set(looks)) == len(INITS)


def test_curves_by_scenario(place: Path) -> None:
    for scenario in SCENARIOS:
        make_run(RUNS, RunPlan("wikiart_style", "hybrid", scenario, PAPER))
    make_run(RUNS, RunPlan("wikiart_style", "flickr", "all", PAPER), validation=0.9)
    table = plot("7", Choice(), read_runs()).table
    assert list(dict.fromkeys(table["curve"])) == list(SCENARIOS)
    assert table["val_accuracy"].max() < 0.6  # not the flickr run


def test_edited_runs_are_drawn_only_where_there_is_no_other(place: Path) -> None:
    for scenario in ("all", "only_last"):
        plan = RunPlan("wikiart_style", "hybrid", scenario, PAPER)
        edit_by_hand(make_run(RUNS, plan, right=90, name=f"edit-{scenario}"))
    make_run(RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER), right=70)
    remark = "wikiart_style/edit-only_last: edited by hand (train_val.prototxt)"
    for number in ("7", "8", "9"):
        made = plot(number, Choice(), read_runs())
        names = made.table["run" if "run" in made.table else "runs"].dropna()
        assert set(names) == {"hybrid-all", "edit-only_last"}
        assert made.remarks == (remark,)
    for number in ("10", "11"):  # its best run
        assert remark in plot(number, Choice(), read_runs()).remarks


def test_a_run_on_its_way_is_drawn_as_far_as_it_is(place: Path) -> None:
    folder = make_run(RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER), tested=False)
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "training"}))
    curve = folder / "curve.csv"
    lines = curve.read_text().splitlines(keepends=True)
    curve.write_text("".join(lines[:4]) + lines[4][:9])  # a kill cut the last line short
    (axes,) = drawn("7").axes
    legend = axes.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == ["all (to epoch 40)"]


def test_of_ones_own_task_and_settings(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = Settings(epochs=2, lr=0.01)
    make_run(RUNS, RunPlan("met_nationality", "scratch", "all", short))
    run_it(monkeypatch, "5", "--task", "met_nationality", "--epochs", "2", "--lr", "0.01")
    assert set(read("fig5-met_nationality")["curve"]) == {"scratch"}
    words = ["--task", "met_nationality", "--init", "scratch", "--epochs", "2", "--lr", "0.01"]
    run_it(monkeypatch, "7", *words)
    assert set(read("fig7-met_nationality")["curve"]) == {"all"}
    assert without_seed(short) == short


# ---- accuracy and time --------------------------------------------------------------------------


def test_accuracy_and_time_of_the_scenarios(place: Path) -> None:
    for n, scenario in enumerate(SCENARIOS):
        plan = RunPlan("wikiart_style", "hybrid", scenario, PAPER)
        make_run(RUNS, plan, right=50 + n, seconds=3600.0 * (10 - n))
    accuracy, time = (plot(n, Choice(), read_runs()) for n in ("8", "9"))
    assert list(accuracy.table["ours"]) == [0.5, 0.51, 0.52, 0.53, 0.54]
    assert list(accuracy.table["printed"]) == [by_scenario()["wikiart_style", s] for s in SCENARIOS]
    assert (accuracy.table["low"] < accuracy.table["ours"]).all()
    assert list(time.table["hours"]) == [10, 9, 8, 7, 6]
    assert "CPU (Zen, 1 threads)" in time.caption
    assert not time.remarks
    (axes,) = drawn("8").axes
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert heights == [*accuracy.table["printed"], *accuracy.table["ours"]]


def test_times_of_different_machines_are_not_compared_silently(place: Path) -> None:
    for scenario in ("all", "only_last"):
        folder = make_run(RUNS, RunPlan("wikiart_style", "hybrid", scenario, PAPER))
    path = folder / "run.json"
    said = json.loads(path.read_text())
    said["sessions"][0]["gpu"] = 0
    path.write_text(json.dumps(said))
    made = plot("9", Choice(), read_runs())
    assert made.remarks == (
        "the runs were trained on different machines: their times can't be compared",
    )


# ---- confusion matrices -------------------------------------------------------------------------


def test_confusion_matrix_is_of_the_best_run_and_row_normalised(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(RUNS, RunPlan("wikiart_style", "flickr", "all", PAPER), right=60)
    best = make_run(RUNS, RunPlan("wikiart_style", "hybrid", "only_last", PAPER), right=80)
    run_it(monkeypatch, "10")
    table = read("fig10")
    assert set(table["run"]) == {best.name}
    matrix = table.pivot(index="true", columns="predicted", values="share")
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-5)
    with (best / "confusion.csv").open() as handle:
        counts = pd.read_csv(handle, index_col=0).to_numpy()
    assert np.allclose(matrix.to_numpy(), counts / counts.sum(axis=1, keepdims=True), atol=1e-6)
    said = json.loads((best / "results.json").read_text())["per_class"]
    assert np.allclose(np.diag(matrix), [each["accuracy"] for each in said], atol=1e-6)
    assert is_picture(REPORT / "fig10.png")
    assert (REPORT / "fig10.pdf").read_bytes().startswith(b"%PDF")
    run_it(monkeypatch, "10", "--task", "wikiart_style", "--run", "flickr-all")
    assert set(read("fig10-wikiart_style")["run"]) == {"flickr-all"}
    run_it(monkeypatch, "10", "--run", f"wikiart_style/{best.name}")
    assert set(read("fig10-wikiart_style")["run"]) == {best.name}
    with pytest.raises(UserError, match=r"unknown run \(of RUN=\)"):
        run_it(monkeypatch, "10", "--task", "wikiart_style", "--run", "wga_style/flickr-all")


@pytest.mark.parametrize(
    ("number", "tasks"),
    [
        ("12", ["wikiart_genre", "wga_genre"]),
        ("13", ["wikiart_artist", "wga_artist"]),
        ("14", ["wikiart_nationality", "wga_nationality"]),
    ],
)
def test_two_matrices_in_one_figure(number: str, tasks: list[str], place: Path) -> None:
    for task in tasks:
        names = [f"a name as long as some {n}" for n in range(4)]
        plan = RunPlan(task, "hybrid", "all", PAPER)
        make_run(RUNS, plan, classes=names, right=14_000, images=20_000)
    assert list(dict.fromkeys(plot(number, Choice(), read_runs()).table["task"])) == tasks
    figure = drawn(number)
    page = figure.get_window_extent()
    first, second = figure.axes
    assert first.get_title().startswith(tasks[0])
    assert second.get_title().startswith(tasks[1])
    assert first.get_position().x0 < second.get_position().x0  # small ones side by side
    titles = [axes.title.get_window_extent() for axes in (first, second)]
    assert titles[0].x1 < second.yaxis.label.get_window_extent().x0
    assert titles[1].x1 < page.x1


def made(count: int, name: str = "Rembrandt Harmensz. van Rijn the {}th") -> Matrix:
    """A matrix of so many classes."""
    classes = [name.format(n) for n in range(count)]
    counts = np.random.default_rng(1).integers(0, 9, (count, count))
    return Matrix(counts, classes, "ticc_artist: 76.8% of 11726 test images")


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 23, 27, 210])
def test_every_class_can_be_read_in_print(count: int) -> None:
    figure = laid_out(lambda: draw([made(count)]))
    (axes,) = figure.axes
    labels = axes.get_yticklabels()
    assert len(labels) == count
    size = float(labels[0].get_fontsize())
    assert size >= 6  # points, on paper
    side = axes.get_position().height * figure.get_size_inches()[1] * 72
    assert side / count > size  # a line each: names don't lie on each other
    page = figure.get_window_extent()
    for text in (*labels, *axes.get_xticklabels(), axes.xaxis.label, axes.yaxis.label, axes.title):
        box = text.get_window_extent()
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    names = [text.get_window_extent() for text in labels]
    assert axes.yaxis.label.get_window_extent().x1 <= min(box.x0 for box in names) + 1
    if count <= 30:
        assert figure.get_size_inches()[0] <= WIDTH + 0.01
        assert figure.get_size_inches()[1] <= 10.7
        assert min(float(text.get_fontsize()) for text in axes.texts) >= SMALLEST


@pytest.mark.parametrize("count", [4, 10, 12])
def test_few_classes_fit_a_column(count: int) -> None:
    matrix = made(count, "class no. {}")
    assert fits_column([matrix])
    figure = laid_out(lambda: draw([matrix], COLUMN))
    check_letters(figure, COLUMN)


def test_many_classes_have_no_column() -> None:
    assert not fits_column([made(27)])
    assert not fits_column([made(210)])


def check_letters(figure: Figure, width: float) -> None:
    """At the width it is printed at all letters are 6 points or more, and none is cut."""
    assert figure.get_size_inches()[0] <= width + 0.01
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert texts
    for text in texts:
        assert float(text.get_fontsize()) >= SMALLEST, text.get_text()
    whole = figure.get_tightbbox()  # inches, around all that is drawn
    across, height = figure.get_size_inches()
    assert whole.x0 >= -0.02
    assert whole.y0 >= -0.02
    assert whole.x1 <= across + 0.02
    assert whole.y1 <= height + 0.02


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
@pytest.mark.parametrize("number", OF_RUNS)
def test_letters_can_be_read_where_they_are_printed(
    number: str, width: float, paper_runs: Records
) -> None:
    figure = plot(number, Choice(), paper_runs)
    drawing = figure.draw
    assert drawing
    if width == COLUMN and not figure.has_column:
        return
    check_letters(laid_out(lambda: drawing(width)), width)


@pytest.fixture(scope="module")
def paper_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """All runs of Tables 2 and 3, and the scenarios' of Figures 5 and 6."""
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_paper(RUNS)
        for task in ("wikiart_artist", "wga_artist"):
            for init in INITS[1:]:
                make_run(RUNS, RunPlan(task, init, "only_last", PAPER))
        yield read_runs()


def test_one_run_stands_in_the_middle_of_its_place(place: Path) -> None:
    make_run(RUNS, RunPlan("wikiart_style", "hybrid", "only_last3", PAPER))
    (axes,) = drawn("8").axes
    left, right = axes.get_xlim()
    assert left <= -0.5
    assert right >= len(SCENARIOS) - 0.5


def test_two_matrices_side_by_side_are_equally_large(place: Path) -> None:
    for task, count in (("wikiart_genre", 10), ("wga_genre", 6)):
        names = [f"{'long ' * (count // 3)}name {n}" for n in range(count)]
        make_run(RUNS, RunPlan(task, "hybrid", "all", PAPER), classes=names)
    one, other = (axes.get_position() for axes in drawn("12").axes[:2])
    assert one.height == pytest.approx(other.height)
    assert one.y0 == pytest.approx(other.y0)


def test_small_shares_can_be_seen_and_digits_read_at_every_shade() -> None:
    """Contrast after WCAG 2: of shades with the empty ground, of digits with their shade."""
    figure = laid_out(lambda: draw([made(4, "class {}")]))
    image: Any = figure.axes[0].get_images()[0]

    def light(share: float) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in image.cmap(image.norm(share))[:3]
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    empty = light(0) + 0.05
    assert empty / (light(0.05) + 0.05) > 1.3
    assert empty / (light(0.25) + 0.05) > 2
    assert (light(0.05) + 0.05) / (light(0.25) + 0.05) > 1.5
    for share in np.linspace(0, 1, 101):
        ink = 1.0 if readable_on(image.cmap(image.norm(share))) == "white" else 0.0
        lighter, darker = max(ink, light(share)), min(ink, light(share))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_each_row_says_its_number_of_images_and_pairs_are_listed(place: Path) -> None:
    make_run(RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER), images=1200, right=800)
    figure = plot("10", Choice(), read_runs())
    drawing = figure.draw
    assert drawing
    texts = {text.get_text() for text in laid_out(lambda: drawing(WIDTH)).findobj(Text)}
    rows = figure.table.groupby("true")["images"].sum()
    assert set(rows) == {300}
    assert any(text.endswith("% of 300") for text in texts)
    top = figure.table[figure.table["true"] != figure.table["predicted"]]
    worst = top.sort_values("share", ascending=False).iloc[0]
    assert figure.pairs[0][1:] == (
        worst["true"],
        worst["predicted"],
        str(worst["images"]),
        f"{worst['share']:.0%}",
    )


def test_captions_of_own_tasks_do_not_claim_the_papers_figure(place: Path) -> None:
    own = Choice(task="met_nationality", init="scratch")
    for number in OF_RUNS:
        assert plot(number, own, read_runs()).title.startswith(f"As Figure {number}, of your own")
        assert plot(number, Choice(), read_runs()).title.startswith(f"Figure {number}: ")


def test_class_names_may_hold_anything(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = (
        "$\\frac{1}$",
        "<script>alert(1)</script>",
        'a "quoted", name',
        "Ærø Žižka " + "x" * 90,
    )
    make_run(RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER), classes=classes)
    run_it(monkeypatch, "10")
    assert set(read("fig10")["true"]) == set(classes)
    assert is_picture(REPORT / "fig10.png")


def test_the_pictures_of_a_run_take_names_as_they_are(tmp_path: Path) -> None:
    names = ["$\\frac{1$", "costs $5, or $6", "b"]
    draw_confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png", "a $\\title")
    draw_curve([], tmp_path / "curve.png", "a $\\title")
    assert is_picture(tmp_path / "confusion.png")
    assert is_picture(tmp_path / "curve.png")


def test_letters_that_our_font_lacks_come_from_another(tmp_path: Path) -> None:
    """STIX, which comes with matplotlib, has this one; DejaVu Sans has not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph 7553 missing from font(s) DejaVu Sans"
        draw_confusion(np.eye(2, dtype=int), ["\u1d81", "b"], tmp_path / "a.png", "title")
    assert look(["Ærø Žižka"])["font.family"] == ["DejaVu Sans"]


def test_a_matrix_that_disagrees_with_the_results_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(RUNS, RunPlan("wikiart_style", "hybrid", "all", PAPER))
    path = folder / "confusion.csv"
    path.write_text(path.read_text().replace("a,", "a,9", 1))
    with pytest.raises(UserError) as caught:
        run_it(monkeypatch, "10")
    said = str(caught.value)
    assert said.startswith("fig10 not drawn: ")
    assert "confusion.csv and" in said
    assert "`make wikiart_style INIT=hybrid SCENARIO=all FORCE=1` makes it again" in said


# ---- confused pairs -----------------------------------------------------------------------------


def test_most_confused_pairs() -> None:
    counts = np.array([[50, 30, 0, 20], [10, 90, 0, 0], [0, 1, 1, 0], [0, 0, 40, 60]])
    # Shares: 2 to 1 is half, 3 to 2 is 0.4, 0 to 1 is 0.3; 1 to 0 is the same pair, the other way.
    assert confused_pairs(counts, 3) == [(2, 1), (3, 2), (0, 1)]
    assert confused_pairs(np.eye(3, dtype=int), 3) == []


def test_pairs_are_shown_with_their_paintings(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [f"sub folder/über {n}.jpg" for n in range(60)]
    folder = make_run(
        RUNS,
        RunPlan("wikiart_style", "hybrid", "all", PAPER),
        images=60,
        right=30,
        pictures=pictures,
    )
    images = place / "images"
    for n, name in enumerate(pictures):
        write_jpeg(images / name, n)
    data = Path("datasets/wikiart_style")
    data.mkdir(parents=True)
    (data / "lists.json").write_text(json.dumps({"images_root": str(images), "sha256": {}}))
    run_it(monkeypatch, "11")
    assert "not on this machine" not in capsys.readouterr().out
    table = read("fig11")
    assert set(table["kind"]) == {"right", "confused", "other"}
    said = pd.read_csv(folder / "predictions.csv").set_index("image")
    for row in table.itertuples():
        is_true, is_said = said.loc[str(row.image), ["true", "class1"]]
        kinds = {
            "right": (row.true, row.true),
            "confused": (row.true, row.predicted),
            "other": (row.predicted, row.predicted),
        }
        assert (is_true, is_said) == kinds[str(row.kind)]
    assert table["here"].all()
    whole = cv2.imread(str(REPORT / "fig11.png"))
    assert whole is not None
    away = images.rename(place / "away")
    run_it(monkeypatch, "11")
    assert f"{len(table)} of its {len(table)} images are not on this machine" in (
        capsys.readouterr().out
    )
    empty = cv2.imread(str(REPORT / "fig11.png"))
    assert empty is not None
    assert empty.std() < whole.std() / 2
    away.rename(images)
    run_it(monkeypatch, "11")  # the images have come: it is drawn again
    again = cv2.imread(str(REPORT / "fig11.png"))
    assert again is not None
    assert np.array_equal(again, whole)


# ---- files --------------------------------------------------------------------------------------


def test_nothing_is_drawn_twice(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RunPlan("wikiart_style", "hybrid", "all", PAPER)
    folder = make_run(RUNS, plan)
    run_it(monkeypatch, "8")
    before = (REPORT / "fig8.png").stat().st_mtime_ns
    run_it(monkeypatch, "8")
    assert (REPORT / "fig8.png").stat().st_mtime_ns == before
    make_run(RUNS, RunPlan("wikiart_style", "hybrid", "only_last", PAPER))
    run_it(monkeypatch, "8")
    assert (REPORT / "fig8.png").stat().st_mtime_ns > before
    assert folder.is_dir()
