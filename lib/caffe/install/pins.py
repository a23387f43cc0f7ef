"""lib/caffe/caffe.lock: which packages, which versions, and the SHA-256 that each must have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.errors import UserError
from lib.files import sha256

LOCK = Path(__file__).resolve().parent.parent / "caffe.lock"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Package:
    """One file: a Debian package, a part of a source package, or a wheel; and what it must hold."""

    name: str
    version: str
    architecture: str  # amd64, all, source, wheel
    path: str  # on a mirror, from the folder with dists/ and pool/ on; of a wheel its file name
    size: int  # bytes of the file
    sha256: str

    @property
    def is_source(self) -> bool:
        """Whether it is one of the files of a source package."""
        return self.architecture == "source"

    @property
    def is_wheel(self) -> bool:
        """Whether it is a Python wheel, which no Debian mirror has."""
        return self.architecture == "wheel"

    @property
    def file(self) -> str:
        """The file's name as apt writes it: with the version's epoch, which a pool leaves out."""
        if self.is_source or self.is_wheel:
            return PurePosixPath(self.path).name
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    def is_in(self, path: Path) -> bool:
        """Whether `path` is a file with exactly this package's bytes."""
        return path.is_file() and path.stat().st_size == self.size and sha256(path) == self.sha256


def read_lock(path: Path = LOCK) -> list[Package]:
    """The packages of a lock file, in its order.

    Raises UserError naming file and line for a line that is not one.
    """
    packages = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 6 or not fields[4].isdigit() or not _SHA256.fullmatch(fields[5]):
            raise UserError(
                f"{path}, line {number}: not a package (name, version, architecture, path, bytes, "
                "SHA-256, with tabs between)"
            )
        name, version, architecture, where, size, digest = fields
        packages.append(Package(name, version, architecture, where, int(size), digest))
    if not packages:
        raise UserError(f"{path}: no packages in it")
    return packages


def write_lock(packages: list[Package], path: Path) -> None:
    """Write down which packages an installation was made from, as a lock file has them."""
    lines = [
        "\t".join([p.name, p.version, p.architecture, p.path, str(p.size), p.sha256])
        for p in packages
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
