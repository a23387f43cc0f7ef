"""What the machine itself must have: a C++ compiler, and one that nvcc accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from base.errors import UserError
from engines.gpu.archs import Archs
from engines.gpu.caffe_flags import COMPAT
from engines.gpu.compiler import reason
from engines.gpu.toolkit import Toolkit

_APT = "apt-get install g++"
_TRIAL = """\
#include <cstdio>
#include <vector>
#include <thrust/functional.h>
__global__ void add(const int n, const float* a, float* b) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] += a[i];
}
void start(const float* a, float* b) { add<<<1, 32>>>(32, a, b); }
"""


@dataclass(frozen=True)
class Host:
    """The compilers to use, and what the C++ one says of itself."""

    cxx: str
    cc: str
    version: str


def find_host() -> Host:
    """The compiler of CXX (and CC), else g++ (gcc). UserError when something is missing."""
    cxx, cc = os.environ.get("CXX", "g++"), os.environ.get("CC", "gcc")
    paths = {name: shutil.which(name) for name in (cxx, cc)}
    missing = [name for name, path in paths.items() if not path]
    if missing:
        raise UserError(f"the build needs {' and '.join(missing)}: {_APT}")
    done = subprocess.run([cxx, "--version"], capture_output=True, text=True)
    version = (done.stdout.splitlines() or ["unknown"])[0]
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.cpp"
        trial.write_text("#include <cstdio>\n#include <vector>\nint main() { return 0; }\n")
        done = _run([cxx, str(trial), "-o", str(trial.with_suffix(""))])
    if done.returncode:
        raise UserError(f"{cxx} does not work: {reason(done.stdout.splitlines())}; {_APT}")
    return Host(str(paths[cxx]), str(paths[cc]), version)


def check_nvcc(toolkit: Toolkit, archs: Archs, host: Host, work: Path) -> None:
    """Compile a small kernel for all architectures; UserError in the compiler's own words."""
    with tempfile.TemporaryDirectory(dir=work, prefix="trial.") as folder:
        trial = Path(folder) / "trial.cu"
        trial.write_text(_TRIAL)
        targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs.binary]
        includes = [word for path in toolkit.includes for word in ("-isystem", str(path))]
        done = _run(
            [
                *(str(toolkit.nvcc), "-c", str(trial), "-o", str(trial.with_suffix(".o"))),
                *("-ccbin", host.cxx, "-include", str(COMPAT), *includes, *targets),
            ]
        )
    if done.returncode:
        raise UserError(
            f"{toolkit} cannot compile with {host.version}: {reason(done.stdout.splitlines())}; "
            "CXX=<a g++ that it accepts> names another compiler, CUDA_HOME= another toolkit"
        )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
