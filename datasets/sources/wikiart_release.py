"""The ArtGAN WikiArt release (Tan et al., 2016): folders of styles and lists for three labels.

Images are `<style>/<artist>_<title>.jpg`. A list `<style|genre|artist>_<train|val>` has lines
`<image>,<label number>`; the artists' lists also a header, blank lines and `,,`. A file
`<style|genre|artist>_class` has lines `<label number> <name>`. The release's own division into
train and val is not used: the paper splits 70/10/20.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from datasets.sources.artists import name_of_slug
from datasets.table import Catalogue, build
from lib.errors import UserError

_KINDS = ("style", "genre", "artist")
_HEADER = "(Path to image)"


def files(folder: Path) -> list[Path]:
    """The lists, in the folder or in its subfolders; none when there are none."""
    pattern = re.compile(r"(style|genre|artist)_(train|val)(\.csv|\.txt)?")
    places = sorted([*folder.glob("*"), *folder.glob("*/*")])
    return [path for path in places if pattern.fullmatch(path.name) and path.is_file()]


def read(folder: Path) -> Catalogue:
    """All images of the lists, each with the labels it has; UserError names a line at fault."""
    table = pd.DataFrame({"image": pd.Series(dtype=object)})
    for kind in _KINDS:
        lists = [file for file in files(folder) if file.name.startswith(f"{kind}_")]
        if lists:
            names = _class_names(lists[0], kind)
            rows = pd.concat([_rows(file, kind, names) for file in lists], ignore_index=True)
            table = table.merge(rows, on="image", how="outer", sort=False)
    places = table[[column for column in table if str(column).startswith("in ")]]
    where = [
        ", ".join(place for place in row if isinstance(place, str))
        for row in places.itertuples(index=False, name=None)
    ]
    name = table["image"].str.rpartition("/")[2]
    if "style" not in table:
        table["style"] = table["image"].str.partition("/")[0].str.replace("_", " ")
    # The artists' lists cover 23 artists, and not all of their images; the file names cover all.
    slug = name.str.partition("_")[0]
    spelling = {one: name_of_slug(one) for one in slug.unique()}
    if "artist" in table:
        spelling |= _listed(slug, table)
    table["artist"] = slug.map(spelling)
    table["title"] = name.str.partition("_")[2].str.removesuffix(".jpg").str.replace("-", " ")
    table["work"] = name  # the same picture may lie in the folders of several styles
    columns = [c for c in ("image", "work", *_KINDS, "title") if c in table]
    built, notes = build(table[columns], where=where)
    return Catalogue(
        built,
        images=folder / "images",
        edition=f"ArtGAN release, {table['image'].nunique():,} images",
        notes=notes,
    )


def _listed(slug: pd.Series, table: pd.DataFrame) -> dict[str, str]:
    """The artists' lists' spelling of each artist they cover."""
    pairs = table[["artist"]].assign(slug=slug).dropna().drop_duplicates("slug")
    return dict(zip(pairs["slug"], pairs["artist"], strict=True))


def _rows(file: Path, kind: str, names: dict[str, str]) -> pd.DataFrame:
    """Columns image, `kind` and 'in `kind`': the place of the line, for people."""
    images, labels, places = [], [], []
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip() or line.startswith(_HEADER):
            continue
        image, _, label = line.rpartition(",")
        image = image.rstrip(", ")
        here = f"{file.name} line {number}"
        if not image or not label.strip().isdecimal():
            raise UserError(f"{file} line {number}: '{line[:80]}' is not '<image>,<label number>'")
        if label.strip() not in names:
            raise UserError(f"{file} line {number}: {kind}_class has no label {label.strip()}")
        images.append(image)
        labels.append(names[label.strip()])
        places.append(here)
    if not images:
        raise UserError(f"{file} lists no image")
    return pd.DataFrame({"image": images, kind: labels, f"in {kind}": places}, dtype=object)


def _class_names(beside: Path, kind: str) -> dict[str, str]:
    """Label number to class name, underscores made spaces."""
    choices = [beside.with_name(f"{kind}_class{suffix}") for suffix in ("", ".txt", ".csv")]
    file = next((path for path in choices if path.is_file()), None)
    if file is None:
        raise UserError(f"{beside} needs {choices[1].name} beside it, the names of its labels")
    names = {}
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        label, _, name = line.strip().partition(" ")
        if not label.isdecimal() or not name.strip():
            raise UserError(f"{file} line {number}: '{line[:80]}' is not '<label number> <name>'")
        names[label] = name.strip().replace("_", " ")
    return names


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error.reason})") from error
