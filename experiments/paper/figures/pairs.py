"""Figure 11: the classes most confused with each other, with paintings of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from experiments.paper.figures.choice import Choice, edited
from experiments.paper.figures.confusion import chosen_run
from experiments.paper.figures.plot import Plot
from experiments.paper.predictions import images_root, read_confusion, read_predictions
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run.figure_style import WIDTH, shortened
from experiments.single_run.metrics import shares
from experiments.single_run.plan import RunPlan
from lib.errors import UserError

_TASK = "wikiart_style"
_PAIRS = 3
_EXAMPLES = {"right": 2, "confused": 4, "other": 2}  # pictures of each kind in a row
_LETTERS = 28  # of a name above two pictures
_SIDE = 300  # pixels of an example's longer side, at most


def plot(number: str, choice: Choice, records: Records) -> Plot:
    """A row a pair: paintings told rightly, taken for the other class, and of the other class."""
    task = choice.task or _TASK
    run = chosen_run(task, choice, records)
    table, remarks = pd.DataFrame(), []
    if run:
        try:
            table = examples(run)
        except UserError as error:
            remarks.append(str(error))
    root = images_root(run) if run else None
    here = [root is not None and (root / str(image)).is_file() for image in table.get("image", [])]
    if here:
        table["here"] = here  # so that the figure is drawn again when its images have come
    if not all(here):
        remarks.append(f"{here.count(False)} of its {len(here)} images are not on this machine")
    return Plot(
        name=choice.name(number),
        title=f"Figure {number}: the most confused pairs of {task}",
        caption="For each pair: paintings of the first class told rightly, taken for the second "
        "(those of which the net was surest), and paintings of the second.",
        table=table,
        draw=(lambda: _draw(table, root)) if len(table) else None,
        missing=() if run else (RunPlan(task, choice.init, "all", choice.settings).make_line,),
        remarks=(*remarks, *edited([run] if run else [])),
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


def _draw(table: pd.DataFrame, root: Path | None) -> Figure:
    columns = sum(_EXAMPLES.values())
    pairs = list(table.groupby("pair", sort=True))
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0.02, hspace=0.05)
    figure = Figure(figsize=(WIDTH, 1.45 * len(pairs)), layout=layout)
    for panel, (_, rows) in zip(
        figure.subfigures(len(pairs), 1, squeeze=False)[:, 0], pairs, strict=True
    ):
        one, two = rows["true"].iloc[0], rows["predicted"].iloc[0]
        short, other = shortened(one, _LETTERS), shortened(two, _LETTERS)
        panel.suptitle(
            f"{one} taken for {two}: {rows['count'].iloc[0]} images, {rows['share'].iloc[0]:.0%}",
            fontsize=8,
            fontweight="bold",
        )
        axes = panel.subplots(1, columns, squeeze=False)[0]
        for each in axes:
            each.axis("off")
        place = 0
        for kind, room in _EXAMPLES.items():
            words = {"right": short, "confused": f"{short} as {other}", "other": other}[kind]
            images = list(rows[rows["kind"] == kind]["image"])
            for each, image in zip(axes[place:], images, strict=False):
                _show(each, root, image)
            if not images:
                axes[place].text(0, 0.5, "none told rightly", fontsize=7)
            axes[place].set_title(words, fontsize=7, loc="left")
            place += room
    return figure


def _show(axes: Axes, root: Path | None, image: str) -> None:
    picture = _picture(root, image)
    if picture is None:
        axes.text(0.5, 0.5, "image\nnot here", ha="center", va="center", fontsize=7)
    else:
        axes.imshow(picture)


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
