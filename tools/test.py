"""Run the tests; those in a real browser only where there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys

from lib.cli import Parser, run
from lib.parent import end_with_parent


def main() -> None:
    """Run pytest and exit as it does."""
    parser = Parser(description=__doc__)
    parser.add_argument("--tests", nargs="+", default=[], help="some of them, as pytest takes them")
    arguments = parser.parse_args()
    words = [sys.executable, "-m", "pytest"]
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print(
            "the tests in a real browser are left out: apt-get install chromium chromium-driver",
            flush=True,
        )
        words += ["-m", "not browser"]
    sys.exit(subprocess.call([*words, *arguments.tests], preexec_fn=end_with_parent))


if __name__ == "__main__":
    run(main)
