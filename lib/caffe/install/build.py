"""The installation as a whole: from the packages to a folder with a Caffe that was seen to work."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lib.caffe.client import Engine
from lib.caffe.install.blas import (
    DEBIAN,
    OPENBLAS,
    OPENBLAS_FOLDER,
    blas_of,
    check_choice,
    packages_with,
)
from lib.caffe.install.debs import fetch
from lib.caffe.install.errors import no_caffe
from lib.caffe.install.launchers import write_launchers
from lib.caffe.install.pins import read_lock, write_lock
from lib.caffe.install.runpaths import set_run_paths
from lib.caffe.install.unpack import unpack
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.files import readable, remove_leftovers, require_space, whole_folder

_NEEDED = 600_000_000  # bytes on disk while installing; 440 MB stay
_GLIBC = (2, 31)  # Debian 11's
_FILES = "files.tsv"  # what was installed: size <tab> path
_LOCK = "caffe.lock"  # the lock it was installed by


@dataclass(frozen=True)
class Installed:
    """What an installation did: `words` for the user, a line each."""

    fresh: bool
    words: list[str]


def install(
    into: Path,
    *,
    debs: Path | None = None,
    mirror: str | None = None,
    blas: str | None = None,
    force: bool = False,
) -> Installed:
    """Install Caffe into the folder `into`, unless it is there already, whole and by this lock.

    `debs` is a folder of packages (then nothing is downloaded), `mirror` the address of a Debian
    mirror instead of the machine's own. `blas` is openblas (today's) or debian; None keeps what an
    installation has, and is openblas for a new one. `into` appears only when all is done and was
    seen to work. Raises UserError with the ways out.
    """
    start = time.monotonic()
    check_machine()
    check_choice(blas)
    into = into.resolve()  # a link to a larger disk, say, stays a link
    if into.exists() and not (into / _LOCK).exists() and not _is_empty_folder(into):
        raise UserError(f"{into} is not a Caffe that was installed here: it is left alone")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {into.parent}: {error.strerror}") from error
    if not os.access(into.parent, os.W_OK):
        if not force and is_intact(into) and blas in (None, installed_blas(into)):
            return Installed(False, [f"{into}: up to date{_note(into, blas)}"])
        raise UserError(f"cannot install Caffe: {into.parent} is not writable for this user")
    with exclusive_lock(into.parent, "the installation of Caffe"):
        # What a killed whole_folder left, 400 MB, goes even if nothing is to be done.
        remove_leftovers([into])
        if not force and is_intact(into) and blas in (None, installed_blas(into)):
            return Installed(False, [f"{into}: up to date{_note(into, blas)}"])
        require_space(into.parent, _NEEDED, "Caffe")
        packages = packages_with(blas or OPENBLAS, read_lock())
        files = fetch(packages, folder=debs, mirror=mirror)
        with whole_folder(into) as aside:
            root = aside / "root"
            root.mkdir()
            unpack(files, root)
            set_run_paths(root)
            write_launchers(aside, blas_of(packages))
            about = _check(aside)
            write_lock(packages, aside / _LOCK)
            size = _write_list(aside)
    return Installed(
        True,
        [
            f"{into}: Caffe {about['caffe']}, OpenBLAS {about['blas_version']} (its kernel for "
            f"this processor: {about['blas_kernel']}), {readable(size)}, "
            f"installed in {time.monotonic() - start:.0f} s",
        ],
    )


def is_intact(folder: Path) -> bool:
    """Whether `folder` holds an installation by the present lock, with no file gone or cut off."""
    try:
        there = read_lock(folder / _LOCK)
        wanted = packages_with(blas_of(there), read_lock())
        if {p.sha256 for p in there} != {p.sha256 for p in wanted}:
            return False
        for line in (folder / _FILES).read_text(encoding="utf-8").splitlines():
            size, path = line.split("\t")
            if (folder / path).lstat().st_size != int(size):
                return False
    except (OSError, ValueError, UserError):
        return False
    return True


def installed_blas(folder: Path) -> str:
    """Which BLAS an intact installation has, as CAFFE_BLAS names it."""
    return blas_of(read_lock(folder / _LOCK))


def _note(into: Path, blas: str | None) -> str:
    """What is to be said of Debian's BLAS where nobody asked for it: the default was another."""
    if blas is None and installed_blas(into) == DEBIAN:
        return " (with Debian's OpenBLAS; CAFFE_BLAS=openblas installs today's, which is faster)"
    return ""


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def check_machine() -> None:
    """Refuse machines on which Debian's amd64 programs cannot run."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise UserError(
            "the packaged Caffe runs on Linux on x86-64 only, and this machine is "
            f"{platform.system()} on {platform.machine()}: build Caffe yourself and set "
            "CAFFE_PYTHON to its Python"
        )
    library, version = platform.libc_ver()
    numbers = tuple(int(number) for number in version.split(".") if number.isdigit())
    if library != "glibc" or numbers < _GLIBC:
        raise no_caffe(
            f"its programs need glibc {_GLIBC[0]}.{_GLIBC[1]} or newer, and this machine has "
            f"{library or 'another C library'} {version}".rstrip()
        )


def _check(folder: Path) -> dict[str, str]:
    """Import Caffe in the new installation; it must compute with the OpenBLAS installed here."""
    python = folder / "bin" / "python"
    # A first import compiles Caffe's modules, which saves a second at every start to come.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([python, "-c", "import caffe"], env=environment, capture_output=True)
    about = Engine(python, threads=1).call("about", {})
    blas = str(about["blas"])
    if not Path(blas).is_relative_to((folder / "root" / OPENBLAS_FOLDER).resolve()):
        raise UserError(f"the installed Caffe computes with {blas} instead of its own OpenBLAS")
    return about


def _write_list(folder: Path) -> int:
    """List all files that never change again; returns the bytes of all."""
    lines = []
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        size = path.lstat().st_size
        total += size
        if "__pycache__" not in path.parts:
            lines.append(f"{size}\t{path.relative_to(folder)}\n")
    (folder / _FILES).write_text("".join(lines), encoding="utf-8")
    return total
