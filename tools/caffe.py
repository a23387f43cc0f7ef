"""Install BVLC Caffe 1.0 (CPU) from Debian 11's packages: without root, nothing compiled.

The packages are those of lib/caffe/caffe.lock, with the SHA-256 that each must have. They come from
the cache of earlier calls, else from the folder that --debs names, else from a Debian mirror:
the one that --mirror names, or this machine's apt, or a list of mirrors on this machine.
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
    parser.add_argument(
        "--blas",
        default=os.environ.get("CAFFE_BLAS") or None,
        help="openblas: today's, from a wheel; debian: that of Debian 11, slower (CAFFE_BLAS; "
        "default: openblas for a new installation, no change for one that is there)",
    )
    parser.add_argument("--force", action="store_true", help="install again even if up to date")
    arguments = parser.parse_args()
    done = install(
        arguments.into,
        debs=arguments.debs,
        mirror=arguments.mirror,
        blas=arguments.blas,
        force=arguments.force,
    )
    for line in done.words:
        print(line)


if __name__ == "__main__":
    run(main)
