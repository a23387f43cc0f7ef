"""Where the files of one task lie: the lists, LMDBs and mean that Caffe reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PARTS = ("train", "val", "test")
SPLITS = ("by_image", "by_work", "given")

DATASETS = Path("datasets")
RAW = DATASETS / "raw"  # the sources' material
_NAME = re.compile(rf"(?P<task>\w+?)(?:-(?P<split>{'|'.join(SPLITS)}))?(?:-seed(?P<seed>\d+))?")


@dataclass(frozen=True)
class DataFolder:
    """The folder of one task, seed and kind of split. Nothing in it need exist yet."""

    path: Path

    @property
    def classes(self) -> Path:
        """One class name a line; the line's number, from 0, is the label."""
        return self.path / "classes.txt"

    def list(self, part: str) -> Path:
        """Caffe's own list: `<image path, relative to the image root> <label>` a line, shuffled.

        The label is what follows the last space, as convert_imageset reads it: the path may hold
        spaces. The order is already random, because the Data layer never shuffles an LMDB.
        """
        return self.path / f"{_part(part)}.txt"

    @property
    def record(self) -> Path:
        """How the lists were made: rule, seed, split, image root, counts, hashes of the lists."""
        return self.path / "lists.json"

    @property
    def works(self) -> Path:
        """What the catalogue knows of the images in the lists (see datasets.works)."""
        return self.path / "works.csv"

    def lmdb(self, part: str) -> Path:
        """The LMDB of a part: 256x256 BGR Datums, in the order of the list."""
        return self.path / f"{_part(part)}_lmdb"

    @property
    def mean(self) -> Path:
        """The mean image of the train LMDB."""
        return self.path / "mean.binaryproto"

    @property
    def lmdb_record(self) -> Path:
        """What the LMDBs were built from: hashes of the lists, counts, size, broken images."""
        return self.path / "lmdb.json"

    @property
    def checksums(self) -> Path:
        """The checksum of every record of the LMDBs (see datasets.checksums)."""
        return self.path / "lmdb_checksums.json"


def data_folder(task: str, *, seed: int = 1, split: str = "by_image") -> DataFolder:
    """`datasets/<task>`; a seed or split other than the default adds `-seed<n>`, `-<split>`."""
    name = task
    if split != "by_image":
        name += f"-{split}"
    if seed != 1:
        name += f"-seed{seed}"
    return DataFolder(DATASETS / name)


def lists_command(folder: Path) -> str:
    """What makes the lists of a data folder, as far as its name tells."""
    match = _NAME.fullmatch(folder.name)
    if match is None:
        return f"make lists TASK={folder.name}"
    split = f" SPLIT={match['split']}" if match["split"] else ""
    seed = f" SPLIT_SEED={match['seed']}" if match["seed"] else ""
    return f"make lists TASK={match['task']}{split}{seed}"


def _part(part: str) -> str:
    if part not in PARTS:
        raise ValueError(f"part is {part!r}, must be one of {PARTS}")
    return part
