"""Make a task's lists: classes.txt, train.txt, val.txt and test.txt, and the record lists.json."""

from __future__ import annotations

from pathlib import Path

from datasets.folders import RAW, SPLITS, DataFolder, data_folder
from datasets.task_data import make_task_lists
from datasets.tasks import TASKS, get_task
from lib.cli import Parser, run, say, warn


def main() -> None:
    """Make the lists, and say what was left out and what there is."""
    parser = Parser(description=__doc__)
    parser.add_argument("--task", required=True, help=f"a task of {TASKS.name}")
    parser.add_argument(
        "--split-seed", type=int, default=1, help="the split follows from it (%(default)s)"
    )
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
    own = DataFolder(args.data_folder) if args.data_folder else None
    make_task_lists(
        task,
        own or data_folder(task.name, seed=args.split_seed, split=args.split),
        raw=args.raw,
        split=args.split,
        split_seed=args.split_seed,
        force=args.force,
        say=say,
        warn=warn,
    )


if __name__ == "__main__":
    run(main)
