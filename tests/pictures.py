"""Real image files of every kind that a collection of paintings may hold, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDEWAYS = 6  # the EXIF orientation of a camera held upright


def scene(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth coloured picture, height x width x 3, that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(picture, np.uint8)


def write_kinds(folder: Path) -> list[str]:
    """Fill `folder` with one file of each kind; their paths in it, which convert_imageset reads."""
    rgb = Image.fromarray(scene(90, 130))
    deep = scene(90, 130, 1).astype(np.uint16) * 257 + 3
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray(scene(90, 130, 2)[..., 0]))
    exif = Image.Exif()
    exif[0x112] = SIDEWAYS
    kinds: dict[str, Callable[[Path], object]] = {
        "plain.jpg": lambda path: rgb.save(path),
        "with spaces  and Ærøskøbing Žižka 睡蓮.jpg": lambda path: rgb.save(path, quality=60),
        "sub folder/über/a 7.jpg": lambda path: rgb.save(path, quality=50),
        "progressive.jpg": lambda path: rgb.save(path, progressive=True),
        "full_colour.jpg": lambda path: rgb.save(path, subsampling=0),
        "grey.jpg": lambda path: rgb.convert("L").save(path),
        "cmyk.jpg": lambda path: rgb.convert("CMYK").save(path),
        "sideways.jpg": lambda path: rgb.save(path, exif=exif),
        "tiny.jpg": lambda path: rgb.resize((3, 2)).save(path),
        "thin.jpg": lambda path: rgb.resize((1, 700)).save(path),
        "exact.jpg": lambda path: rgb.resize((256, 256)).save(path),
        "half.jpg": lambda path: rgb.resize((512, 512)).save(path),
        "palette.png": lambda path: rgb.convert("P").save(path),
        "palette_clear.png": lambda path: rgb.convert("P").save(path, transparency=3),
        "alpha.png": lambda path: alpha.save(path),
        "grey_alpha.png": lambda path: alpha.convert("LA").save(path),
        "black_white.png": lambda path: rgb.convert("1").save(path),
        "deep.png": lambda path: cv2.imwrite(str(path), deep),
        "deep_grey.png": lambda path: cv2.imwrite(str(path), deep[..., 0]),
        "sideways.png": lambda path: rgb.save(path, exif=exif),
        "deep.tif": lambda path: cv2.imwrite(str(path), deep),
        "sideways.tif": lambda path: rgb.save(path, exif=exif),
        "palette.tif": lambda path: rgb.convert("P").save(path),
        "plain.bmp": lambda path: rgb.save(path),
        "alpha.webp": lambda path: alpha.save(path),
        "sideways.webp": lambda path: rgb.save(path, exif=exif),
        "a jpeg called.png": lambda path: rgb.save(path, format="JPEG"),
    }
    for name, write in kinds.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    trailing = folder / "trailing.jpg"
    trailing.write_bytes((folder / "plain.jpg").read_bytes() + b"an old camera's notes")
    return [*kinds, trailing.name]


def write_jpeg(path: Path, seed: int, height: int = 40, width: int = 60) -> bytes:
    """Write a small JPEG, unlike any other seed's; return its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(height, width, seed)).save(path)
    return path.read_bytes()
