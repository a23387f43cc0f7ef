"""The programs in `.caffe/bin`: small shell scripts that start the unpacked ones."""

from __future__ import annotations

from pathlib import Path

from lib.caffe.install.blas import DEBIAN, DEBIAN_KERNEL

PYTHON = "python3.9"
PROGRAMS = {
    "python": PYTHON,
    "caffe": "caffe",
    "convert_imageset": "convert_imageset",
    "compute_image_mean": "compute_image_mean",
    "extract_features": "extract_features",
    "caffe-gtest": "caffe-gtest",
}

_LAUNCHER = """\
#!/bin/sh
# Starts {program} of the Caffe in this folder, which may be moved and linked to.
_caffe_self=$(readlink -f -- "$0")
_caffe_home=${{_caffe_self%/bin/*}}
. "$_caffe_home/environment.sh"
{python}exec "$_caffe_home/root/usr/bin/{program}" "$@"
"""

_OF_PYTHON = """\
unset PYTHONHOME PYTHONPATH
"""

# Caffe starts Python itself, for layers of type Python. It has to be told where Python is.
_OF_CAFFE = f"""\
export PYTHONHOME="$_caffe_home/root/usr"
# Modules of layers: in the folders of CAFFE_LAYERS, then PYTHONPATH, then the current one. What
# comes before them keeps another Caffe or another Python, which PYTHONPATH may name, out.
_caffe_lib="$PYTHONHOME/lib/{PYTHON}:$PYTHONHOME/lib/{PYTHON}/lib-dynload"
_caffe_lib="$_caffe_lib:$PYTHONHOME/lib/python3/dist-packages"
export PYTHONPATH="$_caffe_lib:$CAFFE_LAYERS:$PYTHONPATH:."
"""

_ENVIRONMENT = """\
# Read by the programs in bin/, with $_caffe_home set to this folder. All names of its own begin
# with _caffe_: a plain one might be a variable that the user has exported.

# These may point a program at another Caffe or another Python.
unset LD_LIBRARY_PATH
export PYTHONNOUSERSITE=1
# OpenBLAS takes an empty name for one that it does not know.
[ -n "$OPENBLAS_CORETYPE" ] || unset OPENBLAS_CORETYPE
"""


def write_launchers(folder: Path, blas: str) -> None:
    """Write `folder`/bin/* and the environment they share. `blas` is that of install.blas."""
    environment = _ENVIRONMENT + (DEBIAN_KERNEL if blas == DEBIAN else "")
    (folder / "environment.sh").write_text(environment, encoding="utf-8")
    (folder / "bin").mkdir()
    for name, program in PROGRAMS.items():
        python = _OF_PYTHON if program == PYTHON else _OF_CAFFE
        launcher = folder / "bin" / name
        launcher.write_text(_LAUNCHER.format(program=program, python=python), encoding="utf-8")
        launcher.chmod(launcher.stat().st_mode | 0o111)
