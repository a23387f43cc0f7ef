"""Where Debian's packages may come from. A mirror is no matter of trust: the lock's SHA-256 is."""

from __future__ import annotations

import os
import platform
import random
import re
import subprocess
from pathlib import Path

from lib.caffe.install.errors import no_caffe

_SUITE = "bullseye"
# Debian's names of suites that do not change with a release.
_SUITES = ("oldoldstable", "oldstable", "stable", "testing", "unstable", "sid")
# Ubuntu and Debian have it with the package python-apt-common: addresses by country.
MIRROR_LIST = Path("/usr/share/python-apt/templates/Debian.mirrors")
_TRIED = 5  # mirrors of that list
# See apt-get(8). Without --no-release-info it leaves out what was never downloaded.
_SOURCES = ["apt-get", "indextargets", "--no-release-info", "Identifier: Packages"]
_FORMAT = ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]


def addresses(given: str | None) -> list[str]:
    """The addresses to try, in this order, each of a folder with dists/ and pool/.

    That is `given` (DEBIAN_MIRROR) alone; else what this machine's apt has of Debian; else a few
    of the mirrors that a list on this machine names. Raises UserError if there is none.
    """
    if given:
        if not re.fullmatch(r"[a-z][a-z0-9+]*:/\S+", given):
            raise no_caffe(
                f"DEBIAN_MIRROR={given} is not an address (http://…, https://…, file:/…)"
            )
        return [given]
    found = [*apts_mirrors(), *listed_mirrors()]
    if not found:
        raise no_caffe(
            "this machine's apt (if it has one) names no Debian mirror, and no list of mirrors is "
            "here"
        )
    return found


def apts_mirrors() -> list[str]:
    """The Debian mirrors in the sources of this machine's apt; none where there is no apt."""
    try:
        done = subprocess.run(
            [*_SOURCES, *_FORMAT],
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError:
        return []
    suites = [_SUITE, *_own_suite(), *_SUITES]
    found = []
    for line in done.stdout.splitlines():
        words = line.split(" ")
        if len(words) == 3 and words[1] in suites and words[2] == "main":
            found.append((suites.index(words[1]), words[0]))
    in_order = [address for _, address in sorted(found, key=lambda pair: pair[0])]
    return list(dict.fromkeys(each for address in in_order for each in _spelled_out(address)))


def listed_mirrors() -> list[str]:
    """A few of the mirrors of MIRROR_LIST, those of the user's country first; none without it."""
    try:
        lines = MIRROR_LIST.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""  # de_DE.UTF-8, say
    here = words.partition(".")[0].partition("_")[2]
    near: list[str] = []
    far: list[str] = []
    country = ""
    for line in lines:
        if line.startswith("#LOC:"):
            country = line.removeprefix("#LOC:").strip()
        elif line.startswith(("http://", "https://")):
            (near if country == here else far).append(line.strip())
    # none is to bear all, and of two that are gone the next call need not try both again
    random.shuffle(near)
    random.shuffle(far)
    return [*near, *far][:_TRIED]


def _own_suite() -> list[str]:
    """The name of the Debian release that this machine is."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return []
    codename = release.get("VERSION_CODENAME")
    return [codename] if codename and release.get("ID") == "debian" else []


def _spelled_out(address: str) -> list[str]:
    """An address, or those of the file that a mirror+file: names, as in Debian's cloud images."""
    if not address.startswith("mirror+file:"):
        return [address]
    path = Path("/" + address.removeprefix("mirror+file:").strip("/"))
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def join(address: str, path: str) -> str:
    """The address of a file on a mirror."""
    return f"{address.rstrip('/')}/{path}"
