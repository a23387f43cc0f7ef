"""From an image file to the 256x256 BGR picture that `convert_imageset` puts into an LMDB.

Decoder and resizer are OpenCV's, as in Caffe's ReadImageToCVMat (src/caffe/util/io.cpp):
`imread` in colour, then `resize`, bilinear and without antialiasing. So
- a JPEG is turned upright as its EXIF says, a TIFF as its own tag says; EXIF in any other format is
  ignored, as the OpenCV of Caffe's days ignored it (newer ones read it in PNG and WebP);
- colour profiles are ignored; CMYK is converted as libjpeg and OpenCV do;
- alpha is dropped, without blending; palettes are expanded; 16 bits become the upper 8;
- grey becomes three equal channels.
GIF and AVIF, which that OpenCV could not read, are read where the installed one can.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from prototxt.caffenet import IMAGE_SIZE

# Larger than any scan of a painting (WikiArt's largest are near 110 megapixels); decoded, this
# takes 600 MB.
MAX_PIXELS = 200_000_000

Image.MAX_IMAGE_PIXELS = None  # Pillow only reads headers here; the limit is ours

# Whose headers Pillow reads: of all that it knows some run programs, or take very long.
_FORMATS = ("PNG", "TIFF", "BMP", "DIB", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")

Picture = NDArray[np.uint8]  # height x width x 3, BGR


class BrokenImageError(Exception):
    """The file is no whole image; the message says why, without the path."""


def read_bytes(path: str | Path) -> bytes:
    """The bytes of an image file. Raises BrokenImageError if it is missing, unreadable or empty."""
    try:
        with open(path, "rb", opener=_opener) as handle:
            if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                raise BrokenImageError("not a file")
            data = handle.read()
    except (FileNotFoundError, ValueError):  # ValueError: a zero byte in the path
        raise BrokenImageError("no such file") from None
    except OSError as error:
        raise BrokenImageError(f"cannot be read: {error.strerror}") from None
    if not data:
        raise BrokenImageError("empty file")
    return data


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe without a writer would wait for ever


def pixels_of(data: bytes) -> int:
    """How many pixels the image's header promises; 0 if only OpenCV knows the format.

    Raises BrokenImageError if that is more than MAX_PIXELS, or if a JPEG is cut short.
    """
    if _is_jpeg(data):
        height, width = _jpeg_size(data)
    else:
        try:
            with (
                warnings.catch_warnings(action="ignore"),
                Image.open(io.BytesIO(data), formats=_FORMATS) as image,
            ):
                width, height = image.size
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            return 0
    if width * height > MAX_PIXELS:
        raise BrokenImageError(f"too large: {width} x {height} pixels")
    return width * height


def decode(data: bytes) -> Picture:
    """The picture in an image file's bytes, as Caffe's `imread` in colour gives it.

    Raises BrokenImageError if it is cut short, too large, or no image that OpenCV can read.
    """
    pixels_of(data)
    flags = cv2.IMREAD_COLOR
    if not _is_jpeg(data):
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        # Not imread: OpenCV 5.0's fails on TIFFs that lie on their side, and every version's
        # fills up a JPEG cut short with grey.
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BrokenImageError(f"OpenCV cannot decode it: {error.err}") from None
    if picture is None:
        raise BrokenImageError("not an image that OpenCV can read, or damaged")
    return cast(Picture, picture)


def squash(picture: Picture, size: int = IMAGE_SIZE) -> Picture:
    """`picture` as size x size, whatever its shape was (paper, section 4)."""
    return cast(Picture, cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR))


def planes(picture: Picture) -> bytes:
    """The bytes of a Datum's data: channel by channel, row by row."""
    return b"".join(plane.tobytes() for plane in cv2.split(picture))


def read_picture(path: str | Path, size: int = IMAGE_SIZE) -> Picture:
    """The size x size BGR picture of an image file. Raises BrokenImageError."""
    return squash(decode(read_bytes(path)), size)


def _is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


# Markers of a JPEG that begin a frame and hold its size: SOF0-15 without DHT, JPG and DAC.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG, whose end is checked too.

    Decoders fill what is missing with grey, so the end marker is looked for here: behind the
    first scan's start, because an EXIF thumbnail before it is a JPEG of its own. Inside a scan
    the marker's two bytes cannot occur.
    """
    size = (0, 0)
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:  # stray bytes between segments, which libjpeg skips too
            at += 1
            continue
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without content
            at += 2
            continue
        if marker in _FRAMES and at + 9 <= len(data):
            size = (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
        if marker == 0xDA:  # the first scan
            if data.rfind(b"\xff\xd9", at) < 0:
                break
            return size
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise BrokenImageError("cut short: the end of the JPEG is missing")
