"""Figures of speed, one bench after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from lib.cli import Parser, run
from lib.parent import end_with_parent

_ON_THE_CPU = ["overhead", "lists", "lmdb", "grid", "similar"]


def main() -> None:
    """Run the benches; the first that fails ends it."""
    parser = Parser(description=__doc__)
    parser.add_argument("--benches", nargs="+", help=f"some of: {' '.join(_ON_THE_CPU)} gpu")
    parser.add_argument("--gpu", default="auto", metavar="N|none|auto", help="a number: the GPU's")
    arguments = parser.parse_args()
    is_cpu = arguments.gpu in ("auto", "none")
    for name in arguments.benches or (_ON_THE_CPU if is_cpu else ["gpu"]):
        print(f"== bench.{name}", flush=True)
        more = ["--gpu", arguments.gpu] if name == "gpu" else []
        code = subprocess.call(
            [sys.executable, "-m", f"tools.bench.{name}", *more], preexec_fn=end_with_parent
        )
        if code:
            sys.exit(code)


if __name__ == "__main__":
    run(main)
