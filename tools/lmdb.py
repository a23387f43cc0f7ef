"""Build the train, val and test LMDBs of a task and the mean image, from its lists."""

from __future__ import annotations

from pathlib import Path

from datasets.build import build_lmdbs, lmdb_record
from datasets.folders import PARTS, DataFolder, lists_command
from datasets.records import LmdbRecord, images_root
from lib.cli import Parser, positive, run
from lib.display import escaped
from lib.errors import UserError
from lib.machine import usable_cores


def main() -> None:
    """Build what is not up to date, and say what there is."""
    parser = Parser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="datasets/TASK")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="default: as lists.json says")
    parser.add_argument(
        "--workers", type=positive, default=usable_cores(), help="default: all cores"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave broken images out; lmdb.json names them"
    )
    parser.add_argument("--force", action="store_true", help="build again what is up to date")
    args = parser.parse_args()

    folder = DataFolder(args.data)
    if not folder.path.is_dir():
        raise UserError(
            f"no folder {folder.path}; make its lists with: {lists_command(folder.path)}"
        )
    record = None if args.force else lmdb_record(folder)
    if record:
        print(f"up to date: {_summary(folder, record)}")
        return
    root = args.images or images_root(folder)
    record = build_lmdbs(folder, root, workers=args.workers, skip_broken=args.skip_broken)
    print(f"built {_summary(folder, record)}")
    if warned := record.decoder_warnings:
        path, warning = next(iter(warned.items()))
        print(f"{len(warned):,} images were read with a warning, as in {escaped(path)}: {warning}")


def _summary(folder: DataFolder, record: LmdbRecord) -> str:
    counts = ", ".join(f"{part} {record.images[part]:,}" for part in PARTS)
    left_out = sum(len(record.left_out[part]) for part in PARTS)
    tail = f"; {left_out:,} broken images left out (named in lmdb.json)" if left_out else ""
    return f"the LMDBs and mean in {folder.path} ({counts} images{tail})"


if __name__ == "__main__":
    run(main)
