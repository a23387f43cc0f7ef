"""TASK= or IMAGES=: which collection a tool works on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.catalogue import RAW
from datasets.folders import PARTS, data_folder
from datasets.tasks import get_task
from experiments.similarity.collection import Collection, folder_collection, task_collection
from lib.errors import UserError, unknown


@dataclass(frozen=True)
class CollectionChoice:
    """What the flags name: a task's images or those of a folder."""

    task: str | None = None
    images: Path | None = None
    split: str = "by_image"
    split_seed: int = 1
    parts: Sequence[str] = PARTS
    raw: Path = RAW  # where catalogues and images lie

    def check(self) -> None:
        """Raise UserError unless it names one collection whose task and parts there are."""
        if bool(self.task) == bool(self.images):
            raise UserError(
                "name one collection: TASK=<task> (--task) or IMAGES=<folder> (--images)"
            )
        if self.task:
            get_task(self.task)
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part", part, PARTS)

    def open(self) -> Collection:
        """The collection. Raises UserError for none, two, or one that is not there."""
        self.check()
        if self.images:
            return folder_collection(self.images)
        assert self.task
        data = data_folder(self.task, seed=self.split_seed, split=self.split)
        return task_collection(data, [part for part in PARTS if part in self.parts], self.raw)


def add_collection_flags(parser: argparse.ArgumentParser) -> None:
    """The flags --task, --split, --split-seed, --parts, --raw and --images."""
    group = parser.add_argument_group("the collection")
    group.add_argument("--task", help="the images in this task's LMDBs")
    group.add_argument("--split", default="by_image", help="its split (%(default)s)")
    group.add_argument("--split-seed", type=int, default=1, help="its split's seed (%(default)s)")
    group.add_argument(
        "--parts", nargs="+", default=list(PARTS), metavar="PART", help="train, val, test (all)"
    )
    group.add_argument("--raw", type=Path, default=RAW, help="raw material (%(default)s)")
    group.add_argument("--images", type=Path, metavar="FOLDER", help="or: all images in a folder")
