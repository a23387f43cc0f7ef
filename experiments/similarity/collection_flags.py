"""TASK= or IMAGES=: which collection a tool works on."""

from __future__ import annotations

import argparse
from pathlib import Path

from datasets.folders import PARTS, data_folder
from datasets.tasks import get_task
from experiments.similarity.collection import Collection, folder_collection, task_collection
from lib.errors import UserError, unknown


def add_collection_flags(parser: argparse.ArgumentParser) -> None:
    """The flags --task, --data, --split, --split-seed, --parts and --images."""
    group = parser.add_argument_group("the collection")
    group.add_argument("--task", help="the images in this task's LMDBs")
    group.add_argument("--split", default="by_image", help="its split (%(default)s)")
    group.add_argument("--split-seed", type=int, default=1, help="its split's seed (%(default)s)")
    group.add_argument(
        "--parts", nargs="+", default=list(PARTS), metavar="PART", help="train, val, test (all)"
    )
    group.add_argument("--images", type=Path, metavar="FOLDER", help="or: all images in a folder")


def collection_from(arguments: argparse.Namespace) -> Collection:
    """The collection that the flags name. Raises UserError for none, two, or one not there."""
    if bool(arguments.task) == bool(arguments.images):
        raise UserError("name one collection: TASK=<task> (--task) or IMAGES=<folder> (--images)")
    if arguments.images:
        return folder_collection(arguments.images)
    get_task(arguments.task)
    for part in arguments.parts:
        if part not in PARTS:
            raise unknown("part", part, PARTS)
    parts = [part for part in PARTS if part in arguments.parts]
    data = data_folder(arguments.task, seed=arguments.split_seed, split=arguments.split)
    return task_collection(data, parts)
