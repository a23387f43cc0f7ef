"""Run the tests, a process a core; those in a real browser only where there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys

from lib.cli import Parser, run
from lib.machine import usable_cores
from lib.parent import end_with_parent

_LONG = "slow or caffenet"


def main() -> None:
    """Run pytest and exit as it does."""
    parser = Parser(description=__doc__)
    parser.add_argument("--tests", nargs="+", default=[], help="only these, as pytest takes them")
    parser.add_argument(
        "--slow", action="store_true", help=f"those that take long ({_LONG}), instead of the others"
    )
    arguments = parser.parse_args()
    marks = []
    if not arguments.tests:  # tests that are named are run, however long they take
        marks.append(f"({_LONG})" if arguments.slow else f"not ({_LONG})")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print(
            "the tests in a real browser are left out: apt-get install chromium chromium-driver",
            flush=True,
        )
        marks.append("not browser")
    words = [sys.executable, "-m", "pytest", "-n", str(usable_cores()), "--dist", "loadfile"]
    if marks:
        words += ["-m", " and ".join(marks)]
    sys.exit(subprocess.call([*words, *arguments.tests], preexec_fn=end_with_parent))


if __name__ == "__main__":
    run(main)
