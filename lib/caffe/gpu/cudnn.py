"""cuDNN: the machine's own or NVIDIA's wheel, shown to Caffe's cmake in the form it looks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lib.caffe.gpu.toolkit import Toolkit, find_library, take_wheels
from lib.errors import UserError
from lib.files import write_text

KNOWN = (8, 9)
WHEELS = {
    11: ("nvidia-cudnn-cu11",),
    12: ("nvidia-cudnn-cu12",),
    # cuDNN compiles some kernels when they are first needed, with NVRTC
    13: ("nvidia-cudnn-cu13", "nvidia-cuda-nvrtc"),
}
_INCLUDES = ("include", "include/x86_64-linux-gnu", "targets/x86_64-linux/include")


@dataclass(frozen=True)
class Cudnn:
    """A cuDNN that was found."""

    include: Path
    library: Path
    version: tuple[int, int, int]
    from_wheel: bool

    def __str__(self) -> str:
        return f"cuDNN {'.'.join(map(str, self.version))}"


def find_cudnn(asked: str | None, toolkit: Toolkit, work: Path) -> Cudnn | None:
    """cuDNN for a toolkit: the folder that `asked` (CUDNN=) names, the machine's own, or a wheel.

    None when `asked` is 0. Raises UserError when there is none that Caffe can be built with.
    """
    if asked == "0":
        return None
    if asked and asked != "1":
        found = _look_in(Path(asked))
        if found is None:
            raise UserError(
                f"CUDNN={asked}: there is no cudnn.h and libcudnn.so in it; CUDNN=0 builds without"
            )
        return found
    for folder in (toolkit.home, Path("/usr/local/cuda"), Path("/usr")):
        if found := _look_in(folder):
            return found
    wheels = take_wheels(WHEELS[toolkit.version[0]], work) / "nvidia" / "cudnn"
    found = _look_in(wheels)
    if found is None:
        raise UserError(f"NVIDIA's wheel in {wheels} has no cudnn.h and libcudnn.so")
    return Cudnn(found.include, found.library, found.version, from_wheel=True)


def flags(cudnn: Cudnn | None, work: Path) -> list[str]:
    """What Caffe's cmake must be told; it reads a version in cudnn.h and wants a libcudnn.so."""
    if cudnn is None:
        return ["-DUSE_CUDNN=OFF"]
    shown = work / "cudnn"
    major, minor, patch = cudnn.version
    _keep(
        shown / "include" / "cudnn.h",
        f"""\
// Caffe's cmake looks for these lines in cudnn.h; since cuDNN 8 they are in cudnn_version.h.
#if 0
#define CUDNN_MAJOR {major}
#define CUDNN_MINOR {minor}
#define CUDNN_PATCHLEVEL {patch}
#endif
#include "{cudnn.include / "cudnn.h"}"
""",
    )
    link, target = shown / "libcudnn.so", cudnn.library.resolve()
    if not link.exists() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return [
        "-DUSE_CUDNN=ON",
        f"-DCUDNN_INCLUDE={shown / 'include'}",
        f"-DCUDNN_LIBRARY={link}",
    ]


def _keep(path: Path, text: str) -> None:
    """Write a header, unless it is the same already: a new date would compile everything anew."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def parse_version(text: str, where: Path) -> tuple[int, int, int]:
    """The version in the text of cudnn_version.h; UserError unless it is one that is known."""
    found = [
        re.search(rf"^\s*#\s*define\s+CUDNN_{name}\s+(\d+)", text, re.MULTILINE)
        for name in ("MAJOR", "MINOR", "PATCHLEVEL")
    ]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) != 3:
        raise UserError(f"{where} does not say which cuDNN it is; CUDNN=0 builds without")
    if numbers[0] not in KNOWN:
        raise UserError(
            f"{where} is of cuDNN {'.'.join(map(str, numbers))}: Caffe is built here with cuDNN "
            f"{' or '.join(map(str, KNOWN))}; CUDNN=<the folder of one>, or CUDNN=0 builds without"
        )
    return numbers[0], numbers[1], numbers[2]


def _look_in(folder: Path) -> Cudnn | None:
    library = find_library(folder, "libcudnn.so")
    for include in (folder / each for each in _INCLUDES):
        if library and (include / "cudnn.h").exists():
            told = include / "cudnn_version.h"
            told = told if told.exists() else include / "cudnn.h"
            version = parse_version(told.read_text(encoding="utf-8", errors="replace"), told)
            return Cudnn(include, library, version, from_wheel=False)
    return None
