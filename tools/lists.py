"""Make a task's lists: classes.txt, train.txt, val.txt and test.txt, and the record lists.json."""

from __future__ import annotations

import sys
from pathlib import Path

from datasets.catalogue import RAW, missing, read_catalogue, write_out_images
from datasets.folders import PARTS, SPLITS, DataFolder, data_folder
from datasets.lists import make_lists, read_record
from datasets.select import select, what_it_gives, with_images
from datasets.sources.wikiart_release import known_bad
from datasets.table import Note
from datasets.tasks import TASKS, get_task
from datasets.works import write_works
from lib.cli import Parser, run
from lib.errors import UserError


def main() -> None:
    """Make the lists, and say what was left out and what there is."""
    parser = Parser(description=__doc__)
    parser.add_argument("--task", required=True, help=f"a task of {TASKS.name}")
    parser.add_argument("--seed", type=int, default=1, help="the split follows from it (default 1)")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="by_image",
        help="by_work keeps all images of one work in the same part; given keeps the source's own",
    )
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw material (default {RAW}/)")
    parser.add_argument("--data-folder", type=Path, help="where to write, instead of datasets/…")
    parser.add_argument("--tasks", type=Path, default=TASKS, help="another file of tasks")
    parser.add_argument(
        "--force", action="store_true", help="make lists anew that were changed by hand"
    )
    args = parser.parse_args()

    task = get_task(args.task, args.tasks)
    lacks = missing(task, args.raw)
    if lacks:
        raise UserError(f"task {task.name} lacks:\n" + "\n".join(f"  - {item}" for item in lacks))
    if args.data_folder:
        folder = DataFolder(args.data_folder)
    else:
        folder = data_folder(task.name, seed=args.seed, split=args.split)

    write_out_images(task, args.raw)
    catalogue = read_catalogue(task, args.raw)
    selection = with_images(select(catalogue, task), catalogue.images)
    new = make_lists(
        selection,
        task,
        folder,
        images=catalogue.images,
        seed=args.seed,
        split=args.split,
        force=args.force,
    )
    write_works(folder, catalogue.table, selection.table["image"])
    record = read_record(folder)
    for warning in record.warnings:
        print(f"warning: {Note(warning['what'], warning['rows'])}", file=sys.stderr)
    for line in known_bad(selection.notes):
        print(line, file=sys.stderr)
    if selection.below or task.paper_classes:
        print(what_it_gives(task, selection))
    counts = record.counts
    sizes = ", ".join(f"{part} {counts[part]:,}" for part in PARTS)
    print(
        f"{task.name}: {len(selection.table):,} images in {len(selection.classes)} classes: "
        f"{sizes}; lists in {folder.path}/" + ("" if new else " (as before)")
    )


if __name__ == "__main__":
    run(main)
