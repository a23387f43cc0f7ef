"""The locked Python packages are those that pyproject.toml asks for, each with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import BASE, LOCKS, PROJECT

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_PROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_EXTRAS: dict[str, list[str]] = _PROJECT["optional-dependencies"]
NEEDS = (BASE, *_EXTRAS)


def ranges(need: str) -> list[Requirement]:
    """What pyproject.toml asks for: the base's, and an extra's with those that it takes in."""
    found = [Requirement(line) for line in _PROJECT["dependencies"]]
    names = [] if need == BASE else [need]
    while names:
        for each in map(Requirement, _EXTRAS[names.pop()]):
            if each.name == _PROJECT["name"]:
                names.extend(each.extras)
            else:
                found.append(each)
    return found


def entries(path: Path) -> list[tuple[str, str, Marker | None, list[str]]]:
    """Name, version, marker and hashes of each package of a lock."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    made: list[tuple[str, str, Marker | None, list[str]]] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            said, *hashes = line.split("--hash=")
            wanted = Requirement(said.strip())
            (exact,) = wanted.specifier
            assert exact.operator == "=="
            made.append((canonicalize_name(wanted.name), exact.version, wanted.marker, hashes))
    return made


def versions(path: Path, python: str) -> dict[str, str]:
    """The versions for one Python, on this machine."""
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.0"}
    return {
        name: version
        for name, version, marker, _ in entries(path)
        if marker is None or marker.evaluate({key: str(value) for key, value in here.items()})
    }


@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("python", PYTHONS)
def test_each_range_has_a_version_in_it(need: str, python: str) -> None:
    locked = versions(LOCKS / f"{need}.lock", python)
    for wanted in ranges(need):
        version = locked.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is not in {need}.lock: make lock"
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted}: make lock"


@pytest.mark.parametrize("need", NEEDS)
def test_every_package_has_hashes_and_no_address(need: str) -> None:
    path = LOCKS / f"{need}.lock"
    assert "://" not in path.read_text(encoding="utf-8")
    found = entries(path)
    assert found
    for name, _, _, hashes in found:
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), name


@pytest.mark.parametrize("python", PYTHONS)
def test_all_locks_agree(python: str) -> None:
    whole = versions(LOCKS / "dev.lock", python)
    for need in NEEDS:
        assert versions(LOCKS / f"{need}.lock", python).items() <= whole.items()


def test_there_is_a_lock_for_each_need_and_no_other() -> None:
    assert {path.stem for path in LOCKS.iterdir()} == set(NEEDS)
