"""Run Caffe's own tests, all of them, on a GPU with the Caffe that `make caffe-gpu` built.

GPU=none runs those that need no GPU. Exit code 1 when a test fails.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from lib.caffe.client import sees_gpu
from lib.caffe.gpu.build import describe, read_record
from lib.cli import Parser, bar, run
from lib.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
_ALL = re.compile(r"^\[=+\] Running (\d+) tests? from")
_END = re.compile(r"^\[ +(OK|FAILED) +\] (\S+?)(?:,|\s|$)")


@dataclass
class Outcome:
    """What the tests' output says."""

    total: int = 0
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    last: str = ""  # the test that was begun last

    def read(self, line: str) -> bool:
        """Take in a line of the output; returns whether a test has ended with it."""
        if match := _ALL.match(line):
            self.total = int(match[1])
        elif line.startswith("[ RUN      ] "):
            self.last = line.split("] ", 1)[1].strip()
        elif (match := _END.match(line)) and match[2] == self.last:
            self.last = ""
            if match[1] == "OK":
                self.passed += 1
            else:
                self.failed.append(match[2])
            return True
        return False


def main() -> None:
    arguments = _flags().parse_args()
    folder = arguments.caffe.resolve()
    program, data = folder / "bin" / "caffe-gtest", folder / "tests"
    if not program.exists() or not data.is_dir():
        raise UserError(f"{folder} has no tests of Caffe: `make caffe-gpu` builds them")
    on_cpu = arguments.gpu == "none"
    if not on_cpu and not arguments.gpu.isdigit():
        raise UserError(f"GPU={arguments.gpu}: a GPU's number, or none")
    record = read_record(folder) or {}
    if not on_cpu and not (record.get("cuda") and sees_gpu()):
        why = "it is built for the CPU only" if not record.get("cuda") else "no GPU is to be seen"
        raise UserError(
            f"Caffe's tests can't run on a GPU with {folder}: {why}; GPU=none runs the rest"
        )
    command = [str(program), f"--gtest_filter={arguments.filter}{'-*GPU*' if on_cpu else ''}"]
    command += [] if on_cpu else [arguments.gpu]  # the device's number, see test_caffe_main.cpp
    start = time.monotonic()
    log = arguments.log or folder / "gtest.log"
    outcome, code = follow(command, data, log)
    where = "on the CPU" if on_cpu else f"on GPU {arguments.gpu}"
    seconds = time.monotonic() - start
    print(
        f"{describe(record)}, {where}: {outcome.passed} of {outcome.total} tests passed in "
        f"{seconds:.0f} s ({log})"
    )
    for name in outcome.failed:
        print(f"failed: {name}")
    if outcome.last:
        raise UserError(f"the tests ended in the middle of {outcome.last} (code {code}); see {log}")
    if code or outcome.failed or outcome.passed != outcome.total or not outcome.total:
        sys.exit(1)


def follow(command: list[str], folder: Path, log: Path) -> tuple[Outcome, int]:
    """Run the tests in `folder`, with a bar; all that they say goes to `log`."""
    outcome = Outcome()
    with (
        log.open("w", encoding="utf-8", errors="replace") as written,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
        bar(what="tests", unit="tests", total=None) as shown,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            written.write(line)
            if outcome.read(line):
                shown.update(1)
            elif shown.total is None and outcome.total:
                shown.total = outcome.total
    return outcome, process.returncode


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--gpu", default="0", metavar="N|none", help="the GPU to use (%(default)s)")
    parser.add_argument("--filter", default="*", help="of googletest, as 'Net*' (%(default)s)")
    parser.add_argument(
        "--caffe", type=Path, default=PROJECT / ".caffe-gpu", help="the build (.caffe-gpu)"
    )
    parser.add_argument("--log", type=Path, help="all that the tests say (gtest.log in the build)")
    return parser


if __name__ == "__main__":
    run(main)
