"""about: which Caffe this is, on what."""

import ctypes
import os
import platform
import subprocess
import sys

import caffe
import numpy


def run(request, emit):
    """Say the engine's versions, its BLAS as loaded, and whether GPU `request["gpu"]` works.

    Returns caffe, caffe_path, python, numpy, blas (path), blas_kernel, threads, gpu (bool or None
    when not asked).
    """
    numpy.ones((8, 8)).dot(numpy.ones((8, 8)))
    blas = blas_library()
    about = {
        "caffe": getattr(caffe, "__version__", "unknown"),
        "caffe_path": os.path.dirname(caffe.__file__),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "blas": blas,
        "blas_kernel": None,
        "threads": None,
        "gpu": None,
    }
    if blas and "openblas" in blas:
        library = ctypes.CDLL(blas)
        library.openblas_get_corename.restype = ctypes.c_char_p
        about["blas_kernel"] = library.openblas_get_corename().decode()
        about["threads"] = library.openblas_get_num_threads()
    if request.get("gpu") is not None:
        about["gpu"] = gpu_works(int(request["gpu"]))
    return about


def blas_library():
    """The BLAS that this process has mapped: its real path, or None."""
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.split(None, 5)[-1].strip()
            name = os.path.basename(path)
            if name.startswith(("libopenblas", "libmkl_rt", "libblas", "libatlas", "libsatlas")):
                found.append(path)
    # libblas.so.3 may be a thin face of libopenblas
    found.sort(key=lambda path: (not os.path.basename(path).startswith("libopenblas"), path))
    return found[0] if found else None


def gpu_works(device):
    """Whether Caffe can use this GPU. Asked in a child: a CPU-only build aborts on the question."""
    code = "import caffe; caffe.set_device(%d); caffe.set_mode_gpu()" % device
    with open(os.devnull, "w") as nowhere:
        return subprocess.call([sys.executable, "-c", code], stdout=nowhere, stderr=nowhere) == 0
