"""Would two engines compute the same bits? What decides the last digits of a sum, compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# In the name of OpenBLAS's library, for records from before the version was noted.
_VERSION = re.compile(r"-r(\d[\d.]*)\.so")


def engine_changes(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two engines as the verb `about` describes them, a phrase for each.

    Empty: on the same processor they compute the same bits. `was` may be of an old record.
    """
    pairs = [
        ("Caffe", was.get("caffe"), now.get("caffe")),
        ("BLAS", _blas(was), _blas(now)),
        ("BLAS kernel", was.get("blas_kernel"), now.get("blas_kernel")),
        ("threads", was.get("threads"), now.get("threads")),
    ]
    return [f"{what} {one}, now {other}" for what, one, other in pairs if one != other]


def _blas(about: dict[str, Any]) -> str | None:
    """The BLAS and its version, the same word whatever folder it lies in."""
    if not (blas := about.get("blas")):
        return None
    version = about.get("blas_version")
    if not version and (found := _VERSION.search(Path(blas).name)):
        version = found[1]
    return f"OpenBLAS {version}" if version else Path(blas).name
