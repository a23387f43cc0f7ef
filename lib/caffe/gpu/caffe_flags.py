"""How Caffe's own cmake is told what to build: flags only, its files stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lib.caffe.gpu.archs import Archs
from lib.caffe.gpu.prefix import LIBRARY, LIBRARY_FOLDERS
from lib.caffe.gpu.stages import digest
from lib.caffe.gpu.toolkit import Toolkit
from lib.caffe.install.blas import OPENBLAS_FOLDER

HERE = Path(__file__).resolve().parent
COMPAT = HERE / "compat" / "caffe_compat.h"
_OPENCV = HERE / "cmake"
_PYTHON = "python3.9"  # of lib/caffe/caffe.lock
OPENBLAS_HEADERS = f"usr/include/x86_64-linux-gnu/{Path(OPENBLAS_FOLDER).name}"

# What is made: the library, the programs, pycaffe (all that is installed), and the tests.
TARGETS = ("all", "test.testbin")


def common_flags(
    prefix: Path, *, includes: Iterable[Path] = (), libraries_of: Iterable[Path] = ()
) -> list[str]:
    """The flags of every build. Debian's own are the model (debian/rules of its package).

    `includes` are more folders of headers, `libraries_of` more folders where libraries find others.
    """
    libraries = [prefix / folder for folder in LIBRARY_FOLDERS]
    looked_in = [*libraries, *libraries_of]
    link = " ".join(["-Wl,--as-needed", *(f"-Wl,-rpath-link,{folder}" for folder in looked_in)])
    headers = [prefix / OPENBLAS_HEADERS, *includes]
    compile_ = " ".join([f"-include {COMPAT}", *(f"-isystem {each}" for each in headers), "-w"])
    hdf5 = prefix / LIBRARY / "hdf5" / "serial"
    return [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_INSTALL_PREFIX=/usr",
        f"-DCMAKE_INSTALL_LIBDIR={LIBRARY.removeprefix('usr/')}",
        "-DCMAKE_SKIP_RPATH=TRUE",  # run paths are set at the end, relative
        f"-DCMAKE_CXX_FLAGS={compile_}",
        f"-DCMAKE_SHARED_LINKER_FLAGS={link}",
        f"-DCMAKE_MODULE_LINKER_FLAGS={link}",
        f"-DCMAKE_EXE_LINKER_FLAGS={link}",
        f"-DCMAKE_PREFIX_PATH={prefix / 'usr'}",
        f"-DCMAKE_LIBRARY_PATH={';'.join(map(str, [*libraries, hdf5]))}",
        f"-DCMAKE_INCLUDE_PATH={prefix / 'usr' / 'include' / 'hdf5' / 'serial'}",
        "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF",
        "-DALLOW_LMDB_NOLOCK=OFF",
        "-DBLAS=Generic",
        "-DBUILD_docs=OFF",
        "-DBUILD_matlab=OFF",
        "-DBUILD_python=ON",
        "-DBUILD_python_layer=ON",
        "-Dpython_version=3.9",
        f"-DPYTHON_EXECUTABLE={prefix / 'usr' / 'bin' / _PYTHON}",
        f"-DPYTHON_INCLUDE_DIR={prefix / 'usr' / 'include' / _PYTHON}",
        f"-DPYTHON_LIBRARY={prefix / LIBRARY / f'lib{_PYTHON}.so'}",
        f"-DBOOST_ROOT={prefix / 'usr'}",
        f"-DBOOST_LIBRARYDIR={prefix / LIBRARY}",
        "-DBoost_NO_BOOST_CMAKE=ON",
        "-DBoost_NO_SYSTEM_PATHS=ON",
        f"-DProtobuf_PROTOC_EXECUTABLE={prefix / 'usr' / 'bin' / 'protoc'}",
        f"-DProtobuf_INCLUDE_DIR={prefix / 'usr' / 'include'}",
        f"-DProtobuf_LIBRARY={prefix / LIBRARY / 'libprotobuf.so'}",
        "-DHDF5_NO_FIND_PACKAGE_CONFIG_FILE=ON",
        f"-DHDF5_ROOT={hdf5}",
        f"-DOpenCV_DIR={_OPENCV}",
        f"-DCAFFE_PREFIX={prefix}",
        "-DUSE_NCCL=OFF",
    ]


def cpu_flags() -> list[str]:
    """A build without CUDA."""
    return ["-DCPU_ONLY=ON", "-DUSE_CUDNN=OFF"]


def gpu_flags(prefix: Path, toolkit: Toolkit, archs: Archs, compiler: str | None) -> list[str]:
    """A build for GPUs: what the toolkit's nvcc is told besides."""
    nvcc = ["-O2", "-w", "-include", str(COMPAT), "-isystem", str(prefix / OPENBLAS_HEADERS)]
    if toolkit.version[0] >= 13:
        # CUDA 13 hides kernels within their file; one of Caffe's tests starts a kernel of im2col.cu
        nvcc += ["-static-global-template-stub=false", "-device-entity-has-hidden-visibility=false"]
    for include in toolkit.includes:
        nvcc += ["-isystem", str(include)]
    return [
        "-DCPU_ONLY=OFF",
        *toolkit.flags(),
        *archs.flags(),
        f"-DCUDA_NVCC_FLAGS={';'.join(nvcc)}",
        *([f"-DCUDA_HOST_COMPILER={compiler}"] if compiler else []),
    ]


def headers_digest() -> str:
    """A change of our own text makes a build anew."""
    return digest(COMPAT.read_bytes(), (_OPENCV / "OpenCVConfig.cmake").read_bytes())
