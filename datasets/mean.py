"""The mean image of a train LMDB, byte for byte as `compute_image_mean` writes it; reading means.

Caffe's tool (tools/compute_image_mean.cpp) adds up in 32-bit floats, in the order of the records,
and divides by their number. Beyond 2^24 (65,793 white images) such sums are rounded, so order and
precision are kept as they are there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lib.caffe.messages import BlobProto
from lib.errors import UserError
from lib.files import whole_file
from prototxt.caffenet import IMAGE_SIZE

Mean = NDArray[np.float32]  # channels x height x width, BGR, 0 to 255


class MeanSum:
    """Adds up images, one by one, and divides once."""

    def __init__(self, size: int = IMAGE_SIZE) -> None:
        self.shape = (3, size, size)
        self.count = 0
        self._sum = np.zeros(3 * size * size, np.float32)

    def add(self, data: bytes | memoryview) -> None:
        """Add one image: the data of its Datum."""
        np.add(self._sum, np.frombuffer(data, np.uint8), out=self._sum)
        self.count += 1

    def mean(self) -> Mean:
        """The mean, 3 x size x size. Raises ValueError if nothing was added."""
        if not self.count:
            raise ValueError("no images to take the mean of")
        return (self._sum / np.float32(self.count)).reshape(self.shape)


def mean_bytes(mean: Mean) -> bytes:
    """The BlobProto of a mean, in the old form with num, that compute_image_mean writes."""
    channels, height, width = mean.shape
    blob = BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data.extend(mean.ravel().tolist())
    return blob.SerializeToString(deterministic=True)


def write_mean(path: Path, mean: Mean) -> None:
    """Write a .binaryproto, whole or not at all."""
    with whole_file(path) as aside:
        aside.write_bytes(mean_bytes(mean))


def read_mean(path: Path) -> Mean:
    """A mean, channels x height x width, from a .binaryproto or .npy file.

    Both forms of a BlobProto are read (`num` and so on, or `shape`). A mean of three numbers, one
    a channel, comes as 3 x 1 x 1. Raises UserError if the file is missing, or holds anything else
    than one mean of 3 channels.
    """
    if not path.exists():
        raise UserError(f"no mean file {path}")
    if path.suffix == ".npy":
        try:
            mean = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"{path} is not a whole .npy file: {error}") from None
    else:
        mean = _from_blob(path)
    if mean.ndim == 1:
        mean = mean.reshape(-1, 1, 1)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3 or mean.shape[0] != 3 or not np.issubdtype(mean.dtype, np.number):
        shape = " x ".join(map(str, mean.shape))
        raise UserError(f"{path} holds {shape} numbers; a mean has 3 x height x width")
    if not np.isfinite(mean).all():
        raise UserError(f"{path} holds NaN or infinite numbers; it cannot be a mean")
    return mean.astype(np.float32)


def _from_blob(path: Path) -> NDArray[np.float32]:
    blob = BlobProto()
    try:
        blob.ParseFromString(path.read_bytes())
    except DecodeError:
        raise UserError(f"{path} is not a .binaryproto file, or not a whole one") from None
    shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    if len(blob.data) == 0 or len(blob.data) != int(np.prod(shape)):
        raise UserError(
            f"{path} says it holds {' x '.join(map(str, shape))} numbers, but has {len(blob.data)}"
        )
    return np.array(blob.data, np.float32).reshape(shape)
