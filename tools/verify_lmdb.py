"""Read a task's LMDBs again and check keys, labels, sizes and the mean against its lists."""

from __future__ import annotations

from pathlib import Path

from datasets.folders import SPLITS, DataFolder, data_folder
from datasets.records import images_root
from datasets.tasks import get_task
from datasets.verify import verify_lmdbs
from lib.cli import Parser, positive, run
from lib.errors import UserError


def main() -> None:
    """Check, and say that all is well or what is not."""
    parser = Parser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", help="a task of tasks.toml")
    what.add_argument("--data", type=Path, metavar="datasets/TASK")
    parser.add_argument("--split", choices=SPLITS, default="by_image", help="(%(default)s)")
    parser.add_argument("--split-seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument(
        "--decode",
        type=positive,
        default=0,
        metavar="N",
        help="also decode N images of each part again and compare them",
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="default: as lists.json says")
    args = parser.parse_args()
    if args.data:
        folder = DataFolder(args.data)
    else:
        folder = data_folder(get_task(args.task).name, seed=args.split_seed, split=args.split)
    root = (args.images or images_root(folder)) if args.decode else None
    if root and not args.images and not root.is_dir():
        print(f"{root} is not there any more: no image is decoded again")
        root = None
    problems = verify_lmdbs(folder, root, args.decode)
    if problems:
        raise UserError(
            f"{len(problems)} problems in {folder.path}; build the LMDBs again with FORCE=1:"
            + "".join(f"\n  {problem}" for problem in problems[:20])
        )
    print(f"{folder.path}: keys, labels, sizes and mean are as the lists say")


if __name__ == "__main__":
    run(main)
