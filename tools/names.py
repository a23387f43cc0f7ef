"""The error for a misspelt word: `python -m tools.names KIND WORD VALID...`; needs no packages."""

from __future__ import annotations

import sys

from lib.cli import run
from lib.errors import unknown


def main() -> None:
    """Print which valid words are near, and fail."""
    kind, word, *valid = sys.argv[1:]
    if kind == "variable":  # make reads only stdout of what it asks
        print(unknown(kind, word, valid))
        return
    raise unknown(kind, word, valid)


if __name__ == "__main__":
    run(main)
