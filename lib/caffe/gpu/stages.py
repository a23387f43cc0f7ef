"""Steps of a build that are done whole or not at all, and not again while nothing has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.files import whole_folder

_MADE_BY = ".made-by"


def digest(*parts: str | bytes) -> str:
    """A short name for what something is made from."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def is_made(folder: Path, made_by: str) -> bool:
    """Whether `folder` is there whole, and made from what `made_by` names."""
    try:
        return (folder / _MADE_BY).read_text(encoding="utf-8") == made_by
    except OSError:
        return False


@contextmanager
def making(folder: Path, made_by: str) -> Iterator[Path]:
    """Yield an empty folder to fill; at the end it takes the place of `folder`, marked as made."""
    is_ours = (folder / _MADE_BY).exists()
    with whole_folder(folder, is_ours=is_ours) as aside:
        yield aside
        (aside / _MADE_BY).write_text(made_by, encoding="utf-8")
