"""`works.csv`: what the catalogue knows of the images in a task's lists, kept beside them.

So that titles, artists and labels are still known when the raw material has gone. It is no part of
a run's inputs, and may be missing: older versions did not write it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import pandas as pd

from datasets.folders import DataFolder
from lib.files import whole_file

Work = dict[str, str]  # column of the catalogue -> its text; what is not known is not in it


def write_works(folder: DataFolder, table: pd.DataFrame, images: Iterable[str]) -> None:
    """Write every column of the catalogue's `table` for `images`, sorted by path.

    One row per image. A file that says the same already is left as it is.
    """
    columns = ["image", *(str(name) for name in table.columns if name != "image")]
    row_of = dict(zip(reversed(table["image"].tolist()), range(len(table))[::-1], strict=True))
    rows = [row_of[image] for image in sorted(set(images)) if image in row_of]
    cells = (table[name].astype("object").fillna("").to_numpy()[rows].tolist() for name in columns)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*cells, strict=True))
    data = text.getvalue().encode("utf-8", "surrogateescape")
    if folder.works.exists() and folder.works.read_bytes() == data:
        return
    with whole_file(folder.works) as aside:
        aside.write_bytes(data)


def read_works(folder: DataFolder) -> dict[str, Work]:
    """Image path -> what was known of it when the lists were made; empty without `works.csv`."""
    try:
        with folder.works.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return {
                str(row.pop("image")): {name: text for name, text in row.items() if name and text}
                for row in csv.DictReader(handle, restval="")
                if row.get("image")
            }
    except (FileNotFoundError, csv.Error):
        return {}
