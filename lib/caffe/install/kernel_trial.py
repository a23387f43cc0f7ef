"""Runs in the engine's Python, with numpy only: times and checks the BLAS kernel in use.

Called with the number of seconds to measure for; prints one JSON object: the kernel's name, the
best speed seen on products of CaffeNet's sizes, and whether all results were right.
"""

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np

# rows, columns, depth of CaffeNet's products: conv1, conv2 (a group), conv3, fc7 at batch 32
SHAPES = [(96, 3025, 363), (128, 729, 1200), (384, 169, 2304), (32, 4096, 4096)]
ODD = [(1, 1, 1), (3, 5, 7), (17, 33, 65), (67, 129, 255), (130, 31, 511), (128, 729, 400)]


def close(got: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether float32 a·b is as exact as float32 allows, against float64."""
    a, b = a.astype("d"), b.astype("d")
    exact = a.dot(b)
    scale = np.abs(a).dot(np.abs(b))  # what rounding errors grow with
    return bool(np.all(np.abs(got - exact) <= 1e-5 * scale + 1e-30))


def right(random: np.random.RandomState) -> bool:
    """Check sgemm in its transposed forms, sgemv, sdot, and their double twins."""
    good = True
    for rows, columns, depth in ODD:
        for kind in "fd":
            a = random.randn(rows, depth).astype(kind)
            b = random.randn(depth, columns).astype(kind)
            at, bt = a.T.copy().T, b.T.copy().T
            for left in (a, at):
                for other in (b, bt):
                    good = good and close(left.dot(other), a, b)
                good = good and close(left.dot(b[:, 0].copy()), a, b[:, 0])
            good = good and close(a[0].dot(b[:, 0].copy()), a[0], b[:, 0])
    return good


def core() -> str:
    """What OpenBLAS calls its kernel."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(None, 5)[-1]
        if "libopenblas" in path:
            library = ctypes.CDLL(path)
            library.openblas_get_corename.restype = ctypes.c_char_p
            name: bytes = library.openblas_get_corename()
            return name.decode()
    raise SystemExit("no OpenBLAS is loaded")


def speed(seconds: float, random: np.random.RandomState) -> float:
    """The best GFLOPS over all shapes together, of as many rounds as fit into `seconds`."""
    numbers = random.rand(10007).astype("f")
    pairs = [(np.resize(numbers, (m, k)), np.resize(numbers, (k, n))) for m, n, k in SHAPES]
    work = sum(2 * m * n * k for m, n, k in SHAPES)
    shortest = [float("inf")] * len(pairs)
    end = time.time() + seconds
    while time.time() < end:
        for number, (a, b) in enumerate(pairs):
            start = time.time()
            a.dot(b)
            shortest[number] = min(shortest[number], time.time() - start)
    return work / sum(shortest) / 1e9


def main() -> None:
    random = np.random.RandomState(1)
    good = right(random)
    result = {"core": core(), "right": good, "gflops": speed(float(sys.argv[1]), random)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
