"""Means: byte for byte those of the real compute_image_mean; reading what others wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from datasets.lmdb_writer import LmdbWriter, datum_bytes
from datasets.mean import MeanSum, read_mean, write_mean
from lib.caffe.messages import BlobProto
from lib.errors import UserError


def _images(number: int, size: int) -> list[bytes]:
    random = np.random.default_rng(number)
    return [random.bytes(3 * size * size) for _ in range(number)]


@pytest.mark.parametrize(("number", "size"), [(1, 256), (7, 256), (1003, 8)])
def test_bytes_are_those_of_compute_image_mean(
    tmp_path: Path, caffe_bin: Callable[[str], Path], number: int, size: int
) -> None:
    images = _images(number, size)
    mean = MeanSum(size)
    (tmp_path / "db").mkdir()
    with LmdbWriter(tmp_path / "db", number) as writer:
        for row, data in enumerate(images):
            mean.add(data)
            writer.put(b"%08d_x" % row, datum_bytes(data, 0, size))
    write_mean(tmp_path / "ours", mean.mean())

    program = caffe_bin("compute_image_mean")
    subprocess.run([program, "db", "caffes"], cwd=tmp_path, check=True, capture_output=True)

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "caffes").read_bytes()


def test_sums_are_rounded_as_compute_image_mean_rounds_them(
    tmp_path: Path, caffe_bin: Callable[[str], Path]
) -> None:
    """Beyond 2^24 a float32 sum is no longer exact: 66,000 images of 255 get there."""
    number, size = 66_100, 2
    random = np.random.default_rng(5)
    mean = MeanSum(size)
    env = lmdb.open(str(tmp_path / "db"), map_size=1 << 26, sync=False)
    with env.begin(write=True) as transaction:
        for row in range(number):
            data = random.integers(250, 256, 3 * size * size, dtype=np.uint8).tobytes()
            mean.add(data)
            transaction.put(b"%08d_x" % row, datum_bytes(data, 0, size))
    env.close()
    write_mean(tmp_path / "ours", mean.mean())

    program = caffe_bin("compute_image_mean")
    subprocess.run([program, "db", "caffes"], cwd=tmp_path, check=True, capture_output=True)

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "caffes").read_bytes()


def test_mean_is_read_back(tmp_path: Path) -> None:
    mean = np.random.default_rng(1).uniform(0, 255, (3, 4, 5)).astype(np.float32)
    write_mean(tmp_path / "m.binaryproto", mean)
    assert np.array_equal(read_mean(tmp_path / "m.binaryproto"), mean)


def test_new_form_of_a_blob_is_read(tmp_path: Path) -> None:
    blob = BlobProto(data=range(3 * 2 * 2))
    blob.shape.dim.extend([1, 3, 2, 2])
    (tmp_path / "m.binaryproto").write_bytes(blob.SerializeToString())
    assert read_mean(tmp_path / "m.binaryproto").shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("shape", "read"), [((3,), (3, 1, 1)), ((3, 6, 6), (3, 6, 6)), ((1, 3, 6, 6), (3, 6, 6))]
)
def test_npy_means_are_read(tmp_path: Path, shape: tuple[int, ...], read: tuple[int, ...]) -> None:
    np.save(tmp_path / "m.npy", np.full(shape, 104.0))
    mean = read_mean(tmp_path / "m.npy")
    assert mean.shape == read
    assert mean.dtype == np.float32


def _write_cut(path: Path) -> None:
    write_mean(path, np.ones((3, 4, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("m.binaryproto", lambda path: None, "no mean file"),
        ("m.binaryproto", lambda path: path.write_bytes(b""), "holds"),
        ("m.binaryproto", lambda path: path.write_bytes(b"<html>not found</html>"), "not a"),
        ("m.binaryproto", _write_cut, "not a whole one"),
        ("m.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "not a whole .npy"),
        ("m.npy", lambda path: np.save(path, np.ones((4, 4))), "3 x height x width"),
        ("m.npy", lambda path: np.save(path, np.full((3, 2, 2), np.nan)), "NaN"),
    ],
)
def test_bad_mean_files_are_named(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as error:
        read_mean(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        MeanSum().mean()
