"""Caffe's sources: Debian 11's source package of the very Caffe that `make caffe` installs."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from lib.caffe.gpu.stages import digest, is_made, making
from lib.caffe.install.pins import Package
from lib.errors import UserError

_PATCHES = Path("debian") / "patches"


def unpack_source(files: dict[Package, Path], into: Path) -> Path:
    """Unpack the upstream archive, Debian's part, and apply Debian's patches; returns the folder.

    That is what `dpkg-source -x` does, on machines that have none as well.
    """
    made_by = digest(*sorted(package.sha256 for package in files))
    if is_made(into, made_by):
        return into
    upstream = _only(files, ".orig.tar.gz")
    debian = _only(files, ".debian.tar.xz")
    with making(into, made_by) as aside:
        _extract(upstream, aside)
        _extract(debian, aside)
        for name in (aside / _PATCHES / "series").read_text(encoding="utf-8").split():
            _patch(aside, (aside / _PATCHES / name).resolve())
    return into


def _only(files: dict[Package, Path], end: str) -> Path:
    (path,) = (path for package, path in files.items() if package.file.endswith(end))
    return path


def _extract(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as opened:
        # the lock vouches for what is inside; newer Pythons want that said
        opened.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        opened.extractall(into)


def _patch(folder: Path, patch: Path) -> None:
    # git would take the sources for a part of the project's own repository, and skip them
    environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(folder.parent.resolve()))
    try:
        done = subprocess.run(
            ["git", "apply", "-p1", "--whitespace=nowarn", str(patch)],
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment,
        )
    except OSError:
        raise UserError("there is no git to apply Debian's patches with: install git") from None
    if done.returncode:
        words = " ".join(done.stderr.split())
        raise UserError(f"Debian's patch {patch.name} does not apply: {words}")
