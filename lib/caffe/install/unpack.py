"""Packages to a tree of files, without dpkg: machines of other makes have none."""

from __future__ import annotations

import tarfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from os.path import relpath
from pathlib import Path
from typing import IO

from lib.caffe.install.blas import install_wheel
from lib.caffe.install.errors import no_caffe
from lib.caffe.install.pins import Package
from lib.cli import bar

_THREADS = 2  # unpacking is half xz, which runs without Python's lock, and half writing


def unpack(packages: dict[Package, Path], root: Path) -> None:
    """Unpack Debian packages into `root`, then the wheel's OpenBLAS if it is among `packages`.

    Absolute links are made relative to `root`.
    """
    debs = [path for package, path in packages.items() if not package.is_wheel]
    files = sorted(debs, key=lambda deb: deb.stat().st_size, reverse=True)
    total = sum(deb.stat().st_size for deb in files)
    with (
        bar(what="unpack", unit="B", total=total, unit_scale=True) as shown,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        jobs = {pool.submit(_unpack_one, deb, root): deb for deb in files}
        try:
            for job in as_completed(jobs):
                job.result()
                shown.update(jobs[job].stat().st_size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _make_links_relative(root)
    for package, path in packages.items():
        if package.is_wheel:
            install_wheel(path, root)


def _unpack_one(deb: Path, root: Path) -> None:
    with deb.open("rb") as handle:
        _find_data(handle, deb)
        with tarfile.open(fileobj=handle, mode="r|*") as archive:
            # the lock vouches for what is inside; newer Pythons want that said
            archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
            archive.extractall(root)


def _find_data(handle: IO[bytes], deb: Path) -> None:
    """Go to the data of a package, which is an ar archive of three members (see deb(5))."""
    if handle.read(8) == b"!<arch>\n":
        while header := handle.read(60):
            if header.startswith(b"data.tar"):
                return
            size = int(header[48:58])
            handle.seek(size + size % 2, 1)
    raise no_caffe(f"{deb} is not a Debian package")


def _make_links_relative(root: Path) -> None:
    """A link to /etc/x means the x that was unpacked, not the host's."""
    for path in root.rglob("*"):
        if path.is_symlink() and path.readlink().is_absolute():
            target = root / path.readlink().relative_to("/")
            path.unlink()
            if target.exists():
                path.symlink_to(relpath(target, path.parent))
