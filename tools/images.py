"""Download the images of a source that are missing, from the addresses in its catalogue."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from datasets.catalogue import RAW, images_root, missing, read_catalogue, write_out_images
from datasets.download import RateLimit, Wanted, download, write_failures
from datasets.select import select
from datasets.sources.hub import get_dataset
from datasets.sources.listing import look
from datasets.sources.parquet import CATALOG
from datasets.sources.wga import get_catalogue
from datasets.sources.wikiart import DATASET
from datasets.tasks import TASKS, Task, get_task, load_tasks
from lib.cli import Parser, positive, run
from lib.errors import UserError, unknown
from lib.fetch import USER_AGENT
from lib.fetch import download as fetch

DEFAULT = RateLimit()


def main() -> None:
    """Download, and say what came and what did not."""
    parser = Parser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--source", help="wga or wikiart: all images of its catalogue")
    what.add_argument("--task", help="only the images that this task needs")
    parser.add_argument(
        "--from",
        dest="dataset",
        help=f"a dataset of parquet files of Hugging Face (for wikiart without any: {DATASET})",
    )
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw material (default {RAW}/)")
    parser.add_argument("--tasks", type=Path, default=TASKS, help="another file of tasks")
    parser.add_argument("--per-second", type=float, default=DEFAULT.per_second, help="requests")
    parser.add_argument(
        "--connections", type=positive, default=DEFAULT.connections, help="at a time"
    )
    parser.add_argument(
        "--attempts", type=positive, default=DEFAULT.attempts, help="for each image"
    )
    parser.add_argument(
        "--patience", type=float, default=DEFAULT.patience, help="seconds to wait for an answer"
    )
    parser.add_argument(
        "--largest", type=float, default=DEFAULT.largest / 1e6, help="of a file, in MB"
    )
    parser.add_argument("--contact", help="your address, told to the server with each request")
    parser.add_argument(
        "--check", action="store_true", help="read what is there, and get broken files again"
    )
    args = parser.parse_args()
    for name in ("per_second", "connections", "attempts", "patience", "largest"):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be more than 0")

    task = get_task(args.task, args.tasks) if args.task else _any_task(args.source, args.tasks)
    folder = task.folder(args.raw)
    if args.dataset or (task.source == "wikiart" and not _has_material(folder)):
        number = get_dataset(args.dataset or DATASET, folder)
        print(f"{args.dataset or DATASET}: {number} parquet files in {folder}/")
    elif task.source == "wga" and missing(task, args.raw, images=False):
        print(f"wrote {get_catalogue(folder, fetch)}")
    if lacks := missing(task, args.raw, images=False):
        raise UserError(lacks[0])
    if write_out_images(task, args.raw):
        catalogue = read_catalogue(task, args.raw)
        print(
            f"{task.source}: {catalogue.table['image'].nunique():,} images in {catalogue.images}/, "
            f"their labels in {folder / CATALOG}; the parquet files are not needed any more"
        )
        return
    catalogue = read_catalogue(task, args.raw)
    table = catalogue.table.dropna(subset=["image"]).drop_duplicates("image")
    if args.task:
        table = table[table["image"].isin(select(catalogue, task).table["image"])]
    if table.empty or table["url"].isna().all():
        raise UserError(
            f"the catalogue of {task.source} ({catalogue.edition}) has no addresses of images; "
            f"put them into {images_root(task, args.raw)}/ by hand"
        )
    wanted = [
        Wanted(str(path), None if pd.isna(url) else str(url))
        for path, url in zip(table["image"], table["url"], strict=True)
    ]
    limits = RateLimit(
        connections=args.connections,
        per_second=args.per_second,
        attempts=args.attempts,
        patience=args.patience,
        largest=int(args.largest * 1e6),
        user_agent=USER_AGENT + (f" {args.contact}" if args.contact else ""),
    )
    outcome = download(wanted, catalogue.images, limits, check=args.check)

    report = task.folder(args.raw) / "failed_images.csv"
    write_failures(report, outcome.failures)
    print(
        f"{task.source}: {outcome.got:,} images downloaded to {catalogue.images}/, "
        f"{outcome.there:,} were there, {len(outcome.failures):,} failed"
    )
    if outcome.failures:
        reasons = Counter(failure.why for failure in outcome.failures).most_common(3)
        common = "; ".join(f"{why} ({number:,})" for why, number in reasons)
        print(f"what failed and why: {report}; most often: {common}", file=sys.stderr)
    if outcome.stopped:
        raise UserError(f"stopped: {outcome.stopped}; the same command goes on where it stopped")


def _has_material(folder: Path) -> bool:
    """Whether anything lies in a collection's folder that may tell of its images."""
    listing = look(folder)
    return bool(listing.images or listing.others)


def _any_task(source: str, tasks: Path) -> Task:
    """A task of the source: they all share one catalogue."""
    of_source = {task.source: task for task in load_tasks(tasks).values()}
    of_source.pop("folder", None)
    if source not in of_source:
        raise unknown("source", source, of_source)
    return of_source[source]


if __name__ == "__main__":
    run(main)
