"""Build BVLC Caffe 1.0 for this machine's GPUs, from Debian 11's source package, without root.

The sources are those of the Caffe that `make caffe` installs; they are compiled as they are,
against the same libraries, with CUDA 11, 12 or 13 and cuDNN 8 or 9. What the machine lacks comes as
NVIDIA's wheels. The machine itself must have g++. CUDA_HOME, CXX and CC in the environment
name a toolkit and compilers.
"""

from __future__ import annotations

import os
from pathlib import Path

from lib.caffe.gpu.build import Options, build, fetch_into
from lib.caffe.install.blas import OPENBLAS
from lib.cli import Parser, positive, run

PROJECT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--into", type=Path, help="the folder to make (.caffe-gpu)")
    parser.add_argument(
        "--cuda-arch",
        default=os.environ.get("CUDA_ARCH") or None,
        metavar="LIST",
        help="architectures, as '75 80 90' (CUDA_ARCH; default: those of the cards at hand)",
    )
    parser.add_argument(
        "--cudnn",
        default=os.environ.get("CUDNN") or None,
        metavar="0|FOLDER",
        help="0: without cuDNN; a folder: the cuDNN there (CUDNN; default: found, or a wheel)",
    )
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="compilers at once (default: one a core)"
    )
    parser.add_argument(
        "--debs",
        type=Path,
        default=os.environ.get("CAFFE_DEBS") or None,
        help="a folder with the packages of lib/caffe/caffe.lock and lib/caffe/gpu/build.lock",
    )
    parser.add_argument(
        "--mirror",
        default=os.environ.get("DEBIAN_MIRROR") or None,
        help="a Debian mirror instead of the machine's own (DEBIAN_MIRROR)",
    )
    parser.add_argument(
        "--blas",
        default=os.environ.get("CAFFE_BLAS") or OPENBLAS,
        help="openblas: today's, from a wheel; debian: that of Debian 11, slower (CAFFE_BLAS)",
    )
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="build without CUDA, into .caffe-cpu: to compare this build with Debian's own",
    )
    parser.add_argument(
        "--fetch-into",
        type=Path,
        metavar="FOLDER",
        help="build nothing: put all packages into a folder, for --debs on another machine",
    )
    parser.add_argument("--force", action="store_true", help="build again even if up to date")
    arguments = parser.parse_args()
    if arguments.fetch_into:
        print(fetch_into(arguments.fetch_into, debs=arguments.debs, mirror=arguments.mirror))
        return
    into = arguments.into or PROJECT / (".caffe-cpu" if arguments.cpu else ".caffe-gpu")
    options = Options(
        into=into,
        cpu=arguments.cpu,
        cuda_arch=arguments.cuda_arch,
        cudnn=arguments.cudnn,
        jobs=arguments.jobs,
        debs=arguments.debs,
        mirror=arguments.mirror,
        blas=arguments.blas,
        force=arguments.force,
    )
    for line in build(options):
        print(line)


if __name__ == "__main__":
    run(main)
