"""Which rows of a catalogue a task takes, and which classes they make (section 3 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from datasets.image_files import on_disk
from datasets.sources.wikiart_names import plain
from datasets.table import GIVEN, Catalogue, Note, count, some
from datasets.tasks import Task
from lib.errors import UserError, unknown


@dataclass(frozen=True)
class Selection:
    """The images of a task.

    `table` has `image`, `work`, `label` and `part`, the part of the source's own split or pd.NA;
    each image once. `classes` are the class names in the order of their labels: sorted, or as the
    source numbers them. `left_out` counts the catalogue's other rows by reason; `below` the images
    of each class that the task's rule leaves out.
    """

    table: pd.DataFrame
    classes: list[str]
    left_out: dict[str, int]
    notes: list[Note]
    below: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        return {name: int((self.table["label"] == name).sum()) for name in self.classes}


def select(catalogue: Catalogue, task: Task) -> Selection:
    """Apply a task's rule to a catalogue, whether its images are there or not.

    UserError when the rule leaves fewer than two classes, or names what the catalogue lacks.
    """
    rows = catalogue.table
    notes = [note for note in catalogue.notes if note.label in (None, task.label)]
    left_out: dict[str, int] = {}
    same = [str(name) for name in rows if str(name).casefold() == task.label.casefold()]
    column = task.label if task.label in rows or len(same) != 1 else same[0]
    if column not in rows:
        extra = [
            str(name)
            for name in rows
            if name not in ("image", "work", "title", "url") and GIVEN not in str(name)
        ]
        raise unknown(f"label of task {task.name},", task.label, extra)
    if column in catalogue.questions:
        raise UserError(f"task {task.name}: {catalogue.questions[column]}")

    if len(rows) and rows[column].isna().all():
        hint = catalogue.hints.get(task.label, "")
        raise UserError(
            f"task {task.name}: {catalogue.edition}: no image has a {task.label}"
            + (f"; {hint}" if hint else "")
        )

    def keep(mask: pd.Series, reason: str) -> None:
        nonlocal rows
        if not mask.all():
            left_out[reason] = int((~mask).sum())
            rows = rows[mask]

    keep(rows["image"].notna(), "no image named")
    odd = rows["image"].str.contains("[\n\r\0]", regex=True)
    if odd.any():
        named = [f"{image!r} ({where})" for where, image in rows["image"][odd].items()]
        text = (
            f"{count(len(named), 'image')} left out: a list has no room for a line break in a path"
        )
        notes.append(Note(text, named))
        keep(~odd, "line break in the path")
    if task.forms:
        _require_forms(rows["form"], task)
        keep(_in(rows["form"], task.forms), f"form is not {' or '.join(task.forms)}")
    if task.forms_left_out:
        keep(~_in(rows["form"], task.forms_left_out), "form left out by the task")
    keep(rows[column].notna(), f"{task.label} unknown")
    labels, spelling = one_spelling(rows[column])
    rows = rows.assign(label=labels)
    notes += spelling
    if task.labels:
        wanted = {plain(name): name for name in task.labels}
        meant = rows["label"].map(lambda name: wanted.get(plain(name)))
        rows = rows.assign(label=meant.fillna(rows["label"]))
        keep(meant.notna(), f"{task.label} is none of the task's labels")
        if absent := [name for name in task.labels if name not in set(rows["label"])]:
            notes.append(Note("labels has names that no row has", absent))
    for name in task.labels_left_out:
        found = _in(rows["label"], (name,))
        if found.any():
            keep(~found, f"{task.label} '{name}' left out by the task")
        else:
            notes.append(Note(f"labels_left_out has '{name}', which no row has", []))
    rows, doubles = without_doubles(rows, task.label)
    for reason, note in doubles:
        left_out[reason] = len(note.rows)
        notes.append(note)
    sizes = rows["label"].value_counts()
    classes = sorted(str(name) for name in sizes.index if sizes[name] >= task.minimum)
    for name in classes:
        if not name.isprintable():
            raise UserError(
                f"task {task.name}: class {name!r} has letters that cannot be written; rename it"
            )
    if len(classes) < 2:
        largest = ", ".join(f"{name} {sizes[name]:,}" for name in sizes.index[:5])
        raise UserError(
            f"task {task.name}: {len(classes) or 'no'} class with {task.rule} images, two are "
            f"needed; the largest are: {largest or 'none'}"
        )
    keep(rows["label"].isin(classes), f"class without {task.rule} images")
    if set(classes) <= set(catalogue.order):  # the numbers of Caffe's own lists stay
        classes = [name for name in catalogue.order if name in set(classes)]
    given = next((g for g in (f"{GIVEN}, {column}", GIVEN) if g in rows), None)
    parts = rows[given] if given else pd.Series(pd.NA, index=rows.index, dtype="string")
    rows = rows.assign(part=parts)
    below = {str(name): int(size) for name, size in sizes.items() if size < task.minimum}
    return Selection(rows[["image", "work", "label", "part"]], classes, left_out, notes, below)


def with_images(selection: Selection, images: Path) -> Selection:
    """The selection without the rows whose image file is not below `images`.

    The classes stay as the catalogue gave them.
    """
    names = on_disk(selection.table["image"], images)
    found = names.notna()
    there = selection.table.assign(image=names)[found]
    if found.all():
        return replace(selection, table=there)
    lost = selection.table[~found]
    named = [f"{image} ({where})" for where, image in lost["image"].items()]
    note = Note(f"{count(len(lost), 'image')} of the catalogue not found below {images}", named)
    return replace(
        selection,
        table=there,
        left_out={**selection.left_out, "image file missing": len(lost)},
        notes=[*selection.notes, note],
    )


def what_it_gives(task: Task, selection: Selection) -> str:
    """In a line: how many classes the task's rule gives here, and which fall below it."""
    printed = f" (the paper has {task.paper_classes})" if task.paper_classes else ""
    given = (
        f"{task.name}: {count(len(selection.classes), 'class')} with {task.rule} images{printed}"
    )
    below = sorted(selection.below.items(), key=lambda item: (-item[1], item[0]))
    if not below:
        return f"{given}; no class falls below"
    return f"{given}; below: {some([f'{name} {size:,}' for name, size in below], 12)}"


def without_doubles(rows: pd.DataFrame, label: str) -> tuple[pd.DataFrame, list[tuple[str, Note]]]:
    """Each image once, and what was left out: (reason, note) pairs.

    Rows that say the same of one image count once. Rows that give one image different labels
    contradict each other: none of them is used.
    """
    doubled = rows[rows["image"].duplicated(keep=False)]
    notes = []
    labels = doubled.groupby("image")["label"].nunique()
    at_odds = doubled[doubled["image"].isin(labels.index[labels > 1])].sort_values("image")
    if len(at_odds):
        named = [
            f"{row.image} is '{row.label}' ({where})"
            for where, row in zip(at_odds.index, at_odds.itertuples(), strict=True)
        ]
        number = count(at_odds["image"].nunique(), "image")
        note = Note(f"{number} left out: rows give them different values of {label}", named)
        notes.append((f"rows at odds over {label}", note))
        rows = rows[~rows["image"].isin(set(at_odds["image"]))]
    again = rows["image"].duplicated()
    if again.any():
        named = [f"{image} ({where})" for where, image in rows["image"][again].items()]
        note = Note(f"{count(len(named), 'row')} left out: they repeat an image", named)
        notes.append(("image repeated", note))
        rows = rows[~again]
    return rows, notes


def one_spelling(labels: pd.Series) -> tuple[pd.Series, list[Note]]:
    """Labels that differ in upper and lower case only, made one: the spelling met most often."""
    sizes = labels.value_counts()
    best: dict[str, str] = {}
    for label in sorted(sizes.index, key=lambda name: (-sizes[name], name)):
        best.setdefault(label.casefold(), label)
    changes = {old: best[old.casefold()] for old in sizes.index if best[old.casefold()] != old}
    notes = []
    for old, new in sorted(changes.items()):
        rows = [str(where) for where in labels.index[labels == old]]
        notes.append(Note(f"{count(len(rows), 'row')} with '{old}' read as '{new}'", rows))
    return labels.replace(changes), notes


def _in(values: pd.Series, names: tuple[str, ...]) -> pd.Series:
    wanted = {name.casefold() for name in names}
    return values.str.casefold().isin(wanted)


def _require_forms(forms: pd.Series, task: Task) -> None:
    there = {str(name).casefold() for name in forms.dropna().unique()}
    for form in task.forms:
        if form.casefold() not in there:
            raise unknown(f"form of task {task.name},", form, there)
