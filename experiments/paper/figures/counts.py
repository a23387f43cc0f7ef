"""Figures 2 and 3: how many images each class of a task has.

Counted from the catalogues, images or not.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from datasets.catalogue import RAW, missing, read_catalogue
from datasets.select import select
from datasets.tasks import Task, get_task
from experiments.paper.figures.choice import Choice
from experiments.paper.figures.plot import COLOURS, Plot
from experiments.single_run.figure_style import (
    SMALLEST,
    TITLE_SIZE,
    is_column,
    wrapped_title,
)

_TASKS = {"2": ("wikiart_style", "wikiart_genre"), "3": ("wga_timeframe",)}

_LONGEST = 70  # bars in one column: 210 artists make three
_INCHES = 0.15  # a bar's height, room for a name of 7 points
_NARROWEST = 2.6  # of a column of bars with their names, in inches


def plot(number: str, choice: Choice) -> Plot:
    """A panel for each task of the figure, or for the task that was asked for."""
    tasks = [get_task(task) for task in ((choice.task,) if choice.task else _TASKS[number])]
    lacks = [item for task in tasks for item in missing(task, choice.raw, images=False)]
    title = f"{choice.heading(number)}: images of each class"
    if lacks:
        return Plot(
            choice.name(number),
            title,
            "",
            pd.DataFrame(),
            None,
            remarks=tuple(f"it lacks {item}" for item in dict.fromkeys(lacks)),
        )
    counts = [class_counts(task, choice.raw) for task in tasks]
    return Plot(
        name=choice.name(number),
        title=title,
        caption="Counted from the catalogues, whether an image is on this machine or not.",
        table=pd.concat(counts),
        draw=lambda width: draw(tasks, counts, width),
        has_column=all(len(table) <= _LONGEST for table in counts),
    )


def class_counts(task: Task, raw: Path = RAW) -> pd.DataFrame:
    """Columns task, class, images: timeframes in their order, others from the largest down."""
    sizes = select(read_catalogue(task, raw), task).counts
    table = pd.DataFrame({"task": task.name, "class": list(sizes), "images": list(sizes.values())})
    if task.label == "timeframe":
        return table
    return table.sort_values(["images", "class"], ascending=[False, True])


def draw(tasks: list[Task], counts: list[pd.DataFrame], width: float) -> Figure:
    """Bars with their names and numbers, a panel for each task; many classes in several columns.

    In a column of 9 cm the panels stand one above the other.
    """
    columns = [ceil(len(table) / _LONGEST) for table in counts]
    rows = [ceil(len(table) / n) for table, n in zip(counts, columns, strict=True)]
    above = is_column(width)
    heights = [count * _INCHES + 0.75 for count in rows]
    across = width if above else max(width, _NARROWEST * sum(columns))
    height = sum(heights) if above else max(heights)
    figure = Figure(figsize=(across, height), layout="constrained")
    if above:
        panels = figure.subfigures(len(tasks), 1, height_ratios=heights, squeeze=False)[:, 0]
    else:
        panels = figure.subfigures(1, len(tasks), width_ratios=columns, squeeze=False)[0]
    for panel, task, table, number in zip(panels, tasks, counts, columns, strict=True):
        total = int(table["images"].sum())
        room = across if above else across * number / sum(columns)
        words = f"{task.name}: {len(table)} classes with {task.rule} images, {total:,} in all"
        panel.suptitle(wrapped_title(words, room), fontsize=TITLE_SIZE)
        longest = ceil(len(table) / number)
        for place, axes in enumerate(panel.subplots(1, number, sharex=True, squeeze=False)[0]):
            part = table.iloc[place * longest : (place + 1) * longest]
            bars = axes.barh(range(len(part)), part["images"], color=COLOURS[0], height=0.75)
            axes.bar_label(bars, [f"{n:,}" for n in part["images"]], padding=2, fontsize=SMALLEST)
            axes.set_yticks(range(len(part)), part["class"], fontsize=7)
            axes.set_ylim(longest - 0.5, -0.5)
            axes.margins(x=0.2)
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel("images", fontsize=7)
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.locator_params(axis="x", nbins=4)
            axes.tick_params(axis="x", labelsize=SMALLEST)
            axes.spines[["top", "right", "left"]].set_visible(False)
    return figure
