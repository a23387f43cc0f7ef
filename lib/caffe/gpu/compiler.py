"""CMake and Ninja at work: configure, compile with a bar, and say what went wrong and where."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from lib.cli import bar
from lib.errors import UserError

_STEP = re.compile(r"^\[(\d+)/(\d+)\] (.*)")
_REASONS = (  # the likeliest reason first
    re.compile(r"No space left on device|Disk quota exceeded"),
    re.compile(
        r"Killed signal|died due to signal 9|\bKilled\b|out of memory|Cannot allocate memory"
    ),
    re.compile(
        r"\b(?:fatal )?error\b\s*:|^CMake Error|undefined reference|unsupported GNU version"
    ),
    re.compile(r"\berror\b", re.IGNORECASE),
)
_ADVICE = (
    "the disk is full: free some",
    "the memory did not suffice: fewer compilers at once (JOBS=1)",
)


@dataclass(frozen=True)
class Compiler:
    """Builds one tree of sources in one folder."""

    tools: Path  # where CMake and Ninja are installed as wheels
    source: Path
    folder: Path
    again: str  # what the user types to go on
    lock: int | None = None  # file descriptor of a lock that the compilers shall hold too

    @property
    def log(self) -> Path:
        """All that CMake and the compilers said, of all calls."""
        return self.folder / "build.log"

    def configure(self, flags: Iterable[str]) -> None:
        """Let CMake write the build files, unless it has already."""
        if (self.folder / "build.ninja").exists() and (self.folder / ".configured").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "CMakeCache.txt").unlink(missing_ok=True)
        ninja = self.tools / "bin" / "ninja"
        command = [str(self.tools / "bin" / "cmake"), "-S", str(self.source)]
        command += ["-B", str(self.folder), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", *flags]
        for _ in self._follow(command, "CMake could not prepare the build"):
            pass
        (self.folder / ".configured").touch()

    def compile(self, targets: Iterable[str], jobs: int | None) -> None:
        """Compile what is not compiled yet."""
        command = [str(self.tools / "bin" / "ninja"), "-C", str(self.folder)]
        command += ["-j", str(jobs)] if jobs else []
        with bar(what="compile", unit="files", total=None) as shown:
            for line in self._follow([*command, *targets], "a compiler failed"):
                if match := _STEP.match(line):
                    shown.total = int(match[2])
                    shown.set_postfix_str(match[3].rsplit("/", 1)[-1][:40], refresh=False)
                    shown.update(int(match[1]) - shown.n)

    def install(self, into: Path) -> None:
        """Put what `make install` would install under /usr into the folder `into`/usr."""
        command = [str(self.tools / "bin" / "cmake"), "--install", str(self.folder)]
        for _ in self._follow(command, "CMake could not install", DESTDIR=str(into)):
            pass

    def _follow(self, command: list[str], fault: str, **environment: str) -> Iterator[str]:
        """Run a command, yielding and logging its lines; UserError with the reason if it fails."""
        where = self.tools / "bin"
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.tools),  # the wheels' programs are Python scripts
            "PATH": f"{where}:{os.environ.get('PATH', os.defpath)}",
            "LC_ALL": "C.UTF-8",
            **environment,
        }
        for name in ("CXXFLAGS", "CFLAGS", "LDFLAGS", "CPPFLAGS", "LD_LIBRARY_PATH"):
            environment.pop(name, None)  # the user's own would change what is built
        try:
            log = self.log.open("ab", buffering=0)  # nothing is left to be written at the end
        except OSError as error:
            raise UserError(f"cannot write {self.log}: {error.strerror}") from error
        with log:
            start = log.tell()
            self._note(log, f"$ {' '.join(command)}\n".encode())
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=() if self.lock is None else (self.lock,),
            ) as process:
                try:
                    assert process.stdout is not None
                    for line in process.stdout:
                        self._note(log, line)
                        yield line.decode("utf-8", "replace").rstrip("\n")
                except BaseException:
                    _end(process)
                    raise
            if process.returncode:
                raise UserError(self._why(fault, start))

    def _note(self, log: RawIOBase, line: bytes) -> None:
        try:
            log.write(line)
        except OSError as error:
            raise UserError(
                f"cannot write {self.log}: {error.strerror}; {self.again} goes on from there"
            ) from error

    def _why(self, fault: str, start: int) -> str:
        with self.log.open("rb") as handle:
            handle.seek(start)
            said = handle.read().decode("utf-8", "replace").splitlines()[1:]
        return (
            f"{fault}: {reason(said)}; the whole log: {self.log}; {self.again} goes on from there"
        )


def reason(lines: list[str]) -> str:
    """The line of a build's output that says why it failed, with advice where there is some."""
    for number, pattern in enumerate(_REASONS):
        for at, line in enumerate(lines):
            if pattern.search(line) and not _STEP.match(line):
                words = line.strip()
                if words.startswith("CMake Error"):  # its own words are on the next lines
                    words = " ".join([words, *_paragraph(lines[at + 1 :])])
                return f"{words} ({_ADVICE[number]})" if number < len(_ADVICE) else words
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")


def _paragraph(lines: list[str]) -> list[str]:
    """The first lines with words in them, up to an empty one; three at most."""
    taken: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith("Call Stack"):
            taken.append(line.strip())
        elif taken or line.strip():
            break
    return taken[:3]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the build and the compilers that it started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
