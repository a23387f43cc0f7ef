"""A collection of one's own: a folder per class, or a CSV with a path column and label columns.

<collection>/images/<class>/<name>.jpg          the label column is called "class"
<collection>/catalog.csv (.xlsx, .xls, .zip)    a column image, the others are labels
<collection>/images/<what the column says>
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datasets.image_files import find_images, found_as
from datasets.sources import spreadsheet
from datasets.table import COLUMNS, Catalogue, Note, build, count, require_columns, some
from lib.errors import UserError

GET_CATALOGUE = (
    "put your images there as images/<class>/<name>.jpg, "
    "or add a catalog.csv with a column path and columns of labels"
)
GET_IMAGES = "put your images there"

_IMAGE_COLUMNS = ("image", "path", "file", "filename")


def files(folder: Path) -> list[Path]:
    """The CSV, or else the folders of the classes; none when there is neither."""
    file = spreadsheet.find(folder)
    if file:
        return [file]
    root = folder / "images"
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def read(folder: Path) -> Catalogue:
    """The collection; UserError when its CSV has no column of images or leads outside."""
    file = spreadsheet.find(folder)
    return _from_table(file, folder) if file else _from_folders(folder)


def _from_folders(folder: Path) -> Catalogue:
    root = folder / "images"
    found = find_images(root)
    images = found.images
    loose = [name for name in images if "/" not in name]
    notes = []
    if lost := [name for names in found.left_out.values() for name in names]:
        text = f"{count(len(lost), 'image')} left out, OpenCV cannot read: {found.left_out_words}"
        notes.append(Note(text, lost))
    if loose:
        notes.append(Note(f"{count(len(loose), 'image')} in no class's folder left out", loose))
    images = [name for name in images if "/" in name]
    rows = pd.DataFrame({"image": images, "class": [name.split("/")[0] for name in images]})
    table, odd_labels = build(rows, where=images)
    return Catalogue(
        table,
        images=root,
        edition=f"folders, {count(len(images), 'image')}",
        notes=notes + odd_labels,
    )


def _from_table(file: Path, folder: Path) -> Catalogue:
    rows, notes = spreadsheet.read(file)
    lower = {str(name): str(name).lower() for name in rows.columns}
    rows = rows.rename(
        columns={name: low for name, low in lower.items() if low in (*COLUMNS, *_IMAGE_COLUMNS)}
    )
    given = [name for name in _IMAGE_COLUMNS if name in rows]
    if not given:
        require_columns(rows.columns, ("image",), file, "name the column of image paths image")
    rows = rows.rename(columns={given[0]: "image"})
    rows["image"] = rows["image"].str.strip().str.replace("\\", "/").str.removeprefix("./")
    outside = rows["image"].str.match(r"/|[A-Za-z]:|(.*/)?\.\.(/|$)")
    if outside.any():
        named = [f"{image} ({where})" for where, image in rows["image"][outside].items()]
        raise UserError(
            f"{file}: {count(len(named), 'path')} not below {folder}/images: {some(named)}; "
            "paths must be relative to that folder"
        )
    table, odd_labels = build(rows, where=rows.index)
    root = folder / "images"
    if root.is_dir():
        table["image"] = found_as(table["image"], root)
    return Catalogue(
        table,
        images=root,
        edition=f"{file.name}, {count(len(table), 'row')}",
        notes=notes + odd_labels,
    )
