"""The one exception whose message is meant for the person at the keyboard."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_FEW = 6  # names that an error lists all


class UserError(Exception):
    """Something the user can mend. Its message is one line: what is wrong, where, what to do."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """The error for a name that is not one of `valid`, offering the nearest ones, or a few all."""
    names = sorted(valid)
    near = [each for each in names if each.casefold() == name.casefold()]
    near = near or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else ""
    if not near or len(names) <= _FEW:
        hint = f"{hint} valid: {', '.join(names)}".lstrip()
    return UserError(f"unknown {kind} '{name}': {hint}")
