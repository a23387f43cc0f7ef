"""Install BVLC Caffe 1.0 (CPU) from Debian 11's packages: without root, nothing compiled.

The packages are those of lib/caffe/caffe.lock. They come from the cache folder of earlier runs,
else from the folder named by --debs, else apt downloads them from a Debian mirror.
"""

from __future__ import annotations

import os
from pathlib import Path

from lib.caffe.install.build import install
from lib.cli import Parser, run

PROJECT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--into", type=Path, default=PROJECT / ".caffe", help="the folder to make (.caffe)"
    )
    parser.add_argument(
        "--debs",
        type=Path,
        default=os.environ.get("CAFFE_DEBS") or None,
        help="a folder of packages to install from, without network (CAFFE_DEBS)",
    )
    parser.add_argument(
        "--mirror",
        default=os.environ.get("DEBIAN_MIRROR") or None,
        help="a Debian mirror instead of the machine's own (DEBIAN_MIRROR)",
    )
    parser.add_argument("--force", action="store_true", help="install again even if up to date")
    arguments = parser.parse_args()
    done = install(
        arguments.into, debs=arguments.debs, mirror=arguments.mirror, force=arguments.force
    )
    for line in done.words:
        print(line)


if __name__ == "__main__":
    run(main)
