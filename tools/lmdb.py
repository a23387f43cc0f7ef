"""Build the train, val and test LMDBs of a task and the mean image, after its lists.

With --data they are built from the lists that lie in that folder.
"""

from __future__ import annotations

from pathlib import Path

from datasets.folders import RAW, SPLITS, DataFolder, data_folder
from datasets.task_data import make_task_lists, make_task_lmdbs
from datasets.tasks import get_task
from lib.cli import Parser, positive, run, say, warn


def main() -> None:
    """Build what is not up to date, and say what there is."""
    parser = Parser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", help="a task of tasks.toml")
    what.add_argument("--data", type=Path, metavar="datasets/TASK")
    parser.add_argument("--split", choices=SPLITS, default="by_image", help="(%(default)s)")
    parser.add_argument("--split-seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--raw", type=Path, default=RAW, help="raw material (%(default)s)")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="default: as lists.json says")
    parser.add_argument("--workers", type=positive, help="default: all cores")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave broken images out; lmdb.json names them"
    )
    parser.add_argument("--force", action="store_true", help="build again what is up to date")
    args = parser.parse_args()
    folder = DataFolder(args.data) if args.data else None
    if folder is None:
        task = get_task(args.task)
        folder = data_folder(task.name, seed=args.split_seed, split=args.split)
        make_task_lists(
            task,
            folder,
            raw=args.raw,
            split=args.split,
            split_seed=args.split_seed,
            say=say,
            warn=warn,
        )
    make_task_lmdbs(
        folder,
        images=args.images,
        workers=args.workers,
        skip_broken=args.skip_broken,
        force=args.force,
        say=say,
    )


if __name__ == "__main__":
    run(main)
