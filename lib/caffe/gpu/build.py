"""The build as a whole: from Debian's source package to a folder with a Caffe for GPUs."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.caffe.cuda_driver import find_driver
from lib.caffe.gpu import assemble, caffe_flags, cudnn, toolkit
from lib.caffe.gpu.archs import Archs, choose_archs
from lib.caffe.gpu.compiler import Compiler
from lib.caffe.gpu.host import Host, accepted_host, find_host
from lib.caffe.gpu.prefix import make_prefix
from lib.caffe.gpu.source import unpack_source
from lib.caffe.gpu.stages import digest
from lib.caffe.gpu.wheels import BUILD_TOOLS, HERE, install_wheels, read_requirements
from lib.caffe.install.blas import OPENBLAS, check_choice, packages_with
from lib.caffe.install.build import check_machine
from lib.caffe.install.debs import fetch
from lib.caffe.install.pins import Package, read_lock
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.files import readable, require_space, whole_file
from lib.machine import free_memory, usable_cores

BUILD_LOCK = HERE / "build.lock"
_LAYOUT = "1"  # of the result; a new number builds anew
# Bytes while building. Measured: 0.9 GB without CUDA; 2.6 GB with all of NVIDIA's wheels, while pip
# holds another 1 GB for a moment. The result shares its files with the work folder, by hard links;
# where there are none it needs 0.4 and 1.7 GB more.
NEEDED = 2_000_000_000
NEEDED_CUDA = 6_000_000_000


@dataclass(frozen=True)
class Options:
    """What is to be built, and where to."""

    into: Path
    cpu: bool = False  # without CUDA: the same sources, to be compared with Debian's own build
    cuda_arch: str | None = None  # CUDA_ARCH: "75 80 90"; None: the cards at hand
    cudnn: str | None = None  # CUDNN: None finds one, "0" builds without, else a folder
    jobs: int | None = None  # compilers at once; None: as many as cores and memory allow
    debs: Path | None = None
    mirror: str | None = None
    blas: str = OPENBLAS  # or debian
    force: bool = False

    @property
    def work(self) -> Path:
        """The folder of everything between; what is whole in it is not made again."""
        return self.into.with_name(f"{self.into.name}.work")

    @property
    def again(self) -> str:
        """What the user types to go on."""
        return "`make caffe-gpu`" if not self.cpu else "the same command"


@dataclass(frozen=True)
class Cuda:
    """All that a build for GPUs needs of NVIDIA."""

    toolkit: toolkit.Toolkit
    cudnn: cudnn.Cudnn | None
    archs: Archs
    host: Host  # a compiler that nvcc accepts


def build(options: Options) -> list[str]:
    """Build Caffe into `options.into`, unless it is there already, built by the same recipe.

    Returns lines for the user. `into` appears only when all is done and was checked. Raises
    UserError; whatever ends it, the next call goes on where this one was.
    """
    start = time.monotonic()
    check_machine()
    check_choice(options.blas)
    into = options.into.resolve()
    if into.exists() and any(into.iterdir()) and not (into / assemble.RECORD).exists():
        raise UserError(f"{into} is not a Caffe that was built here: it is left alone")
    host = find_host()
    build_key = _build_key(options, host)
    if (
        not options.force
        and _read_record(into).get("build_key") == build_key
        and assemble.is_intact(into)
    ):
        return [f"{into}: up to date"]
    try:
        options.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {options.work}: {error.strerror}") from error
    with exclusive_lock(options.work, "a build of Caffe") as lock:
        try:
            record = _build(options, host, build_key, lock)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {options.again} goes on where it was ({options.work})"
            ) from None
    words = f"{into}: Caffe {record['caffe']}, {describe(record)}, {readable(record['bytes'])}"
    return [
        f"{words}, built in {time.monotonic() - start:.0f} s",
        f"{options.work} holds what another build would need again; it may be deleted",
    ]


def fetch_into(folder: Path, *, debs: Path | None, mirror: str | None) -> str:
    """Put every package that this build and `make caffe` need, with either BLAS, into a folder."""
    files = fetch([*read_lock(), *read_lock(BUILD_LOCK)], folder=debs, mirror=mirror)
    folder.mkdir(parents=True, exist_ok=True)
    for package, path in files.items():
        with whole_file(folder / package.file) as aside:
            shutil.copyfile(path, aside)
    return f"{folder}: {len(files)} files"


def _packages(blas: str) -> list[Package]:
    return [*packages_with(blas, read_lock()), *read_lock(BUILD_LOCK)]


def describe(record: dict[str, Any]) -> str:
    """A build's record in words."""
    if not record.get("cuda"):
        return "CPU only"
    return f"CUDA {record['cuda']} for {record['archs']}, {record['cudnn'] or 'without cuDNN'}"


def read_record(into: Path) -> dict[str, Any] | None:
    """What is known of the build in a folder; None when there is none."""
    return _read_record(into) or None


def _read_record(into: Path) -> dict[str, Any]:
    try:
        record = json.loads((into / assemble.RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _build_key(options: Options, host: Host) -> str:
    """A name for what this call would build, found out without downloading anything."""
    parts = [
        _LAYOUT,
        "cpu" if options.cpu else "gpu",
        *(package.sha256 for package in _packages(options.blas)),
        caffe_flags.headers_digest(),
        host.version,
    ]
    if not options.cpu:
        nvcc = toolkit.find_nvcc()
        driver = find_driver()
        cards = sorted({card.capability for card in driver.cards}) if driver else []
        parts += [
            (HERE / "cuda.requirements").read_text(encoding="utf-8"),
            toolkit.describe(nvcc) if nvcc else "wheels",
            " ".join((options.cuda_arch or " ".join(map(str, cards))).split()),
            options.cudnn or "",
        ]
    return digest(*parts)


def _build(options: Options, host: Host, build_key: str, lock: int) -> dict[str, Any]:
    """Every step, each of which does nothing when it is done already."""
    work = options.work.resolve()
    needed = NEEDED if options.cpu else NEEDED_CUDA
    require_space(work, max(needed - _size(work), needed // 4), "the build of Caffe")
    cuda = None if options.cpu else _find_cuda(options, work, host)
    host = cuda.host if cuda else host
    files = fetch(_packages(options.blas), folder=options.debs, mirror=options.mirror)
    source = unpack_source({p: f for p, f in files.items() if p.is_source}, work / "source")
    prefix = make_prefix({p: f for p, f in files.items() if not p.is_source}, work / "prefix")
    tools = install_wheels(read_requirements(BUILD_TOOLS), work / "tools")
    flags = _flags(prefix, host, cuda, work)
    folder = _folder(work, digest(build_key, *flags), options)
    compiler = Compiler(tools, source, folder, options.again, lock)
    compiler.configure(flags)
    compiler.compile(caffe_flags.TARGETS, options.jobs or _jobs())
    libraries = [cuda.toolkit.parts[name].library for name in cuda.toolkit.parts] if cuda else []
    libraries += [cuda.cudnn.library] if cuda and cuda.cudnn else []
    record: dict[str, Any] = {
        "build_key": build_key,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": next(p.version for p in files if p.is_source),
        "compiler": host.version,
        "cuda": ".".join(map(str, cuda.toolkit.version)) if cuda else None,
        "archs": str(cuda.archs) if cuda else None,
        "cudnn": str(cuda.cudnn) if cuda and cuda.cudnn else None,
    }
    into = options.into.resolve()
    made = assemble.assemble(into, compiler, prefix, libraries, work, record, blas=options.blas)
    shutil.rmtree(compiler.folder, ignore_errors=True)
    return made


def _find_cuda(options: Options, work: Path, host: Host) -> Cuda:
    """Toolkit, cuDNN and architectures, all checked before anything is compiled."""
    driver = find_driver()
    found = toolkit.find_toolkit(work)
    print(f"found {found}", flush=True)
    if driver and driver.cuda[0] < found.version[0]:
        raise UserError(
            f"this machine's driver serves CUDA {driver.cuda[0]}.{driver.cuda[1]}, and {found} "
            "is newer: a newer driver, or CUDA_HOME=<a CUDA toolkit of that version>"
        )
    cards = [card.capability for card in driver.cards] if driver else []
    archs = choose_archs(options.cuda_arch, cards, found.supported(), str(found))
    accepted = accepted_host(found, archs, host, work)
    dnn = cudnn.find_cudnn(options.cudnn, found, work)
    print(f"compiling for {archs}, {dnn or 'without cuDNN'}", flush=True)
    return Cuda(found, dnn, archs, accepted)


def _flags(prefix: Path, host: Host, cuda: Cuda | None, work: Path) -> list[str]:
    compiler = [f"-DCMAKE_CXX_COMPILER={host.cxx}", f"-DCMAKE_C_COMPILER={host.cc}"]
    if cuda is None:
        return [*compiler, *caffe_flags.common_flags(prefix), *caffe_flags.cpu_flags()]
    libraries = [part.library.parent for part in cuda.toolkit.parts.values()]
    return [
        *compiler,
        *caffe_flags.common_flags(
            prefix, includes=cuda.toolkit.includes, libraries_of=dict.fromkeys(libraries)
        ),
        *caffe_flags.gpu_flags(prefix, cuda.toolkit, cuda.archs, host.cxx),
        *cudnn.flags(cuda.cudnn, work),
    ]


def _folder(work: Path, key: str, options: Options) -> Path:
    """Where this recipe compiles; what another recipe has compiled is cleared away."""
    kind = "cpu" if options.cpu else "gpu"
    recipe = re.compile(rf"build-{kind}-[0-9a-f]{{16}}")  # named by stages.digest
    for other in list(work.iterdir()):
        if recipe.fullmatch(other.name) and (other.name != f"build-{kind}-{key}" or options.force):
            shutil.rmtree(other, ignore_errors=True)
    return work / f"build-{kind}-{key}"


def _size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _jobs() -> int:
    """As many compilers as cores, and no more than fit in memory: up to 1.5 GB each."""
    return max(1, min(usable_cores(), int(free_memory() / 1.5e9)))
