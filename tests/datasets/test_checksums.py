"""Damaged and replaced LMDBs are noticed and named at each use, without a SIGBUS."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import lmdb
import pytest

from datasets.build import build_lmdbs, lmdb_record
from datasets.checksums import (
    checked_meanwhile,
    full_check,
    quick_check,
    read_checksums,
    require_whole,
)
from datasets.folders import DataFolder
from datasets.lmdb_pages import DamagedLmdbError, LmdbFile
from datasets.verify import verify_lmdbs
from lib.errors import UserError
from lib.files import sha256
from tests.pictures import write_jpeg

PAGE = 4096


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    place = tmp_path_factory.mktemp("built")
    names = [f"{row}.jpg" for row in range(90)]
    for row, name in enumerate(names):
        write_jpeg(place / "images" / name, row % 20)
    data = DataFolder(place / "task")
    data.path.mkdir()
    data.classes.write_text("a\nb\n")
    for part, some in (("train", names[:70]), ("val", names[70:75]), ("test", names[75:])):
        data.list(part).write_text("".join(f"{n} {row % 2}\n" for row, n in enumerate(some)))
    hashes = {f"{part}.txt": sha256(data.list(part)) for part in ("train", "val", "test")}
    data.record.write_text(json.dumps({"images_root": str(place / "images"), "sha256": hashes}))
    build_lmdbs(data, place / "images", workers=1)
    return data


@pytest.fixture
def data(built: DataFolder, tmp_path: Path) -> DataFolder:
    shutil.copytree(built.path, tmp_path / "task")
    return DataFolder(tmp_path / "task")


def test_our_reader_reads_what_lmdb_reads(data: DataFolder) -> None:
    for part in ("train", "val", "test"):
        with lmdb.open(str(data.lmdb(part)), readonly=True, lock=False) as env, env.begin() as one:
            theirs = [(bytes(key), bytes(value)) for key, value in one.cursor()]
        with LmdbFile(data.lmdb(part) / "data.mdb") as file:
            ours = [(record.key, file.value(record)) for record in file.scan()]
            assert file.records == len(theirs)
        assert ours == theirs


def test_it_reads_trees_of_many_levels_small_values_and_freed_pages(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), map_size=1 << 28) as env:
        for turn in range(3):
            with env.begin(write=True) as one:
                for row in range(20_000):
                    one.put(b"%06d" % row, b"v" * (row % 50 + turn))
        with env.begin(write=True) as one:
            one.put(b"big", b"x" * 100_000)
            for row in range(0, 20_000, 3):
                one.delete(b"%06d" % row)
        with env.begin() as one:
            theirs = [(bytes(key), bytes(value)) for key, value in one.cursor()]
    with LmdbFile(tmp_path / "data.mdb") as file:
        assert [(record.key, file.value(record)) for record in file.scan()] == theirs


def test_what_is_whole_passes(data: DataFolder) -> None:
    require_whole(data)
    with checked_meanwhile(data, ("train", "test")) as check:
        check.raise_if_damaged()
    assert verify_lmdbs(data) == []
    assert lmdb_record(data) is not None


def test_an_lmdb_that_is_cut_short_is_named(data: DataFolder) -> None:
    path = data.lmdb("train") / "data.mdb"
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 3 * PAGE, PAGE + 5, 100, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"train_lmdb is damaged .*make lmdb") as error:
            require_whole(data)
        assert "\n" not in str(error.value)
        assert any("train_lmdb" in problem for problem in verify_lmdbs(data))
        assert lmdb_record(data) is None


def tree_pages(path: Path) -> list[int]:
    """The pages that LMDB itself finds its way by: branches and leaves."""
    data = path.read_bytes()
    found = []
    with LmdbFile(path) as file:
        records = list(file.scan())
    used = {record.offset // PAGE + step for record in records for step in range(49)}
    for number in range(2, len(data) // PAGE):
        flags = int.from_bytes(data[number * PAGE + 10 : number * PAGE + 12], "little")
        if number not in used and flags in (1, 2):
            found.append(number)
    return found


def test_zeroed_pages_of_the_tree_are_named_at_each_use(data: DataFolder) -> None:
    path = data.lmdb("train") / "data.mdb"
    whole = path.read_bytes()
    root_and_leaves = []
    for number in tree_pages(path):
        path.write_bytes(whole[: number * PAGE] + bytes(PAGE) + whole[(number + 1) * PAGE :])
        if quick_check(data, "train"):
            root_and_leaves.append(number)
            assert verify_lmdbs(data)
    assert root_and_leaves  # the others are pages that a later transaction freed
    path.write_bytes(bytes(2 * PAGE) + whole[2 * PAGE :])
    assert "zeroed" in quick_check(data, "train")


@pytest.mark.parametrize("seed", range(9))
def test_any_changed_pixel_is_found_by_verify_and_in_the_background(
    data: DataFolder, seed: int
) -> None:
    chance = random.Random(seed)
    path = data.lmdb("train") / "data.mdb"
    with LmdbFile(path) as file:
        row, record = chance.choice(list(enumerate(file.scan())))
    at = record.offset + chance.randrange(record.size)
    with path.open("r+b") as handle:
        handle.seek(at)
        old = handle.read(1)[0]
        handle.seek(at)
        handle.write(bytes([old ^ 1 << chance.randrange(8)]))
    named = f"record {row} ({record.key[9:].decode()})"
    assert named in full_check(data, "train")
    problems = verify_lmdbs(data)
    assert any(f"record {row}: its checksum" in problem for problem in problems)
    with (
        pytest.raises(UserError, match="is not what was written"),
        checked_meanwhile(data, ("val", "train")) as check,
    ):
        check.finish()


@pytest.mark.parametrize("seed", range(9))
def test_random_damage_never_ends_the_process(data: DataFolder, seed: int) -> None:
    """Random bytes anywhere: every reader of ours ends with words, not with a signal."""
    chance = random.Random(seed)
    path = data.lmdb("test") / "data.mdb"
    content = bytearray(path.read_bytes())
    for _ in range(40):
        page = chance.randrange(min(12, len(content) // PAGE))
        content[page * PAGE + chance.randrange(64)] = chance.randrange(256)
    path.write_bytes(content)
    assert isinstance(quick_check(data, "test"), str)
    assert isinstance(full_check(data, "test"), str)
    assert isinstance(verify_lmdbs(data), list)


def test_an_lmdb_replaced_under_its_name_is_noticed(data: DataFolder) -> None:
    shutil.copyfile(data.lmdb("val") / "data.mdb", data.lmdb("test") / "data.mdb")
    assert lmdb_record(data) is None
    with pytest.raises(UserError, match="test_lmdb is damaged or was replaced"):
        require_whole(data)


def test_other_pixels_of_the_same_size_are_noticed(data: DataFolder) -> None:
    path = data.lmdb("test") / "data.mdb"
    content = bytearray(path.read_bytes())
    with LmdbFile(path) as file:
        for record in file.scan():
            middle = record.offset + 1000
            content[middle : middle + 100] = bytes(100)
    path.write_bytes(content)
    assert "is not what was written" in quick_check(data, "test")


def test_lmdbs_of_before_get_their_checksums_at_the_next_verify(data: DataFolder) -> None:
    record = data.lmdb_record.read_bytes()
    kept = data.checksums.read_bytes()
    data.checksums.unlink()
    require_whole(data)
    assert lmdb_record(data) is not None
    assert read_checksums(data) == {}
    assert verify_lmdbs(data) == []
    assert data.checksums.read_bytes() == kept
    assert data.lmdb_record.read_bytes() == record


def test_checksums_of_other_lmdbs_are_not_used(data: DataFolder) -> None:
    held = json.loads(data.checksums.read_text())
    held["lmdb_json"] = "0" * 64
    data.checksums.write_text(json.dumps(held))
    assert read_checksums(data) == {}
    for text in ("", "[]", '{"lmdb_json": 3}', "\xff"):
        data.checksums.write_text(text, encoding="latin-1")
        assert read_checksums(data) == {}


def test_a_file_that_is_no_lmdb(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"x" * 10_000)
    with pytest.raises(DamagedLmdbError, match="not an LMDB"):
        LmdbFile(tmp_path / "data.mdb")
