"""The CUDA toolkit: the machine's own, completed by NVIDIA's wheels where it lacks something."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lib.caffe.gpu.stages import digest
from lib.caffe.gpu.wheels import HERE, install_wheels, read_requirements
from lib.errors import UserError

KNOWN = (11, 12, 13)
USUAL_HOME = Path("/usr/local/cuda")
_WHEELS = HERE / "cuda.requirements"
_LIBRARY_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib", "lib/x86_64-linux-gnu")
_STANDARD = Path("/usr/include")
_INCLUDE_FOLDERS = ("include", "targets/x86_64-linux/include")

# part -> its header, its library, its wheels for each CUDA
PARTS: dict[str, tuple[str, str, dict[int, tuple[str, ...]]]] = {
    "cudart": ("cuda_runtime_api.h", "libcudart.so", {13: ("nvidia-cuda-runtime",)}),
    "cublas": (
        "cublas_v2.h",
        "libcublas.so",
        {11: ("nvidia-cublas-cu11",), 12: ("nvidia-cublas-cu12",), 13: ("nvidia-cublas",)},
    ),
    "curand": (
        "curand.h",
        "libcurand.so",
        {11: ("nvidia-curand-cu11",), 12: ("nvidia-curand-cu12",), 13: ("nvidia-curand",)},
    ),
}
COMPILER_WHEELS = (
    "nvidia-cuda-nvcc",
    "nvidia-cuda-crt",
    "nvidia-nvvm",
    "nvidia-cuda-runtime",
    "nvidia-cuda-cccl",
)


@dataclass(frozen=True)
class Part:
    """A library of CUDA's: where its headers and it lie, and whether it came as a wheel."""

    include: Path
    library: Path
    from_wheel: bool


@dataclass(frozen=True)
class Toolkit:
    """A whole CUDA toolkit."""

    nvcc: Path
    home: Path
    version: tuple[int, int]
    parts: dict[str, Part]

    def __str__(self) -> str:
        return f"CUDA {self.version[0]}.{self.version[1]} ({self.nvcc})"

    @property
    def includes(self) -> list[Path]:
        """All folders of headers that a compiler does not search anyway, CUDA 13's cccl with them.

        Debian's own toolkit has its headers in /usr/include, which must not be named: the headers
        of C++ would no longer find those of C (they look for them in the folders behind their own).
        """
        named = (part.include for part in self.parts.values())
        found = [path for path in dict.fromkeys(named) if path != _STANDARD]
        return found + [path for include in found if (path := include / "cccl").is_dir()]

    def supported(self) -> list[int]:
        """The architectures that its nvcc can compile for."""
        return [
            int(arch) for arch in re.findall(r"sm_(\d+)$", _ask(self.nvcc, "--list-gpu-code"), re.M)
        ]

    def flags(self) -> list[str]:
        """What Caffe's cmake (FindCUDA) must be told."""
        cublas, curand = self.parts["cublas"], self.parts["curand"]
        return [
            f"-DCUDA_TOOLKIT_ROOT_DIR={self.home}",
            f"-DCUDA_TOOLKIT_ROOT_DIR_INTERNAL={self.home}",  # else it forgets the libraries named
            f"-DCUDA_NVCC_EXECUTABLE={self.nvcc}",
            f"-DCUDA_TOOLKIT_INCLUDE={self.parts['cudart'].include}",
            f"-DCUDA_CUDART_LIBRARY={self.parts['cudart'].library}",
            f"-DCUDA_cublas_LIBRARY={cublas.library}",
            f"-DCUDA_curand_LIBRARY={curand.library}",
            "-DCUDA_USE_STATIC_CUDA_RUNTIME=OFF",
            "-DCUDA_PROPAGATE_HOST_FLAGS=OFF",
        ]


def find_toolkit(work: Path) -> Toolkit:
    """The toolkit of CUDA_HOME, of the nvcc on PATH, of /usr/local/cuda, or NVIDIA's wheels.

    Wheels are installed under `work`. Raises UserError naming what was found.
    """
    nvcc = find_nvcc()
    if nvcc is None:
        print("no nvcc on this machine: NVIDIA's wheels of CUDA 13 are taken", flush=True)
        folder = take_wheels(COMPILER_WHEELS, work)
        nvcc = folder / "nvidia" / "cu13" / "bin" / "nvcc"
    version = parse_version(_ask(nvcc, "--version"), nvcc)
    home = _home(nvcc)
    parts = {}
    for name, (header, library, wheels) in PARTS.items():
        found = _in_folders([home, Path("/usr")], header, library)
        if found is None:
            if version[0] not in wheels:
                raise UserError(
                    f"the CUDA toolkit {home} has no {header} and {library}: install it whole"
                )
            found = _in_wheels(take_wheels(wheels[version[0]], work), header, library)
        parts[name] = found
    return Toolkit(nvcc, home, version, parts)


def find_nvcc() -> Path | None:
    """nvcc: CUDA_HOME's, else the one on PATH, else /usr/local/cuda's; None if there is none."""
    if named := os.environ.get("CUDA_HOME"):
        nvcc = Path(named) / "bin" / "nvcc"
        if not os.access(nvcc, os.X_OK):
            raise UserError(
                f"CUDA_HOME={named}: there is no bin/nvcc in it; unset it, or name a CUDA toolkit"
            )
        return nvcc
    if on_path := shutil.which("nvcc"):
        return Path(on_path)
    usual = USUAL_HOME / "bin" / "nvcc"
    return usual if os.access(usual, os.X_OK) else None


def describe(nvcc: Path) -> str:
    """Which nvcc this is, as it says itself."""
    return f"{nvcc} {_ask(nvcc, '--version')}"


def parse_version(text: str, nvcc: Path) -> tuple[int, int]:
    """The release in the words of `nvcc --version`; UserError unless it is one that is known."""
    match = re.search(r"\brelease (\d+)\.(\d+)", text)
    if not match:
        raise UserError(f"{nvcc} does not say which CUDA it is: {' '.join(text.split())[:200]!r}")
    version = int(match[1]), int(match[2])
    if version[0] not in KNOWN:
        raise UserError(
            f"{nvcc} is of CUDA {version[0]}.{version[1]}: Caffe is built here with CUDA "
            f"{', '.join(map(str, KNOWN[:-1]))} or {KNOWN[-1]}; CUDA_HOME=<the folder of one>"
        )
    return version


def take_wheels(names: tuple[str, ...], work: Path) -> Path:
    """Install the pinned wheels of these names together in a folder under `work`."""
    pinned = {line.split("==", 1)[0]: line for line in read_requirements(_WHEELS)}
    lines = [pinned[name] for name in names]
    return install_wheels(lines, work / f"wheels-{digest(*lines)[:8]}")


def _in_wheels(folder: Path, header: str, library: str) -> Part:
    """Wheels lie in nvidia/<part>/ (CUDA 11 and 12), or all in nvidia/cu13/."""
    found = _in_folders(sorted((folder / "nvidia").iterdir()), header, library)
    if found is None:
        raise UserError(f"NVIDIA's wheel in {folder} has no {header} and {library}")
    return Part(found.include, found.library, from_wheel=True)


def _in_folders(folders: list[Path], header: str, library: str) -> Part | None:
    for folder in folders:
        includes = [folder / each for each in _INCLUDE_FOLDERS]
        include = next((each for each in includes if (each / header).exists()), None)
        found = find_library(folder, library)
        if include and found:
            return Part(include, found, from_wheel=False)
    return None


def find_library(folder: Path, name: str) -> Path | None:
    """A library (name.so, or the versioned name that wheels have) in the usual places."""
    for place in (folder / each for each in _LIBRARY_FOLDERS):
        for path in (place / name, *sorted(place.glob(f"{name}.[0-9]*"))):
            if path.exists():
                return path
    return None


def _home(nvcc: Path) -> Path:
    """The toolkit's folder as nvcc itself sees it: it may be a script somewhere else."""
    match = re.search(r"^#\$ TOP=(.+)$", _ask(nvcc, "--dryrun", "-x", "cu", "-E", os.devnull), re.M)
    return Path(match[1].strip()).resolve() if match else nvcc.resolve().parent.parent


def _ask(nvcc: Path, *arguments: str) -> str:
    try:
        done = subprocess.run([str(nvcc), *arguments], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{nvcc} does not run: {error}") from None
    return done.stdout + done.stderr
