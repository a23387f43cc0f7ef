"""Relative run paths, so that the unpacked programs find their libraries wherever they lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from os.path import relpath
from pathlib import Path

from lib.caffe.install.blas import OPENBLAS_FOLDER
from lib.caffe.install.patchelf import patchelf
from lib.cli import progress

# OpenBLAS first: its libblas.so.3 and liblapack.so.3 must win over any reference BLAS.
_LIBRARIES = (OPENBLAS_FOLDER, "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib")
_BATCH = 50  # files a call


def set_run_paths(
    root: Path, files: Iterable[Path] | None = None, *, more: Iterable[Path | str] = ()
) -> int:
    """Give every ELF file under `root`, or those of `files`, run paths relative to itself.

    `more` are further folders to look in: a Path becomes relative, a str stays as it is. Returns
    the number of files. The run paths are of the old kind (DT_RPATH), which no LD_LIBRARY_PATH of
    the user's overrides.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in root.rglob("*") if files is None else files:
        if not path.is_symlink() and path.is_file() and _is_elf(path):
            folders[path.parent].append(path)
    jobs = []
    libraries = [*(root / library for library in _LIBRARIES), *more]
    for folder, found in folders.items():
        run_path = ":".join(
            f"$ORIGIN/{relpath(library, folder)}" if isinstance(library, Path) else library
            for library in libraries
        )
        for start in range(0, len(found), _BATCH):
            batch = map(str, found[start : start + _BATCH])
            jobs.append(["--force-rpath", "--set-rpath", run_path, *batch])
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda job: patchelf(*job), jobs)
        for _ in progress(done, what="run paths", unit="batches", total=len(jobs)):
            pass
    return sum(map(len, folders.values()))


def _is_elf(path: Path) -> bool:
    """Whether it is an ELF program or shared library; object files have no run paths."""
    with path.open("rb") as handle:
        header = handle.read(18)
    return header[:4] == b"\x7fELF" and header[16:] in (b"\x02\0", b"\x03\0")
