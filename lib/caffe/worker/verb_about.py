"""about: which Caffe this is, on what."""

import ctypes
import json
import os
import platform
import subprocess
import sys

import caffe
import numpy


def run(request, emit):
    """Say the engine's versions, its BLAS as loaded, and whether GPU `request["gpu"]` works.

    Returns caffe, caffe_path, python, numpy, blas (path), blas_version, blas_kernel, threads, gpu
    (bool or None when not asked), build (how `make caffe-gpu` built it; None for any other Caffe).
    """
    numpy.ones((8, 8)).dot(numpy.ones((8, 8)))
    blas = blas_library()
    about = {
        "caffe": getattr(caffe, "__version__", "unknown"),
        "caffe_path": os.path.dirname(caffe.__file__),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "blas": blas,
        "blas_version": None,
        "blas_kernel": None,
        "threads": None,
        "gpu": None,
        "build": build_record(os.path.dirname(caffe.__file__)),
    }
    if blas and "openblas" in blas:
        library = ctypes.CDLL(blas)
        library.openblas_get_corename.restype = ctypes.c_char_p
        library.openblas_get_config.restype = ctypes.c_char_p
        # "OpenBLAS 0.3.13 NO_AFFINITY ...", and older ones begin with the first option
        words = library.openblas_get_config().decode().split()
        about["blas_version"] = words[1] if words[:1] == ["OpenBLAS"] else None
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


def build_record(package):
    """The record of the build that a Caffe package belongs to, or None."""
    home = os.path.join(package, *[".."] * 6)  # root/usr/lib/python3/dist-packages/caffe
    try:
        with open(os.path.join(home, "build.json")) as handle:
            record = json.load(handle)
        return {name: record[name] for name in ("source", "compiler", "cuda", "archs", "cudnn")}
    except (IOError, ValueError, KeyError, TypeError):
        return None


# A layer runs on the device: a build for other GPUs can be set to it, but has no code for it.
PROBE = """
import os, sys, tempfile
import caffe
device = sys.argv[1]
if device != "cpu":
    caffe.set_device(int(device))
    caffe.set_mode_gpu()
net = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 3 } } }' \
    'layer { name: "out" type: "Power" bottom: "x" top: "y" power_param { scale: 2 shift: 1 } }'
handle, path = tempfile.mkstemp()
os.write(handle, net.encode())
os.close(handle)
try:
    net = caffe.Net(path, caffe.TEST)
finally:
    os.remove(path)
net.blobs["x"].data[...] = [1, 2, 3]
net.forward()
sys.exit(0 if net.blobs["y"].data.tolist() == [3, 5, 7] else 1)
"""


def gpu_works(device):
    """Whether Caffe computes on this GPU ("cpu": on the CPU).

    Asked in a child: a CPU-only build aborts on the question.
    """
    command = [sys.executable, "-c", PROBE, str(device)]
    with open(os.devnull, "w") as nowhere:
        return subprocess.call(command, stdout=nowhere, stderr=nowhere) == 0
