"""How every tool meets its user: one-line errors, honest exit codes, progress bars."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from base.errors import UserError

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """Flags that make passes on: what is wrong with one is a line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing the usage and exiting."""
        raise UserError(message)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a tool's main and exit: 0 when it is done, 2 after a UserError, 130 after Ctrl-C."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def progress(items: Iterable[T], *, what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """`items`, with a progress bar and ETA on stderr while they are gone through."""
    return bar(what=what, unit=unit, total=total, items=items)


def bar(*, what: str, unit: str, total: int | None, items: Any = None, **more: Any) -> tqdm[Any]:
    """A tqdm bar in the project's look; where stderr is no terminal it is drawn every 10 s only."""
    from tqdm import tqdm  # here, so that tools without a bar also run before it is installed

    quiet = not sys.stderr.isatty()
    return tqdm(
        items,
        desc=what,
        unit=unit,
        total=total,
        dynamic_ncols=True,
        mininterval=10 if quiet else 0.2,
        file=sys.stderr,
        **more,
    )
