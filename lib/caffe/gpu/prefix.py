"""What Caffe is compiled and linked against: Debian 11's libraries and headers, in a folder.

They are the libraries of `make caffe`, so the result computes with the same OpenBLAS, reads LMDBs
and images with the same code, and runs in the same Python. Nothing of the machine's own but the
compiler and the C and C++ libraries takes part, whatever distribution it is.
"""

from __future__ import annotations

from pathlib import Path

from lib.caffe.gpu.stages import digest, is_made, making
from lib.caffe.install.blas import OPENBLAS_FOLDER
from lib.caffe.install.pins import Package
from lib.caffe.install.runpaths import set_run_paths
from lib.caffe.install.unpack import unpack

LIBRARY = "usr/lib/x86_64-linux-gnu"
# In the order in which the linker shall look; OpenBLAS before any reference BLAS.
LIBRARY_FOLDERS = (OPENBLAS_FOLDER, LIBRARY, "lib/x86_64-linux-gnu", "usr/lib")
# A newer compiler's programs need that compiler's own runtime, which serves older programs too.
_COMPILERS_OWN = ("libstdc++.so.6*", "libgcc_s.so.1*")
_DEBIANS_CAFFE = ("usr/bin/caffe*", f"{LIBRARY}/libcaffe*", "usr/lib/python3/dist-packages/caffe*")


def make_prefix(files: dict[Package, Path], into: Path) -> Path:
    """Unpack all packages, without Debian's own Caffe, ready to be linked to and to run."""
    made_by = digest("3", *sorted(package.sha256 for package in files))
    if is_made(into, made_by):
        return into
    with making(into, made_by) as aside:
        unpack(files, aside)
        for pattern in _DEBIANS_CAFFE:
            for path in aside.glob(pattern):
                _remove(path)
        for folder in LIBRARY_FOLDERS:
            for pattern in _COMPILERS_OWN:
                for path in (aside / folder).glob(pattern):
                    path.unlink()
        set_run_paths(aside)
    return into


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            _remove(inner)
        path.rmdir()
    else:
        path.unlink()
