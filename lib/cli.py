"""How every tool meets its user: one-line errors, honest exit codes, progress bars."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from lib.errors import UserError

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

# argparse's words for what a type (a function of ours, perhaps) did not take.
_NO_NUMBER = re.compile(
    r"argument (?:-\w/)?(?P<flag>--?[\w-]+): invalid (?P<type>\w+) value: (?P<value>.*)"
)


class Parser(argparse.ArgumentParser):
    """A tool's flags, never shortened; what is wrong with one is a line, without the usage."""

    def __init__(self, **more: Any) -> None:
        more.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        more.setdefault("prog", _command())
        super().__init__(allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing the usage and exiting."""
        if match := _NO_NUMBER.fullmatch(message):
            kind = "a number" if match["type"] == "float" else "a whole number"
            raise UserError(f"{match['flag']} {match['value']}: it must be {kind}")
        raise UserError(message.removeprefix("argument "))


def positive(text: str) -> int:
    """A flag's type: a whole number of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"it is {text}, must be 1 or more")
    return number


def _command() -> str | None:
    """How the tool that runs is started; None leaves it to argparse."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else None


def run(main: Callable[[], None]) -> NoReturn:
    """Run a tool's main and exit: 0 when it is done, 2 after a UserError, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no UTF-8
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
    """A tqdm bar in the project's look; where stderr is no terminal, a line every 10 s."""
    from tqdm import tqdm  # here, so that tools without a bar also run before it is installed

    quiet = not sys.stderr.isatty()
    return tqdm(
        items,
        desc=what,
        unit=unit,
        total=total,
        dynamic_ncols=True,
        mininterval=10 if quiet else 0.2,
        file=_Lines(sys.stderr) if quiet else sys.stderr,
        **more,
    )


class _Lines:
    """What a bar writes to, where nobody goes back to a line's start: each state is a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(line + "\n")

    def flush(self) -> None:
        self._stream.flush()
