"""LMDBs: record for record those of the real convert_imageset, whole or not there at all."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import lmdb
import pytest

from datasets.build import build_lmdbs, lmdb_record
from datasets.folders import PARTS, DataFolder
from datasets.imagelist import read_list
from datasets.lmdb_writer import LmdbWriter, datum_bytes, space_needed
from datasets.verify import verify_lmdbs
from lib.errors import UserError
from tests.pictures import write_jpeg, write_kinds

CLASSES = 3


def records(path: Path) -> list[tuple[bytes, bytes]]:
    """All keys and values of an LMDB, in its order."""
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


def write_lists(folder: DataFolder, images: Path, lists: dict[str, list[str]]) -> None:
    """Lists, classes and their record; the labels go round."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.classes.write_text("".join(f"class {label}\n" for label in range(CLASSES)))
    folder.record.write_text(json.dumps({"images_root": str(images), "sha256": {}}))
    for part, names in lists.items():
        lines = [f"{name} {row % CLASSES}\n" for row, name in enumerate(names)]
        folder.list(part).write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A task of 7 train, 2 val and 3 test images, all small JPEGs, with its lists."""
    names = [f"artist {row}/{row}.jpg" for row in range(12)]
    for row, name in enumerate(names):
        write_jpeg(tmp_path / "images" / name, row)
    made = DataFolder(tmp_path / "task")
    write_lists(
        made, tmp_path / "images", {"train": names[:7], "val": names[7:9], "test": names[9:]}
    )
    return made


@pytest.fixture
def images(folder: DataFolder) -> Path:
    return folder.path.parent / "images"


def tool(name: str, *arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a tool as a user does."""
    command = [sys.executable, "-m", f"tools.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **more)  # type: ignore[call-overload]


def leftovers(folder: DataFolder) -> list[Path]:
    return [path for path in folder.path.glob(".*") if path.name != ".lock"]


def test_records_and_mean_are_those_of_caffes_own_programs(
    tmp_path: Path, caffe_bin: Callable[[str], Path]
) -> None:
    images = tmp_path / "images"
    names = write_kinds(images)
    folder = DataFolder(tmp_path / "task")
    write_lists(folder, images, {"train": names, "val": names[:3], "test": names[3:5]})

    build_lmdbs(folder, images, workers=2)

    convert, mean = caffe_bin("convert_imageset"), caffe_bin("compute_image_mean")
    resize = ["--resize_height=256", "--resize_width=256"]
    subprocess.run(
        [convert, *resize, f"{images}/", folder.list("train"), tmp_path / "caffes"],
        check=True,
        capture_output=True,
    )
    subprocess.run([mean, tmp_path / "caffes", tmp_path / "mean"], check=True, capture_output=True)
    ours, caffes = records(folder.lmdb("train")), records(tmp_path / "caffes")
    assert [key for key, _ in ours] == [key for key, _ in caffes]
    differing = [key for (key, a), (_, b) in zip(ours, caffes, strict=True) if a != b]
    assert differing == []
    assert len(ours) == len(names)
    assert folder.mean.read_bytes() == (tmp_path / "mean").read_bytes()
    assert verify_lmdbs(folder, images, images=100) == []


def test_real_caffe_reads_ours(
    folder: DataFolder, images: Path, in_engine: Callable[..., str], tmp_path: Path
) -> None:
    build_lmdbs(folder, images, workers=1)
    net = tmp_path / "net.prototxt"
    net.write_text(
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" '
        f'data_param {{ source: "{folder.lmdb("train")}" backend: LMDB batch_size: 7 }} '
        f'transform_param {{ mean_file: "{folder.mean}" }} }}'
    )
    labels = in_engine(
        "import sys, caffe\n"
        "net = caffe.Net(sys.argv[1], caffe.TRAIN)\n"
        "net.forward()\n"
        "assert abs(net.blobs['data'].data.mean(axis=0)).max() < 1e-3\n"
        "print(*net.blobs['label'].data.astype(int))",
        net,
    )
    assert labels.split() == ["0", "1", "2", "0", "1", "2", "0"]


def test_bytes_do_not_depend_on_the_number_of_workers(folder: DataFolder, images: Path) -> None:
    made = []
    for workers in (1, 2, 5):
        build_lmdbs(folder, images, workers=workers)
        made.append([(folder.lmdb(part) / "data.mdb").read_bytes() for part in PARTS])
        made[-1].append(folder.mean.read_bytes())
    assert made[0] == made[1] == made[2]


def test_a_second_call_has_nothing_to_do(folder: DataFolder) -> None:
    first = tool("lmdb", "--data", folder.path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("built ")
    before = (folder.lmdb("train") / "data.mdb").stat().st_mtime_ns
    second = tool("lmdb", "--data", folder.path)
    assert second.returncode == 0
    assert second.stdout.startswith("up to date")
    assert (folder.lmdb("train") / "data.mdb").stat().st_mtime_ns == before
    tool("lmdb", "--data", folder.path, "--force")
    assert (folder.lmdb("train") / "data.mdb").stat().st_mtime_ns > before


@pytest.mark.parametrize("change", ["list", "classes", "mean", "lmdb"])
def test_what_no_longer_fits_is_built_again(folder: DataFolder, images: Path, change: str) -> None:
    build_lmdbs(folder, images, workers=1)
    assert lmdb_record(folder)
    if change == "list":
        folder.list("val").write_text("artist 8/8.jpg 1\nartist 7/7.jpg 0\n")
    elif change == "classes":
        folder.classes.write_text("class 2\nclass 1\nclass 0\n")
    elif change == "mean":
        folder.mean.unlink()
    else:
        (folder.lmdb("test") / "data.mdb").unlink()
    assert lmdb_record(folder) is None
    assert tool("lmdb", "--data", folder.path).stdout.startswith("built ")
    assert verify_lmdbs(folder, images, images=10) == []


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAK: dict[str, Callable[[Path], object]] = {
    "cut short": _cut,
    "empty": lambda path: path.write_bytes(b""),
    "not an image": lambda path: path.write_bytes(b"<html>Not found</html>"),
    "no such file": lambda path: path.unlink(),
    "not a file": _into_folder,
}


@pytest.mark.parametrize("why", BREAK)
def test_a_broken_image_stops_the_build_and_is_named(
    folder: DataFolder, images: Path, why: str
) -> None:
    build_lmdbs(folder, images, workers=1)
    before = records(folder.lmdb("train"))
    BREAK[why](images / "artist 10/10.jpg")

    with pytest.raises(UserError, match="1 image is broken or missing") as error:
        build_lmdbs(folder, images, workers=2)

    assert f"artist 10/10.jpg: {why}" in str(error.value)
    assert records(folder.lmdb("train")) == before
    assert lmdb_record(folder)
    assert leftovers(folder) == []


def test_many_broken_images_are_counted_and_twenty_named(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "task")
    names = [f"{row}.jpg" for row in range(25)]
    for row, name in enumerate(names):
        _cut_after(write_jpeg(tmp_path / "images" / name, row), tmp_path / "images" / name)
    write_lists(
        folder, tmp_path / "images", {"train": names[:20], "val": names[20:23], "test": names[23:]}
    )
    done = tool("lmdb", "--data", folder.path)
    assert done.returncode == 2
    assert "25 images are broken" in done.stderr
    assert done.stderr.count("cut short") == 20
    assert "and 5 more" in done.stderr
    assert "Traceback" not in done.stderr
    assert not folder.lmdb("train").exists()


def _cut_after(data: bytes, path: Path) -> None:
    path.write_bytes(data[:-30])


def test_broken_images_are_left_out_when_asked(
    folder: DataFolder, images: Path, caffe_bin: Callable[[str], Path], tmp_path: Path
) -> None:
    """What is left has the keys that convert_imageset gives it, which goes on after a failure."""
    (images / "artist 2/2.jpg").write_bytes(b"nothing")
    (images / "artist 5/5.jpg").unlink()

    done = tool("lmdb", "--data", folder.path, "--skip-broken")

    assert done.returncode == 0, done.stderr
    assert "2 broken images left out" in done.stdout
    record = json.loads(folder.lmdb_record.read_text())
    assert record["images"] == {"train": 5, "val": 2, "test": 3}
    assert set(record["left_out"]["train"]) == {"artist 2/2.jpg", "artist 5/5.jpg"}
    assert verify_lmdbs(folder, images, images=10) == []
    resize = ["--resize_height=256", "--resize_width=256"]
    subprocess.run(
        [
            caffe_bin("convert_imageset"),
            *resize,
            f"{images}/",
            folder.list("train"),
            tmp_path / "caffes",
        ],
        check=True,
        capture_output=True,
    )
    assert records(folder.lmdb("train")) == records(tmp_path / "caffes")


def test_nothing_left_of_a_part_is_an_error(folder: DataFolder, images: Path) -> None:
    for name in ("artist 7/7.jpg", "artist 8/8.jpg"):
        (images / name).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"every image of .*val\.txt"):
        build_lmdbs(folder, images, workers=1, skip_broken=True)


def test_a_decoders_warning_is_recorded_with_its_image(folder: DataFolder, images: Path) -> None:
    path = images / "artist 1/1.jpg"
    data = bytearray(write_jpeg(path, 1, 400, 400))
    middle = len(data) // 2
    data[middle : middle + 40] = b"\x55" * 40
    path.write_bytes(data)
    record = build_lmdbs(folder, images, workers=1)
    assert list(record.decoder_warnings) == ["artist 1/1.jpg"]
    assert "JPEG" in record.decoder_warnings["artist 1/1.jpg"]


def _wait_for(found: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    return [
        int(text)
        for thread in Path(f"/proc/{pid}/task").glob("*/children")
        for text in thread.read_text().split()
    ]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 0.15, 0.4])
def test_killed_at_any_moment_it_leaves_nothing_half(
    folder: DataFolder, images: Path, delay: float
) -> None:
    many = [f"artist {row % 12}/{row % 12}.jpg" for row in range(3000)]
    write_lists(folder, images, {"train": many})
    command = [sys.executable, "-m", "tools.lmdb", "--data", str(folder.path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _wait_for(lambda: list(folder.path.glob(".train_lmdb.*/data.mdb")))
    time.sleep(delay)
    workers = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert not folder.lmdb("train").exists()
    assert lmdb_record(folder) is None
    _wait_for(lambda: not any(_alive(pid) for pid in workers))

    write_lists(folder, images, {"train": many[:20]})
    done = tool("lmdb", "--data", folder.path)
    assert done.returncode == 0, done.stderr
    assert verify_lmdbs(folder, images, images=3) == []
    assert not list(folder.path.glob(".*_lmdb.*"))


@pytest.mark.slow
@pytest.mark.parametrize("stop_before", ["train_lmdb", "test_lmdb", "mean.binaryproto"])
def test_killed_while_the_old_set_is_replaced_no_mixture_is_taken_for_whole(
    folder: DataFolder, images: Path, stop_before: str
) -> None:
    build_lmdbs(folder, images, workers=1)
    for row in range(12):
        write_jpeg(images / f"artist {row}/{row}.jpg", 100 + row)
    killer = f"""
import os, sys
from pathlib import Path
def dying(real):
    def move(self, target):
        if Path(target).name == {stop_before!r}:
            os.kill(os.getpid(), 9)
        return real(self, target)
    return move
Path.rename, Path.replace = dying(Path.rename), dying(Path.replace)
from tools.lmdb import main
main()
"""
    command = [sys.executable, "-c", killer, "--data", str(folder.path), "--force"]
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert lmdb_record(folder) is None
    done = tool("lmdb", "--data", folder.path)
    assert done.stdout.startswith("built "), done.stderr
    assert verify_lmdbs(folder, images, images=10) == []
    assert not list(folder.path.glob(".*_lmdb.*"))
    assert not list(folder.path.glob("*.backup-*")), "a killed build knows its own"
    assert not list(folder.path.glob(".lmdb.json.*"))


def test_lmdbs_and_a_mean_of_others_are_backed_up(folder: DataFolder, images: Path) -> None:
    """They were put there by hand: made by convert_imageset, or a mean of another set."""
    with LmdbWriter(folder.lmdb("train"), 1) as writer:
        writer.put(b"of somebody else", b"")
    folder.mean.write_bytes(b"of somebody else")
    first = tool("lmdb", "--data", folder.path)
    assert first.stdout.count("not made by this program as it is; it is now") == 1
    train = folder.path / "train_lmdb.backup-1"
    assert records(train) == [(b"of somebody else", b"")]
    mean = folder.path / "mean.binaryproto.backup-1"
    assert mean.read_bytes() == b"of somebody else"
    assert verify_lmdbs(folder, images, images=10) == []
    # ... and one that takes the place of ours later
    for path in (folder.lmdb("test"), folder.mean):
        path.rename(path.with_name(f"{path.name}.ours"))
    shutil.copytree(train, folder.lmdb("test"), copy_function=shutil.copyfile)
    folder.mean.write_bytes(b"another")
    assert tool("lmdb", "--data", folder.path, "--force").returncode == 0
    assert records(folder.path / "test_lmdb.backup-1") == records(train)
    assert (folder.path / "mean.binaryproto.backup-2").read_bytes() == b"another"
    before = {path.name for path in folder.path.iterdir()}
    assert tool("lmdb", "--data", folder.path, "--force").returncode == 0
    assert {path.name for path in folder.path.iterdir()} == before, "our own are just replaced"
    assert verify_lmdbs(folder, images, images=10) == []


def test_a_killed_decoder_is_a_plain_error(folder: DataFolder, images: Path) -> None:
    many = [f"artist {row % 12}/{row % 12}.jpg" for row in range(3000)]
    write_lists(folder, images, {"train": many})
    command = [sys.executable, "-m", "tools.lmdb", "--data", str(folder.path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def decoders() -> Iterator[int]:
        for pid in _children(process.pid):
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                yield pid

    _wait_for(lambda: list(folder.path.glob(".train_lmdb.*/data.mdb")))
    _wait_for(lambda: list(decoders()))
    os.kill(next(decoders()), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "a decoding process was killed" in errors
    assert "Traceback" not in errors
    assert not list(folder.path.glob(".*_lmdb.*"))


@pytest.mark.slow
def test_two_builders_at_once_do_not_meet(folder: DataFolder, images: Path) -> None:
    many = [f"artist {row % 12}/{row % 12}.jpg" for row in range(1000)]
    write_lists(folder, images, {"train": many})
    command = [sys.executable, "-m", "tools.lmdb", "--data", str(folder.path)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _wait_for(lambda: list(folder.path.glob(".train_lmdb.*/data.mdb")))
    second = tool("lmdb", "--data", folder.path)
    assert second.returncode == 2
    assert "a build of the LMDBs of" in second.stderr
    assert first.wait(timeout=120) == 0
    assert verify_lmdbs(folder, images, images=3) == []


def test_a_full_disk_in_the_middle_is_one_plain_line(folder: DataFolder, images: Path) -> None:
    """A limit on the size of files stands in for the disk: the write fails in the same place."""
    many = [f"artist {row % 12}/{row % 12}.jpg" for row in range(300)]
    write_lists(folder, images, {"train": many})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000_000, 30_000_000))

    done = tool("lmdb", "--data", folder.path, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: no space left on the disk")
    assert "Traceback" not in done.stderr
    assert not folder.lmdb("train").exists()
    assert leftovers(folder) == []


def test_space_is_checked_before_the_work(
    folder: DataFolder, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = space_needed(12) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(UserError, match="not enough disk space for the LMDBs of 12 images"):
        build_lmdbs(folder, images, workers=1)
    assert not folder.lmdb("train").exists()


def test_space_needed_is_close_to_what_is_used(folder: DataFolder, images: Path) -> None:
    build_lmdbs(folder, images, workers=1)
    used = (folder.lmdb("train") / "data.mdb").stat().st_size
    assert used <= space_needed(7) <= used * 1.5


def test_the_map_grows_when_it_is_full(tmp_path: Path) -> None:
    """350 records into a map made for one: each commit finds it full and doubles it."""
    (tmp_path / "db").mkdir()
    made = [
        (b"%08d_x" % row, datum_bytes(bytes([row % 256]) * 3 * 256 * 256, row))
        for row in range(350)
    ]
    with LmdbWriter(tmp_path / "db", 1) as writer:
        for key, value in made:
            writer.put(key, value)
    assert records(tmp_path / "db") == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a.jpg 0\n\nb.jpg 1\n", "line 2 is not"),
        ("a.jpg\n", "line 1 is not"),
        ("a.jpg one\n", "line 1 is not"),
        ("a.jpg -1\n", "line 1 is not"),
        ("a.jpg 3\n", "line 1 has label 3, but classes.txt names only 3"),
        ("x" * 503 + " 0\n", "line 1: the image path has 503 bytes"),
    ],
)
def test_bad_lists_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_list(tmp_path / "train.txt", CLASSES)


def test_a_path_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"caf\xe9 au lait.jpg 2\r\n")
    (entry,) = read_list(tmp_path / "train.txt", CLASSES)
    assert entry.key == b"00000000_caf\xe9 au lait.jpg"
    assert entry.label == 2


def test_what_is_missing_is_named(folder: DataFolder, images: Path) -> None:
    assert "no folder" in tool("lmdb", "--data", folder.path / "no").stderr
    assert "no image folder" in tool("lmdb", "--data", folder.path, "--images", "no").stderr
    folder.record.unlink()
    assert "no lists in" in tool("lmdb", "--data", folder.path).stderr
    folder.list("test").unlink()
    missing = tool("lmdb", "--data", folder.path, "--images", images)
    assert f"no list {folder.list('test')}" in missing.stderr
    assert "lmdb.json is missing" in tool("verify_lmdb", "--data", folder.path).stderr


def _change(path: Path, row: int, change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> None:
    old = records(path)
    key, value = old[row]
    with lmdb.open(str(path), map_size=1 << 26, lock=False) as env, env.begin(write=True) as txn:
        txn.delete(key)
        txn.put(*change(key, value))


TAMPER: dict[str, tuple[Callable[[DataFolder], object], str]] = {
    "key": (
        lambda f: _change(f.lmdb("val"), 1, lambda key, value: (key + b"x", value)),
        "key is",
    ),
    "label": (
        lambda f: _change(f.lmdb("val"), 1, lambda key, value: (key, datum_bytes(value[12:-4], 2))),
        r"label is 2, the list gives 1 \(artist 8/8.jpg\)",
    ),
    "size": (
        lambda f: _change(f.lmdb("val"), 0, lambda key, value: (key, datum_bytes(b"abc", 0))),
        "not 3 x 256 x 256",
    ),
    "no datum": (
        lambda f: _change(f.lmdb("test"), 0, lambda key, value: (key, b"\xff\xff")),
        "is no Datum",
    ),
    "pixels": (
        lambda f: _change(
            f.lmdb("test"), 0, lambda key, value: (key, datum_bytes(value[12:-4][::-1], 0))
        ),
        "differs from what",
    ),
    "train pixels": (
        lambda f: _change(
            f.lmdb("train"), 0, lambda key, value: (key, datum_bytes(value[12:-4][::-1], 0))
        ),
        "is not the mean of",
    ),
    "mean": (lambda f: f.mean.write_bytes(b"no mean"), "is not the mean of"),
    "no mean": (lambda f: f.mean.unlink(), "is missing"),
    "list": (lambda f: f.list("val").write_text("artist 7/7.jpg 0\n"), "has changed since"),
    "classes": (lambda f: f.classes.write_text("b\na\nc\n"), "may no longer mean"),
    "gone": (lambda f: (f.lmdb("test") / "data.mdb").unlink(), "cannot be opened"),
}


@pytest.mark.parametrize("what", TAMPER)
def test_verify_finds_what_was_changed(folder: DataFolder, images: Path, what: str) -> None:
    build_lmdbs(folder, images, workers=1)
    tamper, words = TAMPER[what]
    tamper(folder)
    assert re.search(words, "\n".join(verify_lmdbs(folder, images, images=5)))


def test_the_tool_says_whether_all_is_well(folder: DataFolder, images: Path) -> None:
    build_lmdbs(folder, images, workers=1)
    well = tool("verify_lmdb", "--data", folder.path, "--decode", 5)
    assert (well.returncode, well.stdout.count("as the lists say")) == (0, 1), well.stderr
    write_jpeg(images / "artist 1/1.jpg", 99)
    ill = tool("verify_lmdb", "--data", folder.path, "--decode", 7)
    assert ill.returncode == 2
    assert f"differs from what {images}/artist 1/1.jpg gives today" in ill.stderr
    assert "Traceback" not in ill.stderr
    images.rename(images.with_name("put away"))  # the LMDBs may well outlive the images
    alone = tool("verify_lmdb", "--data", folder.path, "--decode", 7)
    assert alone.returncode == 0, alone.stderr
    assert f"{images} is not there any more" in alone.stdout
    assert "as the lists say" in alone.stdout
