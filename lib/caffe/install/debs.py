"""Where the packages come from: the cache, a folder of the user's, a mirror. All are checked."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from lib.caffe.install.download import Failure, download, download_wheel
from lib.caffe.install.errors import no_caffe
from lib.caffe.install.mirrors import addresses
from lib.caffe.install.pins import Package
from lib.cli import progress
from lib.exclusive_lock import exclusive_lock
from lib.files import readable, require_space

PROJECT = Path(__file__).resolve().parents[3]


def caches() -> list[Path]:
    """The folders that keep downloaded packages: the user's, then the project's for want of it."""
    return [user_cache_path("fine-art-caffe") / "debs", PROJECT / ".cache" / "debs"]


def fetch(
    packages: list[Package], *, folder: Path | None = None, mirror: str | None = None
) -> dict[Package, Path]:
    """The file of every package: from a cache, else from `folder`, else from a mirror.

    Every file has the size and SHA-256 of the lock. With a `folder` nothing is downloaded but a
    wheel that it lacks. Raises UserError naming the file that is missing or wrong, or saying why
    the download failed.
    """
    if folder is not None and not folder.is_dir():
        raise no_caffe(f"CAFFE_DEBS={folder} is not a folder")
    places = caches()
    found: dict[Package, Path] = {}
    for package in progress(packages, what="cache", unit="packages"):
        for place in places:
            if package.is_in(place / package.file):
                found[package] = place / package.file
                break
    missing = [package for package in packages if package not in found]
    if folder is not None:
        found.update(_from_folder(missing, folder))
        missing = [package for package in missing if package not in found]
    if missing:
        found.update(_download(missing, _writable(places), mirror))
    return found


def _from_folder(packages: list[Package], folder: Path) -> dict[Package, Path]:
    """The files of a folder, under apt's names or a mirror's; wheels may be missing."""
    found = {}
    for package in packages:
        names = (package.file, PurePosixPath(package.path).name)
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None and package.is_wheel:
            continue
        if path is None:
            raise no_caffe(f"CAFFE_DEBS: {folder / package.file} is missing")
        if not package.is_in(path):
            raise no_caffe(
                f"CAFFE_DEBS: {path} is not the file that lib/caffe/caffe.lock names "
                f"({package.size} bytes, SHA-256 {package.sha256})"
            )
        found[package] = path
    return found


def _download(packages: list[Package], cache: Path, mirror: str | None) -> dict[Package, Path]:
    with exclusive_lock(cache, "the download of Caffe's packages"):
        _remove_leftovers(packages, cache)
        found = {p: cache / p.file for p in packages if p.is_in(cache / p.file)}
        packages = [package for package in packages if package not in found]
        if not packages:
            return found  # another process has fetched them meanwhile
        total = sum(package.size for package in packages)
        require_space(cache, total + 50_000_000, "the download of Caffe's packages")
        incoming = Path(tempfile.mkdtemp(prefix="incoming.", dir=cache))
        incoming.chmod(0o755)  # as root, apt downloads as a user of its own
        try:
            _fetch_wheels([p for p in packages if p.is_wheel], incoming)
            _fetch_debs([p for p in packages if not p.is_wheel], incoming, mirror)
        finally:
            found.update(_take(packages, incoming, cache))
            shutil.rmtree(incoming, ignore_errors=True)
    for package in packages:
        if package not in found:
            raise no_caffe(
                f"the {package.file} that came is not the one that lib/caffe/caffe.lock names "
                f"({package.size} bytes, SHA-256 {package.sha256})"
            )
    return found


def _fetch_debs(packages: list[Package], incoming: Path, mirror: str | None) -> None:
    if not packages:
        return
    places = addresses(mirror)
    total = readable(sum(package.size for package in packages))
    print(f"Debian packages to download: {len(packages)} ({total})", flush=True)
    try:
        download(packages, places, incoming)
    except Failure as failure:
        raise no_caffe(f"the packages can't be downloaded ({failure})") from None


def _fetch_wheels(packages: list[Package], incoming: Path) -> None:
    for package in packages:
        try:
            download_wheel(package, incoming)
        except Failure as failure:
            raise no_caffe(
                f"pip can't download {package.name} {package.version} ({failure}); put "
                f"{package.file} into a folder and name it with CAFFE_DEBS=, or take Debian's "
                "slower OpenBLAS with CAFFE_BLAS=debian"
            ) from None


def _take(packages: list[Package], incoming: Path, cache: Path) -> dict[Package, Path]:
    """Move the files that are whole and right into the cache."""
    found = {}
    for package in packages:
        if package.is_in(incoming / package.file):
            found[package] = (incoming / package.file).replace(cache / package.file)
    return found


def _remove_leftovers(packages: list[Package], cache: Path) -> None:
    """Take over what a killed download left, and remove the rest of it."""
    for incoming in cache.glob("incoming.*"):
        _take(packages, incoming, cache)
        shutil.rmtree(incoming, ignore_errors=True)


def _writable(places: list[Path]) -> Path:
    """The first of the folders that can be written to, made if need be."""
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError:
            continue
    raise no_caffe(f"no folder to download into: {' and '.join(map(str, places))} are read-only")
