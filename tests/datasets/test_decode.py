"""Decoding: which files are whole images, and what becomes of each kind."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.decode import (
    MAX_PIXELS,
    BrokenImageError,
    decode,
    pixels_of,
    planes,
    read_bytes,
    read_picture,
)
from datasets.parallel import decode_all
from tests.pictures import scene, write_jpeg, write_kinds


def test_every_kind_becomes_256_by_256_bgr(tmp_path: Path) -> None:
    for name in write_kinds(tmp_path):
        picture = read_picture(tmp_path / name)
        assert picture.shape == (256, 256, 3), name
        assert picture.dtype == np.uint8, name
        assert picture.std() > 1, name


def test_a_jpeg_is_turned_upright_and_a_png_is_not(tmp_path: Path) -> None:
    write_kinds(tmp_path)
    assert decode(read_bytes(tmp_path / "plain.jpg")).shape == (90, 130, 3)
    assert decode(read_bytes(tmp_path / "sideways.jpg")).shape == (130, 90, 3)
    assert decode(read_bytes(tmp_path / "sideways.png")).shape == (90, 130, 3)


def test_alpha_is_dropped_without_blending(tmp_path: Path) -> None:
    rgb = scene(20, 30)
    Image.fromarray(np.dstack([rgb, np.zeros((20, 30), np.uint8)])).save(tmp_path / "clear.png")
    assert np.array_equal(decode(read_bytes(tmp_path / "clear.png")), rgb[..., ::-1])


def test_planes_are_channel_by_channel() -> None:
    picture = scene(4, 5)
    assert planes(picture) == picture.transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "alpha.png",
        "deep.tif",
        "plain.bmp",
        "alpha.webp",
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_broken(tmp_path: Path, name: str, share: float) -> None:
    write_kinds(tmp_path)
    data = (tmp_path / name).read_bytes()
    with pytest.raises(BrokenImageError):
        decode(data[: int(len(data) * share)])


def test_a_jpeg_cut_short_behind_its_thumbnail_is_broken(tmp_path: Path) -> None:
    """The thumbnail in the EXIF header has an end marker of its own."""
    thumbnail = write_jpeg(tmp_path / "thumbnail.jpg", 1)
    data = write_jpeg(tmp_path / "a.jpg", 2)
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = with_thumbnail + data[2:]
    assert decode(whole).shape == (40, 60, 3)
    with pytest.raises(BrokenImageError, match="cut short"):
        decode(whole[: len(whole) * 9 // 10])


def test_a_jpeg_whose_rest_is_zeros_is_broken(tmp_path: Path) -> None:
    """What a download into a file of the right size leaves when it is interrupted."""
    data = write_jpeg(tmp_path / "a.jpg", 3)
    with pytest.raises(BrokenImageError, match="cut short"):
        decode(data[: len(data) // 2] + bytes(len(data) // 2))


@pytest.mark.parametrize(
    "data", [b"<html>404</html>", b"\xff\xd8\xff\xe0 no jpeg", bytes(1000), b"\xff\xd8\xff"]
)
def test_what_is_no_image_is_broken(data: bytes) -> None:
    with pytest.raises(BrokenImageError):
        decode(data)


def test_missing_empty_and_unreadable_files_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for name, words in {
        "no.jpg": "no such file",
        "\0": "no such",
        "empty.jpg": "empty",
        ".": "directory",
    }.items():
        with pytest.raises(BrokenImageError, match=words):
            read_bytes(tmp_path / name)


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_an_absurdly_large_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with pytest.raises(BrokenImageError, match="too large: 100000 x 100000"):
        decode(_png_header(100_000, 100_000))
    jpeg = bytearray(write_jpeg(tmp_path / "a.jpg", 4))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(BrokenImageError, match="too large: 65535 x 65535"):
        decode(bytes(jpeg))


def test_sizes_are_read_from_the_header(tmp_path: Path) -> None:
    for name in write_kinds(tmp_path):
        with Image.open(tmp_path / name) as image:
            assert pixels_of((tmp_path / name).read_bytes()) == image.width * image.height, name
    assert pixels_of(_png_header(MAX_PIXELS // 1000, 1000)) == MAX_PIXELS


def _held_by_decoders() -> int:
    """Bytes that this process's decoders hold now; what they share counts once (PSS)."""
    held = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            try:
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    held += int(rollup.partition("Pss:")[2].split()[0]) * 1024
            except (OSError, IndexError):
                continue  # it has just ended
    return held


def _most_held(paths: list[str], workers: int) -> int:
    """The most that the decoders held at once while they went through the files."""
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, _held_by_decoders())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert [image.broken for image in decode_all(paths, workers)] == [""] * len(paths)
    finally:
        done.set()
        watcher.join()
    return most


def _grey(folder: Path, height: int, width: int) -> str:
    path = folder / f"{height} x {width}.jpg"
    cv2.imwrite(str(path), np.full((height, width, 3), 127, np.uint8))
    return str(path)


@pytest.mark.slow
def test_of_very_large_images_one_is_decoded_at_a_time(tmp_path: Path) -> None:
    small, large = _grey(tmp_path, 30, 40), _grey(tmp_path, 4800, 5000)
    held = _most_held([large] * 12, 3) - _most_held([small] * 12, 3)
    # OpenCV holds a picture twice while it decodes it; three at once hold up to six.
    assert 1 < held / (3 * 4800 * 5000) < 3


@pytest.mark.slow
def test_freed_memory_that_is_kept_does_not_pile_up(tmp_path: Path) -> None:
    """Images of 24 sizes up to the 32 MB of a block that is kept."""
    paths = [_grey(tmp_path, 125 * row, 4000 - 20 * row) for row in range(1, 25)]
    largest = 3 * 125 * 24 * (4000 - 20 * 24)
    held = _most_held(paths, 1) - _most_held(paths[:1] * 4, 1)
    assert largest < held < 4 * largest
