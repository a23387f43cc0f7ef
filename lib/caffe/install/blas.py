"""Which OpenBLAS Caffe multiplies with: today's, of a wheel, or Debian 11's own of 2020.

Debian's 0.3.13 knows no processor newer than 2019. Today's was measured on Zen 5, with CaffeNet at
batch 32, to be 3 % faster with one thread and 11 % with two than the best of Debian's kernels.
The wheel is the package scipy-openblas32: its functions have the names of OpenBLAS with a prefix,
which is taken away here.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterable
from os.path import relpath
from pathlib import Path

from lib.caffe.install.patchelf import patchelf
from lib.caffe.install.pins import Package
from lib.errors import UserError, unknown

DEBIAN, OPENBLAS = "debian", "openblas"  # the values of CAFFE_BLAS
OPENBLAS_FOLDER = "usr/lib/x86_64-linux-gnu/openblas-pthread"
_LIBRARY = "libopenblas.so.0"
_NAMES = ("libblas.so.3", "liblapack.so.3")  # what Caffe, numpy and others ask for
_DEVELOPMENT_NAMES = ("libopenblas.so", "libblas.so", "liblapack.so")  # what a linker asks for
_DEBIANS = "libopenblas0-pthread"  # the package
_IN_WHEEL = "scipy_openblas32/lib/libscipy_openblas.so"
_PREFIX = "scipy_"
# SciPy's LAPACK asks for the error handler xerbla_, which the wheel keeps to itself; NumPy has one.
_PYTHON = "usr/lib/python3/dist-packages"
_NEEDS_XERBLA = f"{_PYTHON}/scipy/linalg/_flapack.*.so"
_HAS_XERBLA = f"{_PYTHON}/numpy/core/_multiarray_umath.*.so"

# In environment.sh with Debian's OpenBLAS, which takes newer processors for very old ones.
DEBIAN_KERNEL = """
# The kernel of Debian's OpenBLAS: the user's word, else by the processor's flags.
if [ -z "$OPENBLAS_CORETYPE" ]; then
    _caffe_flags=" $(sed -n '/^flags/{s/^[^:]*: *//p;q;}' /proc/cpuinfo) "
    case $_caffe_flags in *" avx2 "*)
        case $_caffe_flags in *" fma "*)
            export OPENBLAS_CORETYPE=Haswell
            for _caffe_flag in avx512f avx512dq avx512bw avx512vl avx512cd; do
                case $_caffe_flags in
                    *" $_caffe_flag "*) ;;
                    *) _caffe_flag=; break ;;
                esac
            done
            [ -n "$_caffe_flag" ] && OPENBLAS_CORETYPE=SkylakeX
        esac
    esac
fi
"""


def check_choice(blas: str | None) -> None:
    """Raise UserError unless `blas` (CAFFE_BLAS) is None or one of the two."""
    if blas not in (None, DEBIAN, OPENBLAS):
        raise unknown("CAFFE_BLAS", blas, (DEBIAN, OPENBLAS))


def packages_with(blas: str, packages: Iterable[Package]) -> list[Package]:
    """The packages of the lock without the BLAS that was not chosen."""
    if blas == DEBIAN:
        return [package for package in packages if not package.is_wheel]
    return [package for package in packages if package.name != _DEBIANS]


def blas_of(packages: Iterable[Package]) -> str:
    """Which of the two is among the packages of an installation."""
    return OPENBLAS if any(package.is_wheel for package in packages) else DEBIAN


def processor_flags() -> set[str]:
    """The flags of this machine's processor (avx2, ...), as Linux names them."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def install_wheel(wheel: Path, root: Path) -> None:
    """Put the wheel's OpenBLAS into a tree, under the names of OpenBLAS, BLAS and LAPACK.

    The tree holds the Debian packages already. Raises UserError if the library in the wheel is not
    as expected.
    """
    folder = root / OPENBLAS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / _LIBRARY
    library.unlink(missing_ok=True)  # a link, in Debian's package
    with zipfile.ZipFile(wheel) as archive:
        library.write_bytes(archive.read(_IN_WHEEL))
    library.chmod(0o644)
    _take_prefix_away(library)
    links = [*_NAMES, *(name for name in _DEVELOPMENT_NAMES if (folder / name).is_symlink())]
    for name in links:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(_LIBRARY)
    _lend_xerbla(root)


def _take_prefix_away(library: Path) -> None:
    # The names lie in the library's string table, each between two zero bytes.
    pattern = rb"(?<=\0)" + _PREFIX.encode() + rb"(\w+)(?=\0)"
    names = sorted({name.decode() for name in re.findall(pattern, library.read_bytes())})
    if "cblas_sgemm" not in names:
        raise UserError(f"{library} has no {_PREFIX}cblas_sgemm: it is not the OpenBLAS expected")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as table:
        table.writelines(f"{_PREFIX}{name} {name}\n" for name in names)
        table.flush()
        patchelf("--rename-dynamic-symbols", table.name, "--set-soname", _LIBRARY, str(library))


def _lend_xerbla(root: Path) -> None:
    for needs in root.glob(_NEEDS_XERBLA):
        for has in root.glob(_HAS_XERBLA):
            patchelf("--add-needed", f"$ORIGIN/{relpath(has, needs.parent)}", str(needs))
