"""What the NVIDIA driver says: asked of its own library, without a CUDA toolkit."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # cuda.h, CUdevice_attribute


@dataclass(frozen=True)
class Card:
    """One GPU: its name and compute capability, as nvcc writes it (90 for 9.0)."""

    name: str
    capability: int


@dataclass(frozen=True)
class Driver:
    """The newest CUDA that the driver can serve, and the cards it sees (CUDA_VISIBLE_DEVICES)."""

    cuda: tuple[int, int]
    cards: tuple[Card, ...]


def find_driver() -> Driver | None:
    """The driver, or None where there is none or it does not work."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        return _ask(library) if library.cuInit(0) == 0 else None
    except (OSError, AttributeError):
        return None


def _ask(library: ctypes.CDLL) -> Driver:
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(count))
    cards = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.cuDeviceGet(ctypes.byref(device), number)
        library.cuDeviceGetName(name, len(name), device)
        library.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
        library.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
        cards.append(Card(name.value.decode("utf-8", "replace"), 10 * major.value + minor.value))
    return Driver((version.value // 1000, version.value % 1000 // 10), tuple(cards))
