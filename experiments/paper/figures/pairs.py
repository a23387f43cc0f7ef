"""Figure 11: the classes most confused with each other, with paintings of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from experiments.paper.figures.choice import Choice, edited
from experiments.paper.figures.confusion import chosen_run
from experiments.paper.figures.paintings import Cell, draw_paintings
from experiments.paper.figures.plot import Plot
from experiments.paper.painting_labels import PaintingLabel, painting_labels
from experiments.paper.predictions import images_root, read_confusion, read_predictions
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run.figure_style import is_column
from experiments.single_run.metrics import shares
from experiments.single_run.plan import RunPlan
from lib.errors import UserError

_TASK = "wikiart_style"
_PAIRS = 3
_EXAMPLES = {"right": 2, "confused": 3, "other": 2}  # pictures of each kind in a row
_COLUMN_EXAMPLES = {"right": 1, "confused": 1, "other": 1}  # in a column of 9 cm
_SIDE = 300  # pixels of an example's longer side, at most


def plot(number: str, choice: Choice, records: Records) -> Plot:
    """A row a pair: paintings told rightly, taken for the other class, and of the other class."""
    task = choice.task or _TASK
    run = chosen_run(task, choice, records)
    table, remarks = pd.DataFrame(), []
    if run:
        try:
            table = _labelled(examples(run), task, choice.raw)
        except UserError as error:
            remarks.append(str(error))
    root = images_root(run) if run else None
    here = [root is not None and (root / str(image)).is_file() for image in table.get("image", [])]
    if here:
        table["here"] = here  # so that the figure is drawn again when its images have come
    if not all(here):
        remarks.append(f"{here.count(False)} of its {len(here)} images are not on this machine")
    title = f"{choice.heading(number)}: the most confused pairs of {task}"
    return Plot(
        name=choice.name(number),
        title=title,
        caption="For each pair: paintings of the first class told rightly, taken for the second "
        "(those of which the net was surest), and paintings of the second.",
        table=table,
        draw=(lambda width: _draw(table, root, title, width)) if len(table) else None,
        missing=() if run else (RunPlan(task, choice.init, "all", choice.settings).make_line,),
        remarks=(*remarks, *edited([run] if run else [])),
    )


def _labelled(table: pd.DataFrame, task: str, raw: Path) -> pd.DataFrame:
    """The examples with artist, title and date of each painting."""
    labels = painting_labels(task, table["image"], raw)
    of_rows = [labels[image] for image in table["image"]]
    return table.assign(
        artist=[each.artist for each in of_rows],
        title=[each.title for each in of_rows],
        date=[each.date for each in of_rows],
    )


def confused_pairs(counts: np.ndarray, pairs: int = _PAIRS) -> list[tuple[int, int]]:
    """The (true, predicted) labels with the largest shares off the diagonal.

    A pair appears once, in its worse direction; of equals the one with more images comes first.
    """
    part = shares(counts)
    off = [
        (part[true, said], counts[true, said], true, said)
        for true, said in zip(*np.nonzero(counts), strict=True)
        if true != said
    ]
    found: list[tuple[int, int]] = []
    for _share, _count, true, said in sorted(off, key=lambda each: (-each[0], -each[1], each[2:])):
        if (said, true) not in found and len(found) < pairs:
            found.append((int(true), int(said)))
    return found


def examples(run: RecordedRun) -> pd.DataFrame:
    """The pairs and their example images: pair, true, predicted, count, share, kind, image.

    Raises UserError when the run's predictions can't be used.
    """
    counts, classes = read_confusion(run)
    part = shares(counts)
    said = read_predictions(run).sort_values(
        ["probability", "image"], ascending=[False, True], kind="stable"
    )
    rows = []
    for place, (true, other) in enumerate(confused_pairs(counts), start=1):
        one, two = classes[true], classes[other]
        for kind, (is_true, is_said) in {
            "right": (one, one),
            "confused": (one, two),
            "other": (two, two),
        }.items():
            of_kind = said[(said["true"] == is_true) & (said["predicted"] == is_said)]
            for image in of_kind["image"].head(_EXAMPLES[kind]):
                rows.append(
                    (
                        place,
                        one,
                        two,
                        int(counts[true, other]),
                        round(float(part[true, other]), 6),
                        kind,
                        image,
                    )
                )
    return pd.DataFrame(
        rows, columns=["pair", "true", "predicted", "count", "share", "kind", "image"]
    )


def _draw(table: pd.DataFrame, root: Path | None, title: str, width: float) -> Figure:
    columns = _COLUMN_EXAMPLES if is_column(width) else _EXAMPLES
    rows, headings = [], []
    for _, of_pair in table.groupby("pair", sort=True):
        one, two = of_pair["true"].iloc[0], of_pair["predicted"].iloc[0]
        headings.append(
            f"{one} taken for {two}: {of_pair['count'].iloc[0]} images, "
            f"{of_pair['share'].iloc[0]:.0%}"
        )
        row: list[Cell] = []
        for kind, most in columns.items():
            words = {"right": f"true: {one}", "confused": f"said: {two}", "other": f"true: {two}"}
            of_kind = of_pair[of_pair["kind"] == kind].head(most)
            for number, each in enumerate(of_kind.itertuples()):
                label = PaintingLabel(str(each.artist), str(each.title), str(each.date))
                heading = words[kind] if number == 0 else ""
                row.append((_picture(root, str(each.image)), heading, label))
        rows.append(row)
    return draw_paintings(rows, title, width, sum(columns.values()), headings)


def _picture(root: Path | None, image: str) -> np.ndarray | None:
    """The image, small; None when it is not on this machine or can't be read."""
    if root is None:
        return None
    try:
        with Image.open(root / image) as file:
            file.draft("RGB", (_SIDE, _SIDE))
            picture = file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    picture.thumbnail((_SIDE, _SIDE))
    return np.asarray(picture)
