"""Make experiments/report/: everything there is so far, as pages that open from disk, and Markdown.

The folder holds all that its pages show: tables, figures, and of each run its settings, curve,
confusion matrix, log and prototxts. It can be copied or zipped as it is.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from experiments.grid.definition import GRIDS, load_grid
from experiments.paper import significance, table_files, tables
from experiments.paper.claims import OPEN, Claim, claims
from experiments.paper.counted import counted
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.every import OF_RUNS, plot
from experiments.paper.figures.plot import save
from experiments.paper.places import REPORT
from experiments.paper.report_runs import Card, encodable, line, link, write_run
from experiments.paper.seed_groups import group_by_seed
from experiments.paper.valid_runs import InvalidRecord, RecordedRun, Records
from experiments.similarity.feature_models import FEATURES
from lib import text_tables
from lib.errors import UserError
from lib.files import whole_folder, write_text

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
# Sheets of all classes that Figures 1 and 4 once were: too large for a page.
_OLD_SHEETS = "examples_"
_CARDS = 3  # runs that the report begins with
# What a damaged record or file may still raise; a full disk (OSError) is not among it.
_OF_ONE_RECORD = (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError)


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
    pairs: tuple[tuple[str, ...], ...] = ()  # of a confusion matrix: the most confused pairs


def build(records: Records, report: Path = REPORT) -> None:
    """Write the tables, the figures that have runs, a page for each run, and last index.html.

    A run or figure that can't be shown is named with the reason; the others are. Raises UserError
    when the disk is full.
    """
    try:
        report.mkdir(parents=True, exist_ok=True)
        _build(records, report)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"no space left on the disk while writing {report}; free some and try again"
            ) from None
        raise


def _build(records: Records, report: Path) -> None:
    every = group_by_seed(records.tested)
    made = [tables.table2(every), tables.table3(every), tables.table4(every)]
    for table in made:
        table_files.write(table, report)
    figures = list(_figures(records, report))
    unshown: list[InvalidRecord] = []
    cards: dict[tuple[str, str], Card] = {}
    newest = _newest(records)
    with whole_folder(report / "runs", is_ours=_is_report(report)) as aside:
        for each in records.runs:
            try:
                cards[each.task, each.name] = write_run(
                    each,
                    records,
                    aside,
                    _HTML.get_template("run.html"),
                    with_pictures=each in newest,
                )
            except _OF_ONE_RECORD as error:
                shutil.rmtree(aside / each.task / each.name, ignore_errors=True)
                unshown.append(InvalidRecord(each.folder.path, f"can't be shown: {error}"))
    shown = [run for run in records.runs if (run.task, run.name) in cards]
    known: dict[str, Any] = {
        "title": TITLE,
        "summary": _summary(records),
        "cards": [cards[run.task, run.name] for run in newest if (run.task, run.name) in cards],
        "claims": claims(records),
        "tables": made,
        "table1": _csv(report / "table1.csv", "Table 1"),
        "read_me": tables.READ_ME,
        "details_columns": tables.DETAILS,
        "figures": figures,
        "about_significance": significance.IN_WORDS,
        "significance": _csvs(report, "significance-"),
        "retrieval": _retrieval(),
        "own_grids": _csvs(report, "grid-"),
        "runs": [line(each) for each in shown],
        "grids": list(_grids(records)),
        "invalid": (*records.invalid, *unshown),
    }
    for name, environment in (("report.md", _MARKDOWN), ("index.html", _HTML)):
        write_text(report / name, encodable(environment.get_template(name).render(known)))


def _newest(records: Records) -> list[RecordedRun]:
    """The tested runs that were trained last, newest first; where none is, those on their way."""
    runs = records.tested or records.runs
    ordered = sorted(
        runs, key=lambda run: (run.record.finished or "", run.record.number, run.name), reverse=True
    )
    return ordered[:_CARDS]


def _retrieval() -> list[dict[str, Any]]:
    """The scores that `make retrieval-scores` left, one table for each collection."""
    found = [_csv(path, path.parent.name) for path in sorted(FEATURES.glob("*/retrieval*.csv"))]
    return [each for each in found if each and each["rows"]]


def _figures(records: Records, report: Path) -> Iterator[Shown]:
    """All figures in order: ours drawn, those of other programs taken as they lie there."""
    seen: set[str] = set()
    for number in range(1, 17):
        name = f"fig{number}"
        seen.add(name)
        how = f"make {name}"
        if str(number) in OF_RUNS:
            yield _drawn(str(number), records, report, how)
        else:
            yield Shown(
                name,
                f"Figure {number}: {_OTHERS[number]}",
                pictures=_picture(report, name) + _of_features(report, name),
                files=_beside(report, name),
                how=how,
            )
    for path in sorted((*report.glob("*.png"), *report.glob("compare/*.png"))):
        if path.stem not in seen and not path.stem.startswith(_OLD_SHEETS):
            name = path.relative_to(report).with_suffix("").as_posix()
            yield Shown(name, name, pictures=(f"{name}.png",), files=_beside(report, name))


def _drawn(number: str, records: Records, report: Path, how: str) -> Shown:
    """A figure of runs, drawn if they are there. What can't be drawn says why."""
    try:
        figure = plot(number, Choice(), records)
        if figure.draw:
            save(figure, report, column=False)
    except (UserError, *_OF_ONE_RECORD) as error:
        if isinstance(error, UserError) and "no space left" in str(error):
            raise
        return Shown(f"fig{number}", f"Figure {number}", remarks=(f"not drawn: {error}",), how=how)
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
        pairs=figure.pairs,
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
        link(source, target)
        found.append(target.relative_to(report).as_posix())
    return tuple(found)


def _beside(report: Path, name: str) -> tuple[str, ...]:
    return tuple(
        f"{name}{end}" for end in (".csv", ".pdf", "-9cm.pdf") if (report / f"{name}{end}").exists()
    )


def _summary(records: Records) -> str:
    states = Counter("tested" if run.results else run.state for run in records.runs)
    words = ", ".join(f"{count} {state}" for state, count in states.most_common())
    left_out = f"; {counted(len(records.invalid), 'record')} left out" if records.invalid else ""
    return counted(len(records.runs), "run") + (f": {words}" if words else "") + left_out + "."


def _grids(records: Records) -> Iterator[dict[str, Any]]:
    """The grids of the paper: how many of their runs are tested, and the make lines of the rest."""
    done = {(run.task, run.name) for run in records.tested}
    for name in PAPER_GRIDS:
        try:
            planned = load_grid(GRIDS / f"{name}.toml")
        except UserError as error:  # tasks.toml may have been cut down to the user's own tasks
            yield {"name": name, "error": str(error)}
            continue
        lines = [plan.make_line for plan in planned if (plan.task, plan.name) not in done]
        yield {
            "name": name,
            "error": "",
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


def _claim_rows(every: Sequence[Claim], is_open: bool) -> list[tuple[str, ...]]:
    """The claims that our runs tell of, or those that wait for runs, as rows of a table."""
    return [
        (each.says, each.section, each.paper, each.ours, each.verdict)
        for each in every
        if (each.verdict == OPEN) == is_open
    ]


def _url(path: object) -> Markup:
    """A relative address of a file: whatever its name holds."""
    return Markup(quote(os.fsencode(str(PurePosixPath(str(path))))))


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
    environment.globals.update(
        higher=tables.HIGHER, lower=tables.LOWER, open=OPEN, claim_rows=_claim_rows
    )
    return environment


_HTML = _environment(html=True)
_MARKDOWN = _environment(html=False)  # its own escapes
