"""Figures 1 and 4: a few example images of each class of a task, from the user's own images.

python -m experiments.paper.contact_sheet --task wga_genre wikiart_genre
"""

from __future__ import annotations

import random
import textwrap
from collections import defaultdict
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from datasets.decode import BrokenImageError, Picture, decode, read_bytes
from datasets.folders import PARTS, SPLITS, DataFolder, data_folder
from datasets.imagelist import read_classes, read_list
from datasets.lists import images_root
from datasets.tasks import get_task
from experiments.paper.places import REPORT
from experiments.single_run.figure_style import look, save_figure
from lib.cli import Parser, run
from lib.errors import UserError

_LONGEST = 400  # pixels of an example's longer side


def main() -> None:
    """Draw the sheet of each task that has lists; say where it lies, and what the others need."""
    parser = Parser(description=__doc__)
    parser.add_argument("--task", nargs="+", required=True, help="one or more tasks")
    parser.add_argument("--each", type=int, default=4, help="examples of a class (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="which examples (default 1)")
    parser.add_argument("--data-seed", type=int, default=1, help="the seed of the lists")
    parser.add_argument("--split", choices=SPLITS, default="by_image")
    parser.add_argument("--data-folder", type=Path, help="lists elsewhere (with one task)")
    parser.add_argument("--out", type=Path, default=REPORT, help=f"default {REPORT}/")
    args = parser.parse_args()
    if not 1 <= args.each <= 20:
        raise UserError(f"--each is {args.each}, must be 1 to 20")
    if args.data_folder and len(args.task) > 1:
        raise UserError("--data-folder goes with one task only")
    folders, lacks = {}, []
    for task in args.task:
        if args.data_folder:
            folders[task] = DataFolder(args.data_folder)
            continue
        get_task(task)
        folder = data_folder(task, seed=args.data_seed, split=args.split)
        if folder.record.is_file():
            folders[task] = folder
        else:
            split = f" SPLIT={args.split}" if args.split != SPLITS[0] else ""
            seed = f" SPLIT_SEED={args.data_seed}" if args.data_seed != 1 else ""
            lacks.append(f"no lists of {task}: `make lists TASK={task}{split}{seed}` makes them")
    if not folders:
        raise UserError("; ".join(lacks))
    for task, folder in folders.items():
        path = args.out / f"examples_{task}.png"
        draw_sheet(folder, path, title=task, each=args.each, seed=args.seed)
        print(f"wrote {path}")
    for lack in lacks:
        print(f"not drawn: {lack}")


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
        # Sorted first: the choice depends on the seed alone, not on how the lists were shuffled.
        paths = sorted(names[label])
        random.Random(f"{seed} {name}").shuffle(paths)
        found: list[tuple[str, Picture]] = []
        for path in paths:
            if len(found) == each:
                break
            try:
                found.append((path, decode(read_bytes(root / path))))
            except BrokenImageError:
                continue
        if not found:
            raise UserError(f"class '{name}' of {folder.path} has no image to show below {root}")
        chosen[name] = found
    return chosen


def draw_sheet(folder: DataFolder, path: Path, *, title: str, each: int, seed: int) -> None:
    """Write a PNG with a row of examples for each class."""
    examples = choose(folder, each=each, seed=seed)
    with mpl.rc_context(look([title, *examples])):
        save_figure(_sheet(examples, title, each), path)


def _sheet(examples: dict[str, list[tuple[str, Picture]]], title: str, each: int) -> Figure:
    figure = Figure(figsize=(1.6 * each + 1.8, 1.6 * len(examples) + 0.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(
        len(examples), each + 1, squeeze=False, width_ratios=[1.2] + [1.6] * each
    )
    for axes, (name, pictures) in zip(grid, examples.items(), strict=True):
        for one in axes:
            one.set_axis_off()
        axes[0].text(1, 0.5, textwrap.fill(name, 20), ha="right", va="center")
        for one, (_, picture) in zip(axes[1:], pictures, strict=False):
            one.imshow(_small(picture)[..., ::-1])
    return figure


def _small(picture: Picture) -> Picture:
    """The picture with its proportions, no longer than _LONGEST."""
    factor = _LONGEST / max(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    run(main)
