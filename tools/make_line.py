"""What the Makefile asks: is a make line right; and run a program with its variables as flags.

    python -m tools.make_line check               is what was typed right and complete?
    python -m tools.make_line run PROGRAM WORD... tools/PROGRAM.py, after these words of its own

What was typed after `make` comes in the environment under the prefix MAKE_LINE_, so that neither a
shell nor make reads a value; MAKE_LINE names the variables, MAKE_GOALS the targets. A variable is
the flag of the same name; a program is told of those that it has flags for. Needs no packages.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import tomllib
from pathlib import Path

from lib import cli
from lib.errors import UserError, unknown
from lib.parent import end_with_parent

_HERE = Path(__file__).resolve().parent
_SETTING = re.compile(r"^    ([a-z_]+): \w+ = _setting\(", re.MULTILINE)
_PREFIX = "MAKE_LINE_"


def main() -> None:
    """Do what the first word says."""
    what, *words = sys.argv[1:]
    if what == "check":
        _check(_given())
    elif what == "target":
        raise unknown("target", words[0], words[1:])
    elif what == "run":
        program, *own = words
        _run(program, own, _given())
    else:
        raise UserError(f"{what}: not check, target or run")


def settings() -> list[str]:
    """The variables that are settings of a training."""
    # Read as text, because what imports them needs packages, and `make help` may have none.
    text = (_HERE.parent / "prototxt" / "settings.py").read_text(encoding="utf-8")
    return [name.upper() for name in _SETTING.findall(text)]


def _given() -> dict[str, str]:
    """What was typed after `make`, by variable."""
    names = os.environ.get("MAKE_LINE", "").split()
    return {name: os.environ.get(_PREFIX + name, "") for name in names}


def _check(given: dict[str, str]) -> None:
    """UserError for a variable that there is not, that is empty, or that is missing."""
    table = tomllib.loads((_HERE / "variables.toml").read_text(encoding="utf-8"))
    names = [*table, *settings()]
    for name, value in given.items():
        if name not in names:
            raise unknown("variable", name, names)
        if not value.strip():
            raise UserError(f"{name}= is empty: give it a value, or leave it out")
    needs = tomllib.loads((_HERE / "needs.toml").read_text(encoding="utf-8"))
    for goal in os.environ.get("MAKE_GOALS", "").split():
        _check_needs(goal, needs.get(goal, []), given)


def _check_needs(goal: str, ways: list[str], given: dict[str, str]) -> None:
    """UserError unless one of the ways to call a target is there in full."""
    wanted = {way: re.findall(r"\b([A-Z_]+)=", way) for way in ways}
    if not ways or any(set(names) <= set(given) for names in wanted.values()):
        return
    # The way that was meant: the one that has most of what was given; of equals the first.
    meant = max(ways, key=lambda way: len(set(wanted[way]) & set(given)))
    lacks = " ".join(f"{name}=" for name in wanted[meant] if name not in given)
    lines = " or ".join(f"make {goal} {way}" for way in (meant, *(w for w in ways if w != meant)))
    raise UserError(f"make {goal} needs {lacks}, as: {lines}")


def _run(program: str, own: list[str], given: dict[str, str]) -> None:
    module = importlib.import_module(program if "." in program else f"tools.{program}")
    sys.argv = [f"make {program}", *own]
    cli.from_make(given)
    end_with_parent()
    module.main()


if __name__ == "__main__":
    cli.run(main)
