"""The machine's own apt as downloader: its mirror, keys, proxies; but a private state.

apt's sources come in two formats, see sources.list(5). Of them only the mirror's address and its
keyring are taken; everything else of the machine's apt configuration keeps working, because it is
the machine's apt that downloads.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.caffe.install.errors import no_caffe
from lib.caffe.install.pins import Package
from lib.cli import bar

_SUITE = "bullseye"
_ONLY_FETCH = ("--download-only", "--only-source")  # of a source package: its files, not unpacked
_KEYRINGS = Path("/usr/share/keyrings")  # where the package debian-archive-keyring puts them


@dataclass(frozen=True)
class Source:
    """One entry of apt's sources."""

    addresses: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str | None = None  # a path, fingerprints, or a whole key; None: apt's trusted keys


class _Failure(Exception):
    """apt could not; the message is in its own words."""


class _WrongKey(_Failure):
    """The suite is there, but signed with keys that the keyring does not hold."""


def machine_sources() -> list[Source]:
    """The package sources of this machine's apt, in both formats, as apt finds them."""
    where = _apt_config("Dir::Etc::sourcelist/f", "Dir::Etc::sourceparts/d")
    parts = Path(where[1])
    files = [Path(where[0])]
    if parts.is_dir():
        files += sorted(parts.glob("*.list")) + sorted(parts.glob("*.sources"))
    found = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # not there, or not for this user's eyes
        found += parse_sources(text) if file.suffix == ".sources" else parse_list(text)
    return found


def parse_list(text: str) -> list[Source]:
    """Sources in the one-line format: `deb [signed-by=…] address suite component…`."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>[^#]*)", line)
        if not match:
            continue
        words = match["rest"].split()
        if len(words) < 2:
            continue
        keyring = re.search(r"(?:^|\s)signed-by=(\S+)", match["options"] or "", re.IGNORECASE)
        found.append(
            Source((words[0],), (words[1],), tuple(words[2:]), keyring[1] if keyring else None)
        )
    return found


def parse_sources(text: str) -> list[Source]:
    """Sources in the deb822 format: stanzas of `Field: value`, with continuation lines."""
    found = []
    for stanza in re.split(r"\n(?:[ \t]*\n)+", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = fields.get(name, "") + "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "without", "off", "disable"):
            continue
        found.append(
            Source(
                tuple(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                fields.get("signed-by") or None,
            )
        )
    return found


def debian_mirrors(sources: list[Source], codename: str | None) -> list[tuple[str, str | None]]:
    """The addresses (with keyring) that look like a Debian archive, the likeliest first.

    `codename` is this machine's own release; a source that serves it under a plain suite name
    with the component main serves other releases as well.
    """
    order = [_SUITE, codename, "oldstable", "oldoldstable", "stable", "testing", "unstable", "sid"]
    found: list[tuple[str, str | None]] = []
    for suite in order:
        for source in sources:
            if suite in source.suites and "main" in source.components:
                for address in source.addresses:
                    if (address, source.signed_by) not in found:
                        found.append((address, source.signed_by))
    return found


def download(packages: list[Package], into: Path, *, mirror: str | None) -> None:
    """Let apt download `packages` into the folder `into`, which holds apt's private state as well.

    `mirror` overrides the machine's own. apt checks Debian's signature and its own hashes; the lock
    is for the caller to check. Raises UserError; what had arrived whole by then stays in `into`.
    """
    for program in ("apt-get", "apt-config"):
        if not shutil.which(program):
            raise no_caffe(f"there is no {program} on this machine")
    if mirror and not re.fullmatch(r"[a-z][a-z0-9+]*:/\S+", mirror):
        raise no_caffe(f"DEBIAN_MIRROR={mirror} is not an address (http://…, https://…, file:/…)")
    mirrors = debian_mirrors(machine_sources(), _codename())
    if mirror:
        mirrors = [(mirror, keyring) for _, keyring in mirrors] or [(mirror, None)]
    if not mirrors:
        raise no_caffe("this machine's apt sources name no Debian mirror")
    private = into / "apt"
    _configure(private)
    failures: list[_Failure] = []
    for address, keyrings in _keyrings(mirrors).items():
        for keyring in keyrings:
            try:
                _update(private, address, keyring, sources=any(p.is_source for p in packages))
                _download(private, packages, into)
                return
            except _WrongKey as failure:
                failures.append(failure)
            except _Failure as failure:
                failures.append(failure)
                break  # another keyring would not help
    # a mirror that has the suite says more than one that has not
    raise no_caffe(str(max(failures, key=lambda failure: isinstance(failure, _WrongKey))))


def _keyrings(mirrors: list[tuple[str, str | None]]) -> dict[str, list[str | None]]:
    """For each mirror its own keyrings, then the other places where Debian's keys may lie."""
    debian: list[str | None] = [
        str(path)
        for name in ("debian-archive-keyring", "debian-archive-removed-keys")
        for path in (_KEYRINGS / f"{name}.gpg", _KEYRINGS / f"{name}.pgp")
        if path.exists()
    ]
    own: dict[str, list[str | None]] = {}
    for address, keyring in mirrors:
        own.setdefault(address, []).append(keyring)
    return {
        address: list(dict.fromkeys([*keyrings, *debian, None]))
        for address, keyrings in own.items()
    }


def _codename() -> str | None:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME")
    except OSError:
        return None


def _apt_config(*names: str) -> list[str]:
    """Values of this machine's apt configuration."""
    request = [word for number, name in enumerate(names) for word in (f"V{number}", name)]
    done = subprocess.run(
        ["apt-config", "shell", *request], capture_output=True, text=True, env=_environment()
    )
    values = dict(
        word.split("=", 1) for word in shlex.split(done.stdout, comments=False) if "=" in word
    )
    return [values.get(f"V{number}", "") for number in range(len(names))]


def _configure(private: Path) -> None:
    """Write apt's private configuration, which is read after the machine's own.

    Nothing of the system's state is read or written, no hook of the system's is run, and
    signatures are checked whatever the machine's own configuration allows.
    """
    for folder in ("lists/partial", "cache/archives/partial", "sources", "log"):
        (private / folder).mkdir(parents=True, exist_ok=True)
    (private / "status").touch()
    (private / "apt.conf").write_text(
        f"""\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear Dir::Etc::sourcelist;
#clear Dir::Etc::sourceparts;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
Dir::State "{private}";
Dir::State::lists "{private}/lists";
Dir::State::status "{private}/status";
Dir::Cache "{private}/cache";
Dir::Log "{private}/log";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{private}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
""",
        encoding="utf-8",
    )


def _update(private: Path, address: str, keyring: str | None, *, sources: bool) -> None:
    """Fetch the suite's signed list of packages, and of source packages if `sources`."""
    types, targets = ("deb deb-src", "Packages Sources") if sources else ("deb", "Packages")
    # An archived suite's Release file has expired: that is no reason to refuse it. Its signature
    # is checked all the same.
    source = (
        f"Types: {types}\nURIs: {address}\nSuites: {_SUITE}\nComponents: main\n"
        f"Architectures: amd64\nTargets: {targets}\nCheck-Valid-Until: no\n"
    )
    if keyring:
        source += f"Signed-By: {keyring}\n"
    (private / "sources" / "caffe.sources").write_text(source, encoding="utf-8")
    shutil.rmtree(private / "lists")
    (private / "lists" / "partial").mkdir(parents=True)
    code, words = _apt_get(private, ["update"], private)
    if any(sign in words for sign in ("NO_PUBKEY", "EXPKEYSIG", "public key", "is not signed")):
        raise _WrongKey(
            f"the mirror {address} has {_SUITE}, but not signed with a key that this machine "
            f"trusts ({keyring or 'its apt keys'}); the Debian package debian-archive-keyring "
            "has the keys"
        )
    if code or not list((private / "lists").glob("*_Packages*")):
        raise _Failure(f"the mirror {address} gave no {_SUITE} ({_reason(words)})")


def _download(private: Path, packages: list[Package], into: Path) -> None:
    """Download by name and version; the bar follows the bytes that have arrived."""
    commands = []
    for command, are_sources in ((["download"], False), (["source", *_ONLY_FETCH], True)):
        names = [f"{p.name}={p.version}" for p in packages if p.is_source == are_sources]
        if names:
            commands.append([*command, *dict.fromkeys(names)])
    total = sum(package.size for package in packages)
    with bar(what="packages", unit="B", total=total, unit_scale=True) as shown:

        def follow() -> None:
            arrived = (into / package.file for package in packages)
            shown.update(sum(file.stat().st_size for file in arrived if file.exists()) - shown.n)

        for command in commands:
            code, words = _apt_get(private, command, into, follow)
            follow()
            if code:
                raise _Failure(f"apt could not download every package ({_reason(words)})")


def _apt_get(
    private: Path, command: list[str], folder: Path, meanwhile: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run apt-get in `folder`; returns its exit code and all that it said."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            ["apt-get", "-q", "-c", str(private / "apt.conf"), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        try:
            while process.poll() is None:
                meanwhile()
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        said.seek(0)
        return process.returncode, said.read()


def _reason(words: str) -> str:
    """The line of apt's that says why."""
    lines = [line.strip() for line in words.splitlines()]
    for sign in ("E: Failed to fetch", "W: Failed to fetch", "E: "):
        for line in lines:
            if line.startswith(sign):
                return f"apt: {line[3:].strip()}"
    return f"apt: {lines[-1] if lines else 'no reason given'}"


def _environment() -> dict[str, str]:
    """apt's messages in English, so that they can be understood here."""
    return dict(os.environ, LC_ALL="C.UTF-8", LANGUAGE="")
