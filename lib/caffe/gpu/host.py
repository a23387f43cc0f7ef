"""What the machine itself must have: a C++ compiler, and one that nvcc accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib.caffe.gpu.archs import Archs
from lib.caffe.gpu.caffe_flags import COMPAT
from lib.caffe.gpu.compiler import reason
from lib.caffe.gpu.toolkit import Toolkit
from lib.errors import UserError

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
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.cpp"
        trial.write_text("#include <cstdio>\n#include <vector>\nint main() { return 0; }\n")
        done = _run([cxx, str(trial), "-o", str(trial.with_suffix(""))])
    if done.returncode:
        raise UserError(f"{cxx} does not work: {reason(done.stdout.splitlines())}; {_APT}")
    return Host(str(paths[cxx]), str(paths[cc]), _version(cxx))


def accepted_host(toolkit: Toolkit, archs: Archs, host: Host, work: Path) -> Host:
    """`host` if nvcc accepts it, else the newest g++-N of this machine that it accepts.

    A small kernel is compiled for all architectures to find out. Raises UserError in the compiler's
    own words when there is none, or when the user has named one (CXX).
    """
    why = _refusal(toolkit, archs, host, work)
    if why is None:
        return host
    for other in [] if "CXX" in os.environ else _numbered_hosts():
        if _refusal(toolkit, archs, other, work) is None:
            print(f"{toolkit} does not accept {host.version}: {other.cxx} is taken", flush=True)
            return other
    raise UserError(
        f"{toolkit} cannot compile with {host.version}: {why}; an older g++ beside it (apt-get "
        "install g++-11, say) is found by itself, CXX= names any other, CUDA_HOME= another toolkit"
    )


def _refusal(toolkit: Toolkit, archs: Archs, host: Host, work: Path) -> str | None:
    """What nvcc says against a compiler; None when it takes it."""
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
    return reason(done.stdout.splitlines()) if done.returncode else None


def _numbered_hosts() -> Iterator[Host]:
    """The compilers that Debian puts beside its usual one, newest first."""
    for number in range(20, 5, -1):
        cxx, cc = shutil.which(f"g++-{number}"), shutil.which(f"gcc-{number}")
        if cxx and cc:
            yield Host(cxx, cc, _version(cxx))


def _version(cxx: str) -> str:
    done = subprocess.run([cxx, "--version"], capture_output=True, text=True)
    return (done.stdout.splitlines() or ["unknown"])[0]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
