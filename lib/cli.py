"""How every tool meets its user: one-line errors, honest exit codes, progress bars."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from lib.errors import UserError

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")
Say = Callable[[str], None]


def say(line: str) -> None:
    """Tell the user something that went well."""
    print(line, flush=True)


def warn(line: str) -> None:
    """Tell the user something that is not wrong, and should be known."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


# What was typed after `make`, by variable; None where a tool was started by hand.
_typed: dict[str, str] | None = None


def from_make(variables: dict[str, str]) -> None:
    """Let the next parser take its flags from variables of make: SPLIT_SEED is --split-seed.

    Variables that it has no flag for are passed over: they are another target's.
    """
    global _typed
    _typed = variables


class Parser(argparse.ArgumentParser):
    """A tool's flags, never shortened; what is wrong with one is a line, without the usage."""

    def __init__(self, **more: Any) -> None:
        more.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        more.setdefault("prog", _command())
        super().__init__(allow_abbrev=False, exit_on_error=False, **more)
        self.register("type", int, whole_number)
        self.register("type", float, number)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but with UserError for what is wrong; without `args`, make's words too."""
        if args is None:
            args = [*sys.argv[1:], *self._flags_of(_typed or {})]
        try:
            return super().parse_args(args, namespace)
        except argparse.ArgumentError as error:
            name = error.argument_name or ""
            raise UserError(f"{self._name(name)}: {error.message}") from None

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing the usage and exiting."""
        raise UserError(message)

    def _flags_of(self, variables: dict[str, str]) -> Iterator[str]:
        for action in self._actions:
            for flag in action.option_strings:
                value = variables.get(_variable(flag))
                if value is None or not flag.startswith("--"):
                    continue
                if action.nargs == 0:
                    if value not in ("0", "1"):
                        raise UserError(f"{_variable(flag)}={value}: it must be 0 or 1")
                    yield from [flag] * int(value)
                elif action.nargs in ("+", "*"):
                    yield from (flag, *value.split())
                else:
                    yield f"{flag}={value}"

    def _name(self, argument: str) -> str:
        """What the user typed for an argument: THREADS= after make, --threads by hand."""
        flag = argument.split("/")[-1]
        if _typed is not None and (value := _typed.get(_variable(flag))) is not None:
            return f"{_variable(flag)}={value}"
        return argument


def whole_number(text: str) -> int:
    """A flag's type (that of `type=int`)."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number") from None


def number(text: str) -> float:
    """A flag's type (that of `type=float`)."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number") from None


def positive(text: str) -> int:
    """A flag's type: a whole number of 1 or more."""
    if (found := whole_number(text)) < 1:
        raise argparse.ArgumentTypeError(f"it is {text}, must be 1 or more")
    return found


def _variable(flag: str) -> str:
    """The variable of make that a flag is: --split-seed is SPLIT_SEED."""
    return flag.lstrip("-").replace("-", "_").upper()


def _command() -> str | None:
    """How the tool that runs is started; None leaves it to argparse."""
    if _typed is not None:
        return sys.argv[0]
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
        with contextlib.suppress(OSError):  # the terminal is gone
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
        file=_Lines(sys.stderr) if quiet else _Terminal(sys.stderr),
        **more,
    )


class _Terminal:
    """What a bar writes to: a terminal, which may be gone (ssh), and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Lines(_Terminal):
    """What a bar writes to, where nobody goes back to a line's start: each state is a line."""

    def write(self, text: str) -> None:
        if line := text.strip():
            super().write(line + "\n")
