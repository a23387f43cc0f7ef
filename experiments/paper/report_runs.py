"""The runs in the report: their line in the list, their page, and the files that it links to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from markupsafe import Markup

from experiments.paper import tables
from experiments.paper.intervals import wilson
from experiments.paper.predictions import read_confusion
from experiments.paper.surest import Surest, surest
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run.confusion import most_confused
from experiments.single_run.folder import prototxt_folder
from experiments.single_run.results_json import ClassResult
from lib.errors import UserError
from prototxt.settings import PAPER, Settings, in_words

_COPIED = ("run.json", "results.json", "curve.csv", "confusion.csv", "predictions.csv")
_AS_TEXT = ("caffe.log", "train_val.prototxt", "deploy.prototxt", "solver.prototxt")
_PICTURES = ("curve.png", "curve.pdf", "confusion.png", "confusion.pdf")
_MOST_PAIRS = 8  # confused pairs beside a matrix


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


@dataclass(frozen=True)
class Card:
    """A run with its pictures, as it begins the report and its own page."""

    line: Line
    curve: str | None  # addresses, from the folder of the run's task
    confusion: str | None
    pairs: tuple[tuple[str, str, str, str], ...] = ()  # true, predicted, images, share
    surest: Surest | None = None
    folder: str = ""  # of its pictures, from the folder of the run's task
    remarks: tuple[str, ...] = field(default=())


def write_run(
    run: RecordedRun, records: Records, runs: Path, template: Any, *, with_pictures: bool
) -> Card:
    """Write the page of a run below `runs`, and the files that it links to; its card.

    The surest images are decoded only `with_pictures`.
    """
    place = runs / run.task / run.name
    place.mkdir(parents=True)
    files = []
    for name in (*_COPIED, *_AS_TEXT):
        source = run.folder.path / name
        if source.is_file():
            # Browsers show a .log or .prototxt from disk only when it is called text.
            target = name + (".txt" if name in _AS_TEXT else "")
            link(source, place / target)
            files.append((name, f"{run.name}/{target}"))
    for name in _PICTURES:
        source = run.folder.path / name
        if source.is_file() and (run.results is not None or name.startswith("curve")):
            link(source, place / name)
            files.append((name, f"{run.name}/{name}"))
    card = _card(run, place, with_pictures=with_pictures)
    results = run.results
    prototxts = prototxt_folder(run.task, run.name)
    invalid = next((each for each in records.invalid if each.path == run.folder.results), None)
    known = {
        "title": f"{run.task}: {run.name}",
        "run": card.line,
        "card": card,
        "results": results,
        "untested_why": invalid.why if invalid else "",
        "make_line": run.make_line,
        "edits": run.edits,
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
    page.write_text(encodable(template.render(known)), encoding="utf-8")
    return card


def line(run: RecordedRun) -> Line:
    """A run in the list of runs."""
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


def link(source: Path, target: Path) -> None:
    """The file a second time under another name, or a copy where a disk has no such links.

    Logs of hundreds of runs would take minutes and gigabytes to copy.
    """
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def encodable(text: str) -> str:
    """Text that UTF-8 can hold: names of files in another encoding show their bytes escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _card(run: RecordedRun, place: Path, *, with_pictures: bool) -> Card:
    pairs: tuple[tuple[str, str, str, str], ...] = ()
    found, remarks = None, []
    if run.results is not None:
        try:
            counts, classes = read_confusion(run)
            pairs = tuple(
                (true, predicted, f"{images:,}", f"{share:.0%}")
                for true, predicted, images, share in most_confused(counts, classes, _MOST_PAIRS)
            )
            found = surest(run, place) if with_pictures else None
        except UserError as error:
            remarks.append(str(error))

    def address(name: str) -> str | None:
        return f"{run.name}/{name}" if (place / name).is_file() else None

    return Card(
        line=line(run),
        curve=address("curve.png"),
        confusion=address("confusion.png"),
        pairs=pairs,
        surest=found,
        folder=run.name,
        remarks=tuple(remarks),
    )


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
    if record.unverified:
        yield (
            "unverified",
            (f"{', '.join(record.unverified)}: came over plain http, no checksum is known"),
        )
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


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"
