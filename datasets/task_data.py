"""A task's lists, then its LMDBs and mean: each made where it is not up to date, in one call."""

from __future__ import annotations

from pathlib import Path

from datasets.build import build_lmdbs, lmdb_record
from datasets.folders import PARTS, DataFolder, lists_command
from datasets.records import LmdbRecord, images_root
from datasets.tasks import Task
from lib.cli import Say
from lib.display import escaped
from lib.errors import UserError
from lib.machine import usable_cores


def make_task_lists(
    task: Task,
    folder: DataFolder,
    *,
    raw: Path,
    split: str,
    split_seed: int,
    force: bool = False,
    say: Say,
    warn: Say,
) -> None:
    """Make classes.txt, train.txt, val.txt, test.txt and lists.json; what is the same is kept.

    `say` is told what there is, `warn` what was left out. Raises UserError where material is
    missing, and, without `force`, where a list was changed by hand.
    """
    # Imported here, because pandas comes with it: each decoding process would import that too.
    from datasets.catalogue import ready_catalogue
    from datasets.lists import make_lists, read_record
    from datasets.select import select, what_it_gives, with_images
    from datasets.sources.wikiart_release import known_bad
    from datasets.table import Note
    from datasets.works import write_works

    catalogue = ready_catalogue(task, raw)
    selection = with_images(select(catalogue, task), catalogue.images)
    new = make_lists(
        selection,
        task,
        folder,
        images=catalogue.images,
        seed=split_seed,
        split=split,
        force=force,
    )
    write_works(folder, catalogue.table, selection.table["image"])
    record = read_record(folder)
    for warning in record.warnings:
        warn(str(Note(warning["what"], warning["rows"])))
    for line in known_bad(selection.notes):
        warn(line)
    if selection.below or task.paper_classes:
        say(what_it_gives(task, selection))
    counts = record.counts
    sizes = ", ".join(f"{part} {counts[part]:,}" for part in PARTS)
    say(
        f"{task.name}: {len(selection.table):,} images in {len(selection.classes)} classes: "
        f"{sizes}; lists in {folder.path}/" + ("" if new else " (as before)")
    )


def make_task_lmdbs(
    folder: DataFolder,
    *,
    images: Path | None = None,
    workers: int | None = None,
    skip_broken: bool = False,
    force: bool = False,
    say: Say,
) -> None:
    """Build the LMDBs and the mean from the lists; what is up to date is kept, unless `force`.

    `images` is the root of the images (None: as lists.json says), `workers` the number of
    processes that decode (None: one a core). Raises UserError where lists or images are missing.
    """
    if not folder.path.is_dir():
        raise UserError(
            f"no folder {folder.path}; make its lists with: {lists_command(folder.path)}"
        )
    record = None if force else lmdb_record(folder)
    if record:
        say(f"up to date: {_summary(folder, record)}")
        return
    record = build_lmdbs(
        folder,
        images or images_root(folder),
        workers=workers or usable_cores(),
        skip_broken=skip_broken,
    )
    say(f"built {_summary(folder, record)}")
    if warned := record.decoder_warnings:
        path, warning = next(iter(warned.items()))
        say(f"{len(warned):,} images were read with a warning, as in {escaped(path)}: {warning}")


def _summary(folder: DataFolder, record: LmdbRecord) -> str:
    counts = ", ".join(f"{part} {record.images[part]:,}" for part in PARTS)
    left_out = sum(len(record.left_out[part]) for part in PARTS)
    tail = f"; {left_out:,} broken images left out (named in lmdb.json)" if left_out else ""
    return f"the LMDBs and mean in {folder.path} ({counts} images{tail})"
