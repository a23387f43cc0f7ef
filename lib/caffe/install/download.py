"""Packages from a mirror: by apt's own downloader where there is one. Wheels: by pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lib.caffe.install.mirrors import join
from lib.caffe.install.pins import Package
from lib.cli import bar

APT_HELPER = Path("/usr/lib/apt/apt-helper")
# The machine's own apt settings (proxies, say) stay, but a dead mirror must not take minutes.
_APT_OPTIONS = [
    *("-o", "Acquire::Retries=1"),
    *("-o", "Acquire::http::Timeout=15"),
    *("-o", "Acquire::https::Timeout=15"),
]


class Failure(Exception):
    """A file did not come; the message says why, in the downloader's words."""


def download(packages: list[Package], addresses: list[str], into: Path) -> None:
    """Download `packages` into the folder `into`, from the first of `addresses` that has them.

    The smallest one is asked for first: so a mirror that is none costs one request. What one
    mirror lacks is asked of the next. Raises Failure if something is missing at the end; what came
    stays in `into`, right or wrong.
    """
    failures = []
    missing = sorted(packages, key=lambda package: package.size)
    total = sum(package.size for package in packages)
    with bar(what="packages", unit="B", total=total, unit_scale=True) as shown:

        def follow() -> None:
            arrived = (into / package.file for package in packages)
            shown.update(sum(file.stat().st_size for file in arrived if file.exists()) - shown.n)

        for address in addresses:
            for some in (missing[:1], missing[1:]):
                if not some:
                    continue
                try:
                    _fetch(some, address, into, follow)
                except Failure as failure:
                    failures.append(f"{_without_password(address)}: {failure}")
                    break
                finally:
                    follow()
            missing = [package for package in missing if not package.is_in(into / package.file)]
            if not missing:
                return
    raise Failure("; ".join(failures))


def download_wheel(package: Package, into: Path, *, folder: Path | None = None) -> None:
    """Let pip download a wheel into the folder `into`, from its own index and settings.

    If it lies in `folder`, nothing else is asked. Raises Failure in pip's words.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(into)]
    if folder and (folder / package.file).is_file():
        command += ["--no-index", "--find-links", str(folder)]
    with tempfile.TemporaryDirectory() as aside:
        listed = Path(aside) / "requirements.txt"
        listed.write_text(
            f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
        )
        done = subprocess.run(
            [*command, "--requirement", str(listed)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    if done.returncode:
        raise Failure(pip_reason(done.stderr))


def pip_reason(words: str) -> str:
    """The line of pip's output that says why it failed."""
    lines = words.strip().splitlines() or ["no reason given"]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    return (errors or lines)[0].removeprefix("ERROR: ")


def _fetch(packages: list[Package], address: str, into: Path, follow: Callable[[], None]) -> None:
    """All of `packages` from one mirror; Failure unless each of them came, with the right bytes."""
    if urlsplit(address).scheme == "file":
        _copy(packages, address, into)
    elif APT_HELPER.exists():
        _by_apt(packages, address, into, follow)
    else:
        _by_httpx(packages, address, into, follow)
    for package in packages:
        if not package.is_in(into / package.file):
            raise Failure(f"{package.path}: it is not the file that the lock names")


def _copy(packages: list[Package], address: str, into: Path) -> None:
    for package in packages:
        path = Path(unquote(urlsplit(address).path)) / package.path
        try:
            shutil.copyfile(path, into / package.file)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None


def _by_apt(packages: list[Package], address: str, into: Path, follow: Callable[[], None]) -> None:
    """One call of apt-helper, which checks the SHA-256 too; `follow` is called meanwhile."""
    command = [str(APT_HELPER), *_APT_OPTIONS, "download-file"]
    for package in packages:
        command += [join(address, package.path), str(into / package.file)]
        command.append(f"SHA256:{package.sha256}")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=dict(os.environ, LC_ALL="C.UTF-8", LANGUAGE=""),  # its words are read below
        )
        try:
            while process.poll() is None:
                follow()
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        said.seek(0)
        words = said.read()
    if process.returncode:
        failed = re.search(r"^E: Failed to fetch \S+ +(.*)", words, re.MULTILINE)
        last = words.strip().splitlines() or ["no reason given"]
        raise Failure(f"apt: {failed[1] if failed else last[-1]}")


def _by_httpx(
    packages: list[Package], address: str, into: Path, follow: Callable[[], None]
) -> None:
    import httpx  # here, as where apt is, nothing else of this file needs it

    with httpx.Client(timeout=15, follow_redirects=True) as client:
        for package in packages:
            try:
                with (
                    client.stream("GET", join(address, package.path)) as answer,
                    (into / package.file).open("wb") as file,
                ):
                    answer.raise_for_status()
                    for block in answer.iter_bytes(1 << 16):
                        file.write(block)
                        follow()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Failure(f"{package.path}: {error}") from None


def _without_password(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)
