"""Make experiments/report/: everything there is so far, as pages that open from disk, and Markdown.

The folder holds all that its pages show: tables, figures, and of each run its settings, curve,
confusion matrix, log and prototxts. It can be copied or zipped as it is.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from experiments.compare.charts import charts
from experiments.grid.definition import GRIDS, load_grid
from experiments.paper import significance, table_files, tables
from experiments.paper.counted import counted
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.every import OF_RUNS, plot
from experiments.paper.figures.plot import Plot, save
from experiments.paper.intervals import wilson
from experiments.paper.places import REPORT
from experiments.paper.seed_groups import group_by_seed
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.similarity.feature_models import FEATURES
from experiments.single_run.folder import prototxt_folder
from experiments.single_run.results_json import ClassResult
from lib import text_tables
from lib.files import whole_folder, write_text
from prototxt.settings import PAPER, Settings, in_words

TITLE = "Fine-tuning CaffeNet for fine art classification: the paper beside our runs"
PAPER_GRIDS = ("table2", "table3", "table4", "figures")

# Figures that other programs draw. They are shown when their picture is in the report's folder.
_OTHERS = {
    1: "examples of the WikiArt genres",
    2: "class distribution of the WikiArt styles and genres",
    3: "class distribution of the WGA timeframes",
    4: "examples of the three sources",
    15: "most similar paintings, by genre-tuned and style-tuned features",
    16: "cosine distances between features of differently initialised models",
}
# Figures 1 and 4 are contact sheets of these tasks (experiments.paper.contact_sheet).
_EXAMPLES = {
    "fig1": ("examples_wikiart_genre",),
    "fig4": ("examples_wikiart_artist", "examples_wga_artist", "examples_ticc_artist"),
}
_COPIED = ("run.json", "results.json", "curve.csv", "confusion.csv", "predictions.csv")
_AS_TEXT = ("caffe.log", "train_val.prototxt", "deploy.prototxt", "solver.prototxt")


@dataclass(frozen=True)
class Shown:
    """A figure as the pages show it."""

    name: str
    title: str
    caption: str = ""
    pictures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    how: str = ""  # the make line that draws it


@dataclass(frozen=True)
class Line:
    """A run in the list of runs."""

    task: str
    name: str
    page: str
    state: str
    accuracy: str
    interval: str
    images: str
    validation: str
    time: str
    reason: str


def build(records: Records, report: Path = REPORT) -> None:
    """Write the tables, the figures that have runs, a page a run, and last index.html."""
    report.mkdir(parents=True, exist_ok=True)
    every = group_by_seed(records.tested)
    made = [tables.table2(every), tables.table3(every), tables.table4(every)]
    for table in made:
        table_files.write(table, report)
    figures = list(_figures(records, report))
    with whole_folder(report / "runs", is_ours=_is_report(report)) as aside:
        for each in records.runs:
            _write_run(each, records, aside)
    known: dict[str, Any] = {
        "title": TITLE,
        "summary": _summary(records),
        "tables": made,
        "table1": _csv(report / "table1.csv", "Table 1"),
        "read_me": tables.READ_ME,
        "details_columns": tables.DETAILS,
        "figures": figures,
        "about_significance": significance.IN_WORDS,
        "significance": _csvs(report, "significance-"),
        "own_grids": _csvs(report, "grid-"),
        "runs": [_line(each) for each in records.runs],
        "grids": list(_grids(records)),
        "invalid": records.invalid,
    }
    write_text(report / "report.md", _MARKDOWN.get_template("report.md").render(known))
    write_text(report / "index.html", _HTML.get_template("index.html").render(known))


def _figures(records: Records, report: Path) -> Iterator[Shown]:
    """All figures in order: ours drawn, those of other programs taken as they lie there."""
    seen: set[str] = set()
    for number in range(1, 17):
        name = f"fig{number}"
        seen.update((name, *_EXAMPLES.get(name, ())))
        how = f"make {name}"
        if str(number) in OF_RUNS:
            figure = plot(str(number), Choice(), records)
            if figure.draw:
                save(figure, report, pdf=False)
            yield _shown(figure, report, how)
        else:
            yield Shown(
                name,
                f"Figure {number}: {_OTHERS[number]}",
                pictures=_picture(report, name, *_EXAMPLES.get(name, ()))
                + _of_features(report, name),
                files=_beside(report, name),
                how=how,
            )
    for path in sorted((*report.glob("*.png"), *report.glob("compare/*.png"))):
        if path.stem not in seen:
            name = path.relative_to(report).with_suffix("").as_posix()
            yield Shown(name, name, pictures=(f"{name}.png",), files=_beside(report, name))


def _shown(figure: Plot, report: Path, how: str) -> Shown:
    is_drawn = figure.draw is not None
    return Shown(
        figure.name,
        figure.title,
        figure.caption,
        _picture(report, figure.name) if is_drawn else (),
        _beside(report, figure.name) if is_drawn else (),
        figure.missing,
        figure.remarks,
        how="" if is_drawn else how,
    )


def _is_report(folder: Path) -> bool:
    """Whether a folder holds a report that was made here: index.html is written last."""
    try:
        return TITLE in (folder / "index.html").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _picture(report: Path, *names: str) -> tuple[str, ...]:
    """The pictures of these names that are there."""
    return tuple(f"{name}.png" for name in names if (report / f"{name}.png").is_file())


def _of_features(report: Path, name: str) -> tuple[str, ...]:
    """Figures 15 and 16 as experiments.similarity leaves them, a collection each; linked here."""
    found = []
    for source in sorted((*FEATURES.glob(f"*/{name}.png"), *FEATURES.glob(f"*/{name}/*.png"))):
        words = source.relative_to(FEATURES).with_suffix("").parts
        target = report / "features" / ("-".join(words) + ".png")
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        _link(source, target)
        found.append(target.relative_to(report).as_posix())
    return tuple(found)


def _beside(report: Path, name: str) -> tuple[str, ...]:
    return tuple(
        f"{name}.{kind}" for kind in ("csv", "pdf") if (report / f"{name}.{kind}").exists()
    )


def _write_run(run: RecordedRun, records: Records, runs: Path) -> None:
    """The page of a run, and the files that it links to."""
    place = runs / run.task / run.name
    place.mkdir(parents=True)
    files = []
    for name in (*_COPIED, *_AS_TEXT):
        source = run.folder.path / name
        if source.is_file():
            # Browsers show a .log or .prototxt from disk only when it is called text.
            target = name + (".txt" if name in _AS_TEXT else "")
            _link(source, place / target)
            files.append((name, f"{run.name}/{target}"))
    confusion = run.folder.path / "confusion.png"
    has_confusion = run.results is not None and confusion.is_file()
    if has_confusion:
        _link(confusion, place / confusion.name)
    results = run.results
    prototxts = prototxt_folder(run.task, run.name)
    fault = next((each for each in records.invalid if each.path == run.folder.results), None)
    known = {
        "title": f"{run.task}: {run.name}",
        "run": _line(run),
        "results": results,
        "untested_why": fault.why if fault else "",
        "make_line": run.make_line,
        "edits": run.edits,
        "charts": charts(run.folder.curve),
        "confusion": f"{run.name}/{confusion.name}" if has_confusion else None,
        "per_class": [
            (each.name, _numbers(each)) for each in (results.per_class if results else [])
        ],
        "settings": list(_settings(run.plan.settings)),
        "facts": list(_facts(run)),
        "files": files,
        "folder": run.folder.path,
        "prototxts": prototxts if prototxts.is_dir() else None,
    }
    page = runs / run.task / f"{run.name}.html"
    page.write_text(_HTML.get_template("run.html").render(known), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """The file a second time under another name, or a copy where a disk has no such links.

    Logs of hundreds of runs would take minutes and gigabytes to copy.
    """
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _numbers(of_class: ClassResult) -> Markup:
    """Cells of numbers; made here, since templates would take seconds for all classes and runs."""
    accuracy = tables.number(of_class.accuracy)
    return Markup(f"<td>{of_class.images:d}</td><td>{of_class.right:d}</td><td>{accuracy}</td>")


def _settings(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for each in fields(Settings):
        value, printed = getattr(settings, each.name), getattr(PAPER, each.name)
        yield each.name, in_words(value), "the same" if value == printed else in_words(printed)


def _facts(run: RecordedRun) -> Iterator[tuple[str, str]]:
    record = run.record
    yield "task", run.task
    yield "init", run.plan.init
    yield "scenario", run.plan.scenario
    yield "data", f"{record.data} (split {run.plan.split}, seed {run.plan.split_seed})"
    for name in ("weights", "mean", "started", "finished", "iteration", "max_iter", "seconds"):
        yield name, str(tables.BLANK if getattr(record, name) is None else getattr(record, name))
    for number, session in enumerate(record.sessions, start=1):
        engine = session.engine.items()
        words = [f"{key} {value}" for key, value in engine if not isinstance(value, dict)]
        yield (
            f"session {number}",
            f"{session.began}, from {session.resumed_from or 'the beginning'}; "
            f"{', '.join(words)}; GPU {session.gpu}; commit {session.git_commit}",
        )
    for name, digest in record.inputs.items():
        yield f"SHA-256 of {name}", digest


def _line(run: RecordedRun) -> Line:
    validation = run.best_validation
    is_tested = run.results is not None
    low, high = wilson(run.right, run.images) if is_tested else (0, 0)
    return Line(
        task=run.task,
        name=run.name,
        page=f"runs/{run.task}/{run.name}.html",
        state=("tested" if is_tested else run.state) + (f", {run.edits}" if run.edits else ""),
        accuracy=f"{run.accuracy:.4f}" if is_tested else tables.BLANK,
        interval=f"{low:.3f} to {high:.3f}" if is_tested else tables.BLANK,
        images=str(run.images) if is_tested else tables.BLANK,
        validation=tables.number(validation, 4),
        time=_time(run.record.seconds),
        reason=run.record.reason or "",
    )


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def _summary(records: Records) -> str:
    states = Counter("tested" if run.results else run.state for run in records.runs)
    words = ", ".join(f"{count} {state}" for state, count in states.most_common())
    left_out = f"; {counted(len(records.invalid), 'record')} left out" if records.invalid else ""
    return counted(len(records.runs), "run") + (f": {words}" if words else "") + left_out + "."


def _grids(records: Records) -> Iterator[dict[str, Any]]:
    """The grids of the paper: how many of their runs are tested, and the make lines of the rest."""
    done = {(run.task, run.name) for run in records.tested}
    for name in PAPER_GRIDS:
        planned = load_grid(GRIDS / f"{name}.toml")
        lines = [plan.make_line for plan in planned if (plan.task, plan.name) not in done]
        yield {
            "name": name,
            "count": len(planned),
            "done": len(planned) - len(lines),
            "lines": lines,
            "how": f"make grid GRID={GRIDS / name}.toml",
        }


def _csv(path: Path, title: str) -> dict[str, Any] | None:
    """A table that another program left in the folder, without columns that are all empty.

    None when it is not there, or can't be read.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return None
    table = table.loc[:, (table != "").any()]
    rows: Sequence[Sequence[str]] = table.to_numpy().tolist()
    return {"title": title, "columns": list(table.columns), "rows": rows}


def _csvs(report: Path, start: str) -> list[dict[str, Any]]:
    """The tables whose names begin so, without that beginning as titles."""
    paths = sorted(report.glob(f"{start}*.csv"))
    found = [_csv(path, path.stem.removeprefix(start)) for path in paths]
    return [each for each in found if each]


def _rows_md(table: dict[str, Any]) -> str:
    return text_tables.markdown(table["columns"], table["rows"])


def _url(path: object) -> Markup:
    """A relative address of a file: whatever its name holds."""
    return Markup(quote(str(PurePosixPath(str(path)))))


def _breakable(text: str) -> Markup:
    """Text that may be broken after an underscore: names of tasks are long for a column."""
    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def _environment(*, html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        url=_url,
        breakable=_breakable,
        md=text_tables.md_escaped,
        table_md=table_files.markdown,
        rows_md=_rows_md,
    )
    environment.globals.update(higher=tables.HIGHER, lower=tables.LOWER)
    return environment


_HTML = _environment(html=True)
_MARKDOWN = _environment(html=False)  # its own escapes
