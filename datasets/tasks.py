"""The tasks of tasks.toml, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.labels import LABELS
from lib.errors import UserError, unknown
from lib.text import read_toml

TASKS = Path(__file__).with_name("tasks.toml")
SOURCES = ("wikiart", "wga", "ticc", "met", "folder")

_KEYS = (
    "source",
    "collection",
    "label",
    "forms",
    "forms_left_out",
    "labels",
    "labels_left_out",
    "read_as",
    "more_than",
    "at_least",
    "paper",
)
_SHARED_KEYS = ("forms", "forms_left_out", "labels_left_out")
# Folders of datasets/ that are no task's; [sources.<name>] holds what the tasks of a source share.
_RESERVED = ("raw", "sources")


@dataclass(frozen=True)
class Task:
    """A source, a label column and the rule that picks the classes."""

    name: str
    source: str
    label: str
    minimum: int  # fewest images of a class
    rule: str  # the same in words: 'more than 170'
    forms: tuple[str, ...] = ()  # () is all
    forms_left_out: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # the only labels that are classes; () is all
    labels_left_out: tuple[str, ...] = ()
    read_as: str = ""  # which of several readings of its collection is meant
    collection: str | None = None
    paper_classes: int | None = None
    paper_images: int | None = None

    def folder(self, raw: Path) -> Path:
        """Where the raw material lies: `raw`/<source>; for a user's own, `raw`/<collection>."""
        return raw / (self.collection or self.source)


def load_tasks(file: Path = TASKS) -> dict[str, Task]:
    """All tasks in the order of the file; UserError for anything not as the file's head says."""
    entries = read_toml(file)
    shared = _shared(entries.pop("sources", {}), file)
    return {name: _task(name, entry, shared, file) for name, entry in entries.items()}


def get_task(name: str, file: Path = TASKS) -> Task:
    """The task of this name; UserError with the nearest names when there is none."""
    tasks = load_tasks(file)
    if name not in tasks:
        raise unknown("task", name, tasks)
    return tasks[name]


def _shared(sources: Any, file: Path) -> dict[str, dict[str, Any]]:
    here = f"{file}: sources"
    if not isinstance(sources, dict):
        raise UserError(f"{here} is a single value; write [sources.<name>]")
    for name, entry in sources.items():
        if name not in SOURCES:
            raise unknown(f"source in {here},", name, SOURCES)
        if not isinstance(entry, dict):
            raise UserError(f"{here}.{name} is {entry!r}; write [sources.{name}]")
        for key in entry:
            if key not in _SHARED_KEYS:
                raise unknown(f"key in {here}.{name},", key, _SHARED_KEYS)
    return dict(sources)


def _task(name: str, entry: Any, shared: dict[str, dict[str, Any]], file: Path) -> Task:
    here = f"{file}: task '{name}'"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _RESERVED:
        raise UserError(f"{here}: a name is letters, digits and _, and none of {_RESERVED}")
    if not isinstance(entry, dict):
        raise UserError(f"{here} is a single value; a task begins with a line [{name}]")
    for key in entry:
        if key not in _KEYS:
            raise unknown(f"key in {here},", key, _KEYS)
    source = _value(entry, "source", str, here)
    if source not in SOURCES:
        raise unknown(f"source in {here},", source, SOURCES)
    entry = {**shared.get(source, {}), **entry}
    label = _value(entry, "label", str, here)
    if source != "folder" and label not in LABELS:
        raise unknown(f"label in {here},", label, LABELS)
    if (source == "folder") != ("collection" in entry):
        raise UserError(f'{here}: collection belongs to source = "folder", and to it alone')
    if ("more_than" in entry) == ("at_least" in entry):
        raise UserError(f"{here} needs one of more_than and at_least: the images a class needs")
    key = "more_than" if "more_than" in entry else "at_least"
    number = _value(entry, key, int, here)
    if number < 0:
        raise UserError(f"{here}: {key} is {number}, must be 0 or more")
    paper = _value(entry, "paper", dict, here) if "paper" in entry else {}
    for word in paper:
        if word not in ("classes", "images"):
            raise unknown(f"key in {here}, paper,", word, ("classes", "images"))
    return Task(
        name=name,
        source=source,
        label=label,
        minimum=number + 1 if key == "more_than" else number,
        rule=f"{key.replace('_', ' ')} {number}",
        forms=_strings(entry, "forms", here),
        forms_left_out=_strings(entry, "forms_left_out", here),
        labels=_strings(entry, "labels", here),
        labels_left_out=_strings(entry, "labels_left_out", here),
        read_as=_value(entry, "read_as", str, here) if "read_as" in entry else "",
        collection=_value(entry, "collection", str, here) if source == "folder" else None,
        paper_classes=_value(paper, "classes", int, here) if paper else None,
        paper_images=_value(paper, "images", int, here) if paper else None,
    )


def _value(entry: dict[str, Any], key: str, kind: type, here: str) -> Any:
    if key not in entry:
        raise UserError(f"{here} has no {key}")
    value = entry[key]
    if type(value) is not kind or value == "":
        words = {str: "a text in quotes", int: "a whole number", dict: "{classes = …, images = …}"}
        raise UserError(f"{here}: {key} is {value!r}, must be {words[kind]}")
    return value


def _strings(entry: dict[str, Any], key: str, here: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f'{here}: {key} is {value!r}, must be a list of texts: ["a", "b"]')
    return tuple(value)
