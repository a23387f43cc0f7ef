"""Figures 1 and 4: example paintings on one page, from the user's own images.

Figure 1: one painting of each WikiArt genre. Figure 4: a few of each source. Which ones follows
from the seed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from datasets.decode import BrokenImageError, Picture, decode, read_bytes
from datasets.folders import PARTS, DataFolder, data_folder
from datasets.imagelist import read_classes, read_list
from datasets.records import images_root
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.paintings import draw_paintings, small
from experiments.paper.figures.plot import Plot
from experiments.paper.painting_labels import PaintingLabel, painting_labels
from experiments.single_run.figure_style import is_column
from lib.errors import UserError

_GENRES = "wikiart_genre"
_SOURCES = {"WikiArt": "wikiart_artist", "WGA": "wga_artist", "TICC": "ticc_artist"}
_EACH = 5  # paintings of a source in Figure 4
_MOST = 40  # classes that have room on a page


@dataclass(frozen=True)
class Example:
    """A painting that is shown, and in which group."""

    group: str
    image: str
    picture: Picture  # BGR
    label: PaintingLabel


def plot(number: str, choice: Choice) -> Plot:
    """Figure 1 of a task's classes, or Figure 4 of the three sources (or of one task of yours)."""
    if number == "1" or choice.task:
        return _of_classes(number, choice)
    return _of_sources(choice)


def choose(folder: DataFolder, *, each: int, seed: int) -> dict[str, list[tuple[str, Picture]]]:
    """Up to `each` images of each class, name and BGR picture, the same for the same seed.

    Broken images are passed over. Raises UserError if a class has no image that can be read.
    """
    classes = read_classes(folder.classes)
    names = defaultdict(list)
    for part in PARTS:
        for entry in read_list(folder.list(part), len(classes)):
            names[entry.label].append(entry.path)
    root = images_root(folder)
    chosen: dict[str, list[tuple[str, Picture]]] = {}
    for label, name in enumerate(classes):
        found = _first_readable(root, names[label], each, f"{seed} {name}")
        if not found:
            raise UserError(f"class '{name}' of {folder.path} has no image to show below {root}")
        chosen[name] = found
    return chosen


def _first_readable(
    root: Path, paths: list[str], count: int, seed: str
) -> list[tuple[str, Picture]]:
    """The first `count` of the shuffled paths that can be read."""
    # Sorted first: the choice depends on the seed alone, not on how the lists were shuffled.
    shuffled = sorted(paths)
    random.Random(seed).shuffle(shuffled)
    found: list[tuple[str, Picture]] = []
    for path in shuffled:
        if len(found) == count:
            break
        try:
            found.append((path, small(decode(read_bytes(root / path)))))
        except BrokenImageError:
            continue
    return found


def _of_classes(number: str, choice: Choice) -> Plot:
    task = choice.task or _GENRES
    folder = data_folder(task)
    if not folder.record.is_file():
        return _nothing(number, choice, [task])
    classes = read_classes(folder.classes)
    chosen = choose(folder, each=1, seed=choice.settings.seed)
    shown = dict(list(chosen.items())[:_MOST])
    labels = painting_labels(task, [pairs[0][0] for pairs in shown.values()], choice.raw)
    examples = [
        Example(name, image, picture, labels[image]) for name, [(image, picture)] in shown.items()
    ]
    left_out = len(classes) - len(shown)
    remarks = [f"{left_out} of its {len(classes)} classes have no room"] if left_out else []
    title = f"{choice.heading(number)}: one painting of each class of {task}"
    return _made(number, choice, title, examples, remarks, per_row=5)


def _of_sources(choice: Choice) -> Plot:
    examples: list[Example] = []
    lacking = []
    for source, task in _SOURCES.items():
        folder = data_folder(task)
        if not folder.record.is_file():
            lacking.append(task)
            continue
        count = len(read_classes(folder.classes))
        paths = [entry.path for part in PARTS for entry in read_list(folder.list(part), count)]
        found = _first_readable(
            images_root(folder), paths, _EACH, f"{choice.settings.seed} {source}"
        )
        labels = painting_labels(task, [image for image, _ in found], choice.raw)
        examples += [Example(source, image, picture, labels[image]) for image, picture in found]
    if not examples:
        return _nothing("4", choice, lacking)
    made = _made(
        "4", choice, f"{choice.heading('4')}: examples of each source", examples, [], _EACH
    )
    return Plot(**{**vars(made), "missing": tuple(f"make lists TASK={task}" for task in lacking)})


def _nothing(number: str, choice: Choice, tasks: list[str]) -> Plot:
    return Plot(
        name=choice.name(number),
        title=f"{choice.heading(number)}: example paintings",
        caption="",
        table=pd.DataFrame(),
        draw=None,
        missing=tuple(f"make lists TASK={task}" for task in tasks),
    )


def _made(
    number: str,
    choice: Choice,
    title: str,
    examples: list[Example],
    remarks: list[str],
    per_row: int,
) -> Plot:
    table = pd.DataFrame(
        {
            "group": each.group,
            "image": each.image,
            "artist": each.label.artist,
            "title": each.label.title,
            "date": each.label.date,
        }
        for each in examples
    )
    return Plot(
        name=choice.name(number),
        title=title,
        caption=f"Chosen by the seed {choice.settings.seed}; SEED= shows others.",
        table=table,
        draw=lambda width: _draw(examples, title, per_row, width),
        remarks=tuple(remarks),
    )


def _draw(examples: list[Example], title: str, per_row: int, width: float) -> Figure:
    per_row = 3 if is_column(width) else per_row
    groups = list(dict.fromkeys(each.group for each in examples))
    if len(groups) == len(examples):  # one of each: in rows without a break
        cells = [(each.picture[..., ::-1], each.group, each.label) for each in examples]
        rows = [cells[n : n + per_row] for n in range(0, len(cells), per_row)]
    else:
        rows = []
        for group in groups:
            of_group = [each for each in examples if each.group == group]
            for start in range(0, len(of_group), per_row):
                rows.append(
                    [
                        (each.picture[..., ::-1], group if n + start == 0 else "", each.label)
                        for n, each in enumerate(of_group[start : start + per_row])
                    ]
                )
    pictures = [[(np.asarray(p), heading, label) for p, heading, label in row] for row in rows]
    return draw_paintings(pictures, title, width, per_row)
