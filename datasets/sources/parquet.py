"""Parquet files with the images inside, as the datasets of Hugging Face have them.

Labels are texts, or numbers whose names stand in the file's own metadata, in dataset_infos.json or
in the README's front matter. The images are written out once, their bytes as they are, with a
catalog.csv beside them; after that the parquet files are not needed any more.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from datasets.labels import LABELS
from datasets.sources import spreadsheet
from datasets.sources.artists import name_of_slug
from datasets.sources.file_names import find_files
from datasets.sources.listing import Listing, part_of
from datasets.sources.wikiart_names import is_unknown
from datasets.table import GIVEN, Catalogue, build, count
from lib.cli import bar
from lib.errors import UserError
from lib.files import require_space, whole_folder, write_text
from lib.text import first_lines, read_json, read_text

UNPACKED = "unpacked.json"  # which parquet files were written out, beside the catalogue
CATALOG = "catalog.csv"
_BATCH = 16  # rows held in memory at a time
_BUFFER = 1 << 20  # bytes read ahead
# How an image's bytes begin, and the suffix its file gets.
_MAGIC = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)


def find_parquet(listing: Listing) -> list[str]:
    """The parquet files of a collection."""
    return [name for name in listing.others if name.lower().endswith(".parquet")]


def all_unpacked(listing: Listing, names: Sequence[str]) -> bool:
    """Whether every parquet file was written out, as it is now, and the catalogue is there."""
    record = _record(listing)
    return (listing.folder / CATALOG).is_file() and all(
        record.get(name, {}).get("size") == listing.path(name).stat().st_size for name in names
    )


def read_parquet(listing: Listing, names: Sequence[str]) -> Catalogue:
    """The rows of the files, without their images; UserError when they are unusable."""
    frames = [_labels(listing, name) for name in names]
    rows = pd.concat(frames)
    found = find_files(rows["image"].astype("string"), listing)
    rows["image"] = found.names
    table, odd_labels = build(rows, where=rows.index)
    return Catalogue(
        table,
        images=found.folder,
        edition=f"parquet, {count(len(names), 'file')}, {count(len(table), 'image')}",
        notes=odd_labels,
    )


def unpack(listing: Listing, names: Sequence[str]) -> None:
    """Write the images out below images/, a folder a parquet file, and then catalog.csv.

    What is whole already is left; so a stopped call is gone on with. Images are never held in
    memory all at once. UserError when the disk has no room, or a file is damaged.
    """
    pq = _pyarrow()
    record = _record(listing)
    waiting = [
        name
        for name in names
        if record.get(name, {}).get("size") != listing.path(name).stat().st_size
    ]
    sizes = {name: listing.path(name).stat().st_size for name in names}
    require_space(listing.folder, sum(sizes[name] for name in waiting), "the images of the parquet")
    files = {name: _open(pq, listing.path(name)) for name in waiting}
    rows = sum(file.metadata.num_rows for file in files.values())
    with bar(what="images out of parquet", unit="image", total=rows) as progress:
        for name, file in files.items():
            column = _image_column(file.schema_arrow, listing.path(name))
            images: list[str | None] = []
            into = listing.folder / "images" / _stem(name)
            with whole_folder(into) as aside:
                for number, data in enumerate(_images(file, column, listing.path(name))):
                    suffix = _suffix(data)
                    images.append(f"{number:06d}{suffix}" if suffix else None)
                    if data is not None and suffix:
                        (aside / f"{number:06d}{suffix}").write_bytes(data)
                    progress.update()
            record[name] = {"size": sizes[name], "images": images}
            write_text(listing.folder / UNPACKED, json.dumps(record) + "\n")
    _write_catalog(listing, names, record)


def _write_catalog(listing: Listing, names: Sequence[str], record: dict[str, Any]) -> None:
    """catalog.csv: a row an image, with its labels and part as texts.

    Rows of parquet files that are gone by now stay.
    """
    rows = pd.concat([_labels(listing, name) for name in names])
    rows["image"] = [
        f"{_stem(name)}/{image}" if image else ""
        for name in names
        for image in record[name]["images"]
    ]
    rows = rows.rename(columns={GIVEN: "split"})
    if (listing.folder / CATALOG).is_file():
        before, _ = spreadsheet.read(listing.folder / CATALOG)
        ours = {_stem(name) for name in names}
        gone = before[~before["image"].str.rpartition("/")[0].isin(ours)]
        rows = pd.concat([gone[gone["image"] != ""], rows])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows.columns)
    for values in rows.itertuples(index=False, name=None):
        writer.writerow("" if pd.isna(value) else value for value in values)
    write_text(listing.folder / CATALOG, out.getvalue())


def _record(listing: Listing) -> dict[str, Any]:
    path = listing.folder / UNPACKED
    if not path.is_file():
        return {}
    try:
        record = read_json(path)
    except UserError:
        return {}
    return record if isinstance(record, dict) else {}


def _labels(listing: Listing, name: str) -> pd.DataFrame:
    """All columns of a file but its images, numbers as their names; `image` says which it is."""
    pq = _pyarrow()
    path = listing.path(name)
    file = _open(pq, path)
    schema = file.schema_arrow
    image = _image_column(schema, path)
    kinds = _class_names(schema, listing)
    columns = [f.name for f in schema if f.name != image and not _is_nested(f.type)]
    try:
        table = file.read(columns=columns, use_threads=False).to_pandas()
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is damaged: {_line(error)}") from None
    rows = pd.DataFrame(index=pd.RangeIndex(file.metadata.num_rows))
    rows["image"] = [f"{_stem(name)}/{number:06d}" for number in range(len(rows))]
    for column in columns:
        rows[column] = _texts(table[column], kinds.get(column), column, path)
    part = part_of(Path(name).name) or next(
        (told for folder in Path(name).parts[:-1] if (told := part_of(folder))), None
    )
    if part and "split" not in rows:
        rows[GIVEN] = part
    rows.index = pd.Index([f"{Path(name).name} row {n}" for n in range(1, len(rows) + 1)])
    return rows


def _texts(values: pd.Series, names: list[str] | None, column: str, path: Path) -> pd.Series:
    """A column as texts; what is unknown is missing."""
    label = column.casefold() in (*LABELS, "class", "label")
    if names is not None:
        numbers = values.astype("Int64")
        wrong = numbers.dropna()[~numbers.dropna().between(-1, len(names) - 1)]
        if len(wrong):
            raise UserError(f"{path}: {column} has the number {wrong.iloc[0]}, which has no name")
        words = [_tidy(column, word) for word in names]
        known = [None if is_unknown(word) else word for word in words]
        told = [None if pd.isna(n) or n < 0 else known[int(n)] for n in numbers]
        return pd.Series(told, index=values.index, dtype=object)
    texts = [None if pd.isna(value) else str(value) for value in values.tolist()]
    if label:
        texts = [None if text is None or is_unknown(text) else text for text in texts]
    return pd.Series(texts, index=values.index, dtype=object)


def _tidy(column: str, word: str) -> str:
    """A class name as the release's lists give it: 'claude-monet' and 'Art_Nouveau' have spaces."""
    if column.casefold() == "artist" and " " not in word and word == word.casefold():
        return name_of_slug(word)
    return word.replace("_", " ") if column.casefold() in LABELS else word


def _class_names(schema: Any, listing: Listing) -> dict[str, list[str]]:
    """The names of each column of numbers, from wherever the dataset keeps them."""
    told: dict[str, list[str]] = {}
    for features in _features(schema, listing):
        for column, feature in features.items():
            names = feature.get("names") if isinstance(feature, dict) else None
            if isinstance(names, dict):  # the README's way: {'0': 'a', '1': 'b'}
                names = [names[key] for key in sorted(names, key=lambda key: int(key))]
            if isinstance(names, list) and column not in told:
                told[str(column)] = [str(name) for name in names]
    return told


def _features(schema: Any, listing: Listing) -> Iterator[dict[str, Any]]:
    """Features as the file's metadata, dataset_infos.json and the README describe them."""
    data = (schema.metadata or {}).get(b"huggingface")
    if data:
        with suppress(ValueError, KeyError, TypeError):
            yield json.loads(data)["info"]["features"]
    for name in listing.others:
        base = name.rpartition("/")[2]
        if base in ("dataset_infos.json", "dataset_info.json"):
            infos = read_json(listing.path(name))
            for info in [infos, *(infos.values() if isinstance(infos, dict) else [])]:
                features = info.get("features") if isinstance(info, dict) else None
                if isinstance(features, dict):
                    yield features
        elif base == "README.md" and first_lines(listing.path(name), 64)[:1] == ["---"]:
            yield from _readme_features(read_text(listing.path(name)))


def _readme_features(text: str) -> Iterator[dict[str, Any]]:
    try:
        front = yaml.safe_load(text.split("\n---", 1)[0].removeprefix("---"))
    except yaml.YAMLError:
        return
    infos = front.get("dataset_info") if isinstance(front, dict) else None
    for info in infos if isinstance(infos, list) else [infos]:
        if not isinstance(info, dict) or not isinstance(info.get("features"), list):
            continue
        features = {}
        for feature in info["features"]:
            kind = feature.get("dtype") if isinstance(feature, dict) else None
            if isinstance(kind, dict) and isinstance(kind.get("class_label"), dict):
                features[str(feature.get("name"))] = kind["class_label"]
        yield features


def _image_column(schema: Any, path: Path) -> str:
    """The column of images: {bytes, path}, or plain bytes; the surest name of several."""
    choices = []
    for field in schema:
        kind = str(field.type)
        if kind.startswith("struct<") and "bytes: " in kind:
            choices.append((0, field.name not in ("image", "img"), field.name))
        elif kind in ("binary", "large_binary", "binary_view"):
            choices.append((1, field.name not in ("image", "img", "jpg", "bytes"), field.name))
    if not choices:
        raise UserError(f"{path} has no column of images; it has {', '.join(schema.names)}")
    return min(choices)[2]


def _images(file: Any, column: str, path: Path) -> Iterator[bytes | None]:
    try:
        for batch in file.iter_batches(batch_size=_BATCH, columns=[column], use_threads=False):
            for cell in batch.column(0).to_pylist():
                yield cell.get("bytes") if isinstance(cell, dict) else cell
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is damaged: {_line(error)}; download it again") from None


def _suffix(data: bytes | None) -> str:
    if data is None:
        return ""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "")


def _is_nested(kind: Any) -> bool:
    return str(kind).startswith(("struct<", "list<", "large_list<", "map<", "binary", "large_bin"))


def _open(pq: Any, path: Path) -> Any:
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no whole parquet file: {_line(error)}") from None


def _stem(name: str) -> str:
    return name[: -len(".parquet")]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet  # in an extra: only these files need it
    except ImportError:
        raise UserError(
            "parquet files need the package pyarrow; install it with: make .venv/.with-parquet"
        ) from None
    return pyarrow.parquet
