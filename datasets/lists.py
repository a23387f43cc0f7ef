"""The list files of a data folder: written together, and read only when they belong together.

`lists.json` is the seal: it holds the SHA-256 of the other files, goes before they change and comes
after they are written. A writer killed half-way leaves no seal, and a file changed later breaks it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from datasets.folders import PARTS, DataFolder, lists_command
from datasets.records import ListsRecord, check_lists, lists_bytes, read_lists_record, written_root
from datasets.select import Selection
from datasets.split import as_given, by_image, by_work
from datasets.table import Note, count
from datasets.tasks import Task
from lib.errors import UserError
from lib.files import back_up, sha256, whole_file


def make_lists(
    selection: Selection,
    task: Task,
    folder: DataFolder,
    *,
    images: Path,
    seed: int,
    split: str,
    force: bool = False,
) -> bool:
    """Split a selection and write its lists; False when the same ones were there already.

    UserError when a class has too few images or works for the three parts, and, without `force`,
    when a list was changed by hand.
    """
    if not force:
        _refuse_changed_by_hand(folder)
    table = selection.table
    labels = dict(zip(table["image"].tolist(), table["label"].tolist(), strict=True))
    found = set(labels.values())
    for name in selection.classes:
        if name not in found:
            raise UserError(f"class '{name}' of task {task.name} has no image below {images}")
    notes = list(selection.notes)
    left_out = dict(selection.left_out)
    if split == "given":
        given = table.dropna(subset="part")
        if len(given) < len(table):
            lost = table[table["part"].isna()]
            named = [f"{image} ({where})" for where, image in lost["image"].items()]
            text = f"{count(len(lost), 'image')} in no part of the given split left out"
            notes.append(Note(text, named))
            left_out["in no part of the given split"] = len(lost)
            labels = dict(zip(given["image"], given["label"], strict=True))
        parts, said = as_given(
            labels, dict(zip(given["image"], given["part"].astype(str), strict=True)), seed
        )
        notes += [Note(text, []) for text in said]
    elif split == "by_work":
        works = table["work"].fillna(table["image"])
        parts = by_work(labels, dict(zip(labels, works.tolist(), strict=True)), seed)
    else:
        parts = by_image(labels, seed)
    number = {name: label for label, name in enumerate(selection.classes)}
    texts = {folder.classes: "".join(f"{name}\n" for name in selection.classes)}
    for part in PARTS:
        texts[folder.list(part)] = "".join(
            f"{image} {number[labels[image]]}\n" for image in parts[part]
        )
    counts = {part: Counter(labels[image] for image in parts[part]) for part in PARTS}
    record = ListsRecord(
        task=task.name,
        source=task.source,
        label=task.label,
        rule={
            "images per class": task.rule,
            "forms": list(task.forms),
            "forms_left_out": list(task.forms_left_out),
            "labels_left_out": list(task.labels_left_out),
            **({"labels": list(task.labels)} if task.labels else {}),
        },
        seed=seed,
        split=split,
        images_root=written_root(images),
        counts={part: len(parts[part]) for part in PARTS},
        classes={name: {part: counts[part][name] for part in PARTS} for name in selection.classes},
        left_out=left_out,
        warnings=[{"what": note.text, "rows": list(note.rows)} for note in notes],
        sha256={path.name: _hash(text) for path, text in texts.items()},
    )
    return _write(folder, texts, record)


def _refuse_changed_by_hand(folder: DataFolder) -> None:
    """UserError when a whole set of lists is there and one is no longer what was written."""
    for name, known in _written_hashes(folder).items():
        path = folder.path / name
        if path.exists() and sha256(path) != known:
            raise UserError(
                f"{path} was changed since it was made: {lists_command(folder.path)} FORCE=1 makes "
                "the lists anew; for labels of your own make a task of source 'folder' with a CSV"
            )


def read_record(folder: DataFolder) -> ListsRecord:
    """`lists.json`, after checking that every list is the one it was written with.

    UserError when there are no lists, or a list was changed or half made.
    """
    record = read_lists_record(folder)
    check_lists(folder, record)
    return record


def _write(folder: DataFolder, texts: dict[Path, str], record: ListsRecord) -> bool:
    sealed = lists_bytes(record)
    try:
        read_record(folder)
        if folder.record.read_bytes() == sealed:
            return False
    except UserError:
        pass  # nothing there, or nothing whole: written anew
    ours = _written_hashes(folder)
    folder.record.unlink(missing_ok=True)
    for path, text in texts.items():
        if path.exists() and sha256(path) == _hash(text):
            continue
        if path.exists() and sha256(path) != ours.get(path.name):
            print(f"{path}: not as this program wrote it; it is now {back_up(path)}")
        _write_whole(path, _bytes(text))
    _write_whole(folder.record, sealed)
    return True


def _written_hashes(folder: DataFolder) -> dict[str, str]:
    """The SHA-256 of each list as the record has it; none where there is no record."""
    try:
        return read_lists_record(folder).sha256
    except UserError:
        return {}


def _write_whole(path: Path, data: bytes) -> None:
    with whole_file(path) as aside:
        aside.write_bytes(data)


def _bytes(text: str) -> bytes:
    """UTF-8; in file names that are not, the very bytes they have on the disk."""
    return text.encode("utf-8", "surrogateescape")


def _hash(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()
