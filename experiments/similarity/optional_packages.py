"""The packages of the extra 'search': imported where they are needed, and missed in one line."""

from __future__ import annotations

import importlib
from typing import Any

from lib.errors import UserError


def load(name: str) -> Any:
    """A module of the extra 'search', which training and testing do without.

    Raises UserError, saying how to install it, when it can't be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"the package {name} is not there ({error}): `make features`, `make similar`, "
            "`make serve` and the other targets of the search install it by themselves; by hand: "
            ".venv/bin/python -m pip install --requirement requirements/search.lock"
        ) from None
