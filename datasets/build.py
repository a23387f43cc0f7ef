"""Builds a task's LMDBs and mean from its lists: all of them together, or none."""

from __future__ import annotations

import hashlib
import json
import stat
from contextlib import ExitStack, closing
from pathlib import Path

import cv2

from datasets.checksums import Checksums, crc32, quick_check, write_checksums
from datasets.folders import PARTS, DataFolder
from datasets.imagelist import Entry, read_classes, read_list
from datasets.lmdb_writer import LmdbWriter, datum_bytes, space_needed
from datasets.mean import MeanSum, mean_bytes
from datasets.parallel import decode_all, keep_memory
from datasets.records import LmdbRecord, lmdb_bytes, read_lmdb_record, write_lmdb_record
from lib.cli import bar
from lib.display import escaped
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.files import back_up, require_space, sha256, whole_file, whole_folder, write_text
from prototxt.caffenet import IMAGE_SIZE

_SHOWN = 20  # broken images named in an error


def lmdb_record(folder: DataFolder) -> LmdbRecord | None:
    """What the LMDBs were built from, if they are there, whole, and made from today's lists."""
    try:
        record = read_lmdb_record(folder)
        fresh = all(
            record.lists.get(part) == sha256(folder.list(part))
            and (folder.lmdb(part) / "data.mdb").exists()
            for part in PARTS
        )
        fresh = fresh and record.classes == sha256(folder.classes)
        fresh = fresh and record.mean == sha256(folder.mean)
        fresh = fresh and not any(quick_check(folder, part) for part in PARTS)
    except (UserError, OSError):
        return None
    return record if fresh else None


def build_lmdbs(
    folder: DataFolder, root: Path, *, workers: int, skip_broken: bool = False
) -> LmdbRecord:
    """Build train_lmdb, val_lmdb, test_lmdb, mean.binaryproto and, last, lmdb.json.

    Images are decoded in `workers` processes; the bytes written do not depend on how many. Until
    every image of all three lists was read, what was there before stays untouched; an LMDB or a
    mean that was put there by somebody else is backed up. Returns what lmdb.json holds.

    Raises UserError if an image is broken and `skip_broken` is not set (it names up to 20), if
    nothing is left of a part, or if the disk is too small.
    """
    classes = read_classes(folder.classes)
    lists = {part: read_list(folder.list(part), len(classes)) for part in PARTS}
    hashes = {part: sha256(folder.list(part)) for part in PARTS}
    classes_hash = sha256(folder.classes)
    if not root.is_dir():
        raise UserError(f"no image folder {root}; get the images, or name theirs with --images")
    if not skip_broken:
        _refuse(root, _missing(root, lists))
    total = sum(map(len, lists.values()))
    require_space(folder.path, space_needed(total), f"the LMDBs of {total:,} images")

    keep_memory()  # records come and go too, 197 kB each
    left_out: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    written = dict.fromkeys(PARTS, 0)
    warnings: dict[str, str] = {}
    sums: dict[str, list[str]] = {part: [] for part in PARTS}
    mean = MeanSum()
    paths = (f"{root}/{entry.path}" for part in PARTS for entry in lists[part])
    with (
        exclusive_lock(folder.path, f"a build of the LMDBs of {folder.path}", wait=False),
        ExitStack() as whole,
        closing(decode_all(paths, min(workers, total))) as images,
        bar(what="LMDB", unit="image", total=total) as progress,
    ):
        # The folders and the mean take their places when `whole` is left.
        ours = _built_here(folder)
        asides = {
            part: whole.enter_context(whole_folder(there, is_ours=there in ours))
            for part in PARTS
            if (there := folder.lmdb(part))
        }
        mean_aside = whole.enter_context(whole_file(folder.mean))
        for part in PARTS:
            with LmdbWriter(asides[part], len(lists[part])) as writer:
                for entry in lists[part]:
                    image = next(images)
                    progress.update()
                    if image.broken:
                        left_out[part][entry.path] = image.broken
                        continue
                    if image.warning:
                        warnings[entry.path] = image.warning
                    if part == "train":
                        mean.add(image.data)
                    value = datum_bytes(image.data, entry.label)
                    writer.put(entry.key, value)
                    sums[part].append(crc32(value))
                    written[part] += 1
        if not skip_broken:
            _refuse(root, {path: why for part in PARTS for path, why in left_out[part].items()})
        for part in PARTS:
            if not written[part]:
                raise UserError(f"every image of {folder.list(part)} is broken or missing")
        mean_aside.write_bytes(mean_bytes(mean.mean()))
        if folder.mean.exists() and folder.mean not in ours:
            print(f"{folder.mean}: not made from these LMDBs; it is now {back_up(folder.mean)}")
        made = {folder.lmdb(part): aside for part, aside in asides.items()}
        made[folder.mean] = mean_aside
        marks = {path.name: [_mark(aside)] for path, aside in made.items()}
        for path in ours:
            marks[path.name].append(_mark(path))
        write_text(_marks(folder), json.dumps(marks) + "\n")
        # From here on the old set is replaced; without its record nobody takes a mixture for whole.
        folder.lmdb_record.unlink(missing_ok=True)

    record = LmdbRecord(
        lists=hashes,
        classes=classes_hash,
        images=written,
        left_out=left_out,
        decoder_warnings=warnings,
        mean=sha256(folder.mean),
        size=[IMAGE_SIZE, IMAGE_SIZE],
        opencv=cv2.__version__,
    )
    checksums = {
        part: Checksums((folder.lmdb(part) / "data.mdb").stat().st_size, "".join(sums[part]))
        for part in PARTS
    }
    write_checksums(folder, checksums, hashlib.sha256(lmdb_bytes(record)).hexdigest())
    write_lmdb_record(folder, record)
    _marks(folder).unlink()
    return record


def _built_here(folder: DataFolder) -> list[Path]:
    """The LMDBs and the mean that are there and that a build of ours, killed or not, made.

    Ours are LMDBs older than their record, a mean with the hash in it, and what bears a mark of a
    build that was killed while it replaced the old set.
    """
    try:
        mean = read_lmdb_record(folder).mean
        recorded_at = folder.lmdb_record.stat().st_mtime_ns
    except (UserError, OSError):
        recorded_at, mean = 0, ""
    try:
        marks = json.loads(_marks(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        marks = {}
    found = []
    for path in (*map(folder.lmdb, PARTS), folder.mean):
        if not path.exists():
            continue
        if path == folder.mean:
            known = sha256(path) == mean
        else:
            if {each.name for each in path.iterdir()} - {"data.mdb", "lock.mdb"}:
                continue
            known = not (mark := _mark(path)) or mark[1] <= recorded_at
        if known or _mark(path) in marks.get(path.name, ()):
            found.append(path)
    return found


def _marks(folder: DataFolder) -> Path:
    """Where the marks of both sets are while one takes the other's place."""
    return folder.lmdb_record.with_name(f".{folder.lmdb_record.name}.replacing")


def _mark(path: Path) -> list[int]:
    """What tells a file, or an LMDB, from others: its size and the time of its last change."""
    data = path / "data.mdb" if path.is_dir() else path
    there = data.stat() if data.exists() else None
    return [there.st_size, there.st_mtime_ns] if there else []


def _missing(root: Path, lists: dict[str, list[Entry]]) -> dict[str, str]:
    """Images that need no decoding to be found broken: seen in a second, before the long work."""
    missing = {}
    for entry in (entry for part in PARTS for entry in lists[part]):
        try:
            there = Path(f"{root}/{entry.path}").stat()
        except OSError as error:
            missing[entry.path] = (error.strerror or str(error)).lower()
            continue
        if not stat.S_ISREG(there.st_mode):
            missing[entry.path] = "not a file"
        elif not there.st_size:
            missing[entry.path] = "empty file"
    return missing


def _refuse(root: Path, broken: dict[str, str]) -> None:
    if not broken:
        return
    shown = "".join(f"\n  {escaped(path)}: {why}" for path, why in list(broken.items())[:_SHOWN])
    more = f"\n  and {len(broken) - _SHOWN:,} more" if len(broken) > _SHOWN else ""
    images = "image is" if len(broken) == 1 else "images are"
    raise UserError(
        f"{len(broken):,} {images} broken or missing under {root}; mend them, or leave them out "
        f"with SKIP_BROKEN=1 (--skip-broken):{shown}{more}"
    )
