"""`make caffe`: the lock, where packages come from, and one real installation, moved elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lib.caffe.client import Engine
from lib.caffe.install import apt, build, debs, kernel_trial, kernels
from lib.caffe.install.kernels import Trial
from lib.caffe.install.launchers import PROGRAMS
from lib.caffe.install.pins import Package, read_lock
from lib.errors import UserError
from lib.exclusive_lock import alone

PROJECT = Path(__file__).resolve().parents[2]
TOOL = [sys.executable, "-m", "tools.caffe"]
WAYS_OUT = ("DEBIAN_MIRROR=", "CAFFE_DEBS=", "CAFFE_PYTHON=", "Dockerfile")


def run_tool(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOOL, *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


# --- the lock ---------------------------------------------------------------------------------


def test_lock_names_caffe_and_file_names_as_apt_writes_them() -> None:
    packages = {package.name: package for package in read_lock()}
    assert packages["caffe"].version.startswith("1.0.0")
    assert {"python3-caffe", "libcaffe1", "libopenblas0-pthread"} <= packages.keys()
    # the host's glibc must serve, a reference BLAS must not be there, matplotlib breaks on moving
    assert not {"libc6", "libblas3", "libatlas3-base", "python3-matplotlib"} & packages.keys()
    for package in packages.values():
        version = package.version.replace(":", "%3a")
        assert package.file == f"{package.name}_{version}_{package.architecture}.deb"


def test_lock_with_a_broken_line_is_refused_with_file_and_line(tmp_path: Path) -> None:
    lock = tmp_path / "caffe.lock"
    lock.write_text("# words\na\t1\tall\ta_1_all.deb\t12\t" + "0" * 63 + "\n")
    with pytest.raises(UserError, match=re.escape(f"{lock}, line 2")):
        read_lock(lock)


# --- where the packages come from -------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache of packages, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = debs.caches()[0]
    folder.mkdir(parents=True)
    assert folder.is_relative_to(tmp_path)
    return folder


def package_of(content: bytes) -> Package:
    """A package that is in nobody's cache and on no mirror."""
    name = f"fine-art-caffe-test-{hashlib.md5(content).hexdigest()}"
    digest = hashlib.sha256(content).hexdigest()
    return Package(name, "1:1", "all", f"{name}_1%3a1_all.deb", len(content), digest)


def test_a_folder_of_packages_serves_without_network(cache: Path, tmp_path: Path) -> None:
    package = package_of(b"right")
    (tmp_path / package.file).write_bytes(b"right")
    found = debs.fetch([package], folder=tmp_path, mirror="http://127.0.0.1:1/")
    assert found == {package: tmp_path / package.file}


def test_the_cache_comes_first_but_only_if_it_is_right(cache: Path, tmp_path: Path) -> None:
    good, bad = package_of(b"good"), package_of(b"bad")
    (cache / good.file).write_bytes(b"good")
    (cache / bad.file).write_bytes(b"cut")
    (tmp_path / bad.file).write_bytes(b"bad")
    found = debs.fetch([good, bad], folder=tmp_path)
    assert found == {good: cache / good.file, bad: tmp_path / bad.file}


@pytest.mark.parametrize("content", [None, b"wrong", b"longer than it should be"])
def test_a_missing_or_wrong_file_of_the_folder_is_named(
    content: bytes | None, cache: Path, tmp_path: Path
) -> None:
    package = package_of(b"right")
    if content is not None:
        (tmp_path / package.file).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / package.file))) as error:
        debs.fetch([package], folder=tmp_path)
    assert all(way in str(error.value) for way in WAYS_OUT)


def test_what_a_killed_download_left_is_used_if_right(cache: Path) -> None:
    whole, cut = package_of(b"whole"), package_of(b"cut off")
    incoming = cache / "incoming.killed"
    incoming.mkdir()
    (incoming / whole.file).write_bytes(b"whole")
    (incoming / cut.file).write_bytes(b"cut")
    with pytest.raises(UserError):
        debs.fetch([whole, cut], mirror="http://127.0.0.1:1/")
    assert [path.name for path in cache.iterdir()] == [whole.file]


def test_the_next_folder_is_taken_where_the_cache_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert debs._writable([tmp_path / "file" / "debs", tmp_path / "b"]) == tmp_path / "b"
    with pytest.raises(UserError, match="read-only"):
        debs._writable([tmp_path / "file" / "debs"])


def test_without_apt_the_ways_out_are_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(UserError, match="no apt-get on this machine") as error:
        debs.fetch([package_of(b"x")])
    assert all(way in str(error.value) for way in WAYS_OUT)


def test_a_dead_mirror_is_said_within_seconds(cache: Path) -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{taken.getsockname()[1]}/debian"
        start = time.monotonic()
        with pytest.raises(UserError, match="gave no bullseye") as error:
            debs.fetch([package_of(b"x")], mirror=mirror)
    assert time.monotonic() - start < 20
    assert mirror in str(error.value)
    assert all(way in str(error.value) for way in WAYS_OUT)


def test_a_mirror_that_is_no_address_is_refused(cache: Path) -> None:
    with pytest.raises(UserError, match="DEBIAN_MIRROR=somewhere is not an address"):
        debs.fetch([package_of(b"x")], mirror="somewhere")


def test_an_unsigned_mirror_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the machine's own apt is told to accept such a thing."""
    suite = tmp_path / "mirror" / "dists" / "bullseye"
    (suite / "main" / "binary-amd64").mkdir(parents=True)
    (suite / "main" / "binary-amd64" / "Packages").touch()
    empty = hashlib.sha256().hexdigest()
    (suite / "Release").write_text(
        "Suite: bullseye\nCodename: bullseye\nArchitectures: amd64\nComponents: main\n"
        f"Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {empty} 0 main/binary-amd64/Packages\n"
    )
    (tmp_path / "apt.conf").write_text(
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(UserError, match="not signed with a key that this machine trusts"):
        debs.fetch([package_of(b"x")], mirror=f"file:{tmp_path}/mirror")


# --- the machine's own apt --------------------------------------------------------------------

DEB822 = """\
# the machine's own
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
# a comment inside
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xyz
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://b.example/debian/ bookworm main # x
deb http://c.example/debian-security bookworm-security main
deb\thttp://d.example/debian   stable main
deb https://tool.example/linux bookworm stable
"""


def test_both_formats_of_apts_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "debian.sources").write_text(DEB822)
    (parts / "old.list").write_text(ONE_LINE)
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/none";\nDir::Etc::sourceparts "{parts}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    mirrors = apt.debian_mirrors(apt.machine_sources(), "bookworm")
    assert [address for address, _ in mirrors] == [
        "https://b.example/debian/",
        "http://mirror.example/debian",
        "http://d.example/debian",
    ]
    keyrings = dict(mirrors)
    assert keyrings["https://b.example/debian/"] == "/usr/share/keyrings/x.gpg"
    assert keyrings["http://d.example/debian"] is None
    key = keyrings["http://mirror.example/debian"]
    assert key is not None
    assert key.splitlines()[1:3] == [" -----BEGIN PGP PUBLIC KEY BLOCK-----", " ."]


# --- the BLAS kernel --------------------------------------------------------------------------


def a_round(right: bool = True, **gflops: float) -> kernels.Round:
    return {kernel: Trial(kernel, kernel, speed, right) for kernel, speed in gflops.items()}


@pytest.mark.parametrize(
    ("rounds", "chosen"),
    [
        ([a_round(own=60, Haswell=65), a_round(own=60, Haswell=65)], "own"),  # hardly faster
        ([a_round(own=38, Haswell=95, Zen=83), a_round(own=30, Haswell=91, Zen=80)], "Haswell"),
        ([a_round(own=30, Haswell=60), a_round(own=60, Haswell=60)], "own"),  # slow by chance
        ([a_round(own=20, Zen=19), a_round(own=60, Zen=57)], "own"),  # all slow in one round
        ([a_round(False, own=99) | a_round(Zen=50)] * 2, "Zen"),
        ([a_round(False, own=0) | a_round(Zen=50)] * 2, "Zen"),  # crashed
        ([a_round(own=60) | a_round(False, Zen=99), a_round(own=60, Zen=99)], "own"),
    ],
)
def test_best_kernel(rounds: list[kernels.Round], chosen: str) -> None:
    assert kernels.best(rounds) == chosen


def test_no_right_kernel_is_an_error() -> None:
    with pytest.raises(UserError, match="computes wrongly"):
        kernels.best([a_round(False, own=60, Zen=60)])


def test_wrong_products_are_noticed() -> None:
    random = np.random.RandomState(0)
    a, b = random.randn(40, 500).astype("f"), random.randn(500, 30).astype("f")
    product = a @ b
    assert kernel_trial.close(product, a, b)
    product[7, 7] += 0.1
    assert not kernel_trial.close(product, a, b)
    product[7, 7] = np.nan
    assert not kernel_trial.close(product, a, b)


# --- one real installation --------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Caffe whose installation was killed, begun again, and then moved elsewhere."""
    place = tmp_path_factory.mktemp("caffe")
    first = place / "first"
    process = subprocess.Popen(
        [*TOOL, "--into", str(first)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while process.poll() is None and not list(place.glob(".first.*.part/root/usr/lib/*/libc*.so*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stdout and process.stdout.read()
    assert not first.exists()
    assert len(list(place.iterdir())) == 1  # the half of it, under another name
    again = run_tool("--into", first)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Caffe 1.0.0" in again.stdout
    assert "GFLOPS" in again.stdout
    assert [path.name for path in place.iterdir()] == ["first"]
    moved = place / "moved to ä folder"
    first.rename(moved)
    yield moved
    shutil.rmtree(place)


@pytest.fixture
def python_in(installed: Path) -> Callable[..., str]:
    """Run a piece of Python through the launcher, with more variables in its environment."""

    def run(code: str, launcher: Path = installed / "bin" / "python", **more: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        done = subprocess.run(
            [launcher, "-c", code], capture_output=True, text=True, env={**environment, **more}
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    return run


ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def test_a_second_call_finds_it_up_to_date(installed: Path) -> None:
    start = time.monotonic()
    done = run_tool("--into", installed)
    assert time.monotonic() - start < 3
    assert done.stdout == f"{installed}: up to date\n"


def test_what_a_killed_installation_left_goes_even_then(installed: Path) -> None:
    left = installed.parent / f".{installed.name}.killed.part"
    (left / "root").mkdir(parents=True)
    assert run_tool("--into", installed).returncode == 0
    assert not left.exists()


def test_one_installation_waits_for_another(installed: Path) -> None:
    with alone(installed.parent, "test"):
        waiting = subprocess.Popen(
            [*TOOL, "--into", str(installed)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr
        said = waiting.stderr.readline()
        assert said == "waiting for another process: the installation of Caffe\n"
        assert waiting.poll() is None
    assert waiting.communicate(timeout=30)[0] == f"{installed}: up to date\n"


def test_caffe_computes_with_its_own_openblas(installed: Path) -> None:
    about = Engine(installed / "bin" / "python").call("about", {})
    assert about["caffe"] == "1.0.0"
    assert Path(about["blas"]).is_relative_to(installed / "root")
    assert "openblas-pthread" in about["blas"]


def test_another_blas_is_an_error(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    other = tmp_path / "bin" / "python"
    other.write_text(f'#!/bin/sh\nexec "{installed}/bin/python" "$@"\n')
    other.chmod(0o755)
    with pytest.raises(UserError, match="instead of its own OpenBLAS"):
        build._check(tmp_path)


def test_all_programs_start(installed: Path) -> None:
    asked = {"python": ["--version"], "caffe-gtest": ["--gtest_list_tests"]}
    for name in PROGRAMS:
        done = subprocess.run(
            [installed / "bin" / name, *asked.get(name, ["--version"])],
            capture_output=True,
            text=True,
        )
        said = done.stdout + done.stderr
        assert done.returncode >= 0, said  # not ended by a signal
        assert "error while loading" not in said
        assert said.strip()
    assert "caffe version 1.0.0" in subprocess.getoutput(f"'{installed}/bin/caffe' --version")


def test_launcher_leaves_another_caffe_out_and_keeps_the_rest(
    python_in: Callable[..., str],
) -> None:
    theirs = {"GLOG_minloglevel": "2", "model": "mine", "name": "mine", "caffe": "/mine", "x": "y"}
    foreign = {"PYTHONPATH": "/other", "PYTHONHOME": "/other", "LD_LIBRARY_PATH": "/other"}
    seen = json.loads(python_in(ENVIRONMENT, **theirs, **foreign))
    assert {name: seen[name] for name in theirs} == theirs
    assert not foreign.keys() & seen.keys()
    assert seen["PYTHONNOUSERSITE"] == "1"
    assert not [name for name in seen if name.startswith("_caffe")]


def test_launcher_works_through_links(
    installed: Path, tmp_path: Path, python_in: Callable[..., str]
) -> None:
    link, folder = tmp_path / "a python", tmp_path / "a folder"
    folder.symlink_to(installed)
    link.symlink_to(folder / "bin" / "python")
    said = python_in("import caffe, sys; print(sys.executable)", launcher=link)
    assert Path(said) == installed / "root/usr/bin/python3.9"


def test_children_of_the_engine_can_import_caffe_too(python_in: Callable[..., str]) -> None:
    code = (
        "import subprocess, sys;"
        "print(subprocess.call([sys.executable, '-c', 'import caffe.proto.caffe_pb2']))"
    )
    assert python_in(code) == "0"


def test_nothing_of_the_hosts_python_is_imported(
    installed: Path, python_in: Callable[..., str]
) -> None:
    paths = json.loads(python_in("import json, sys; print(json.dumps(sys.path[1:]))"))
    assert paths
    assert all(Path(path).is_relative_to(installed) for path in paths)
    links = [path for path in installed.rglob("*") if path.is_symlink()]
    assert links
    assert not [path for path in links if path.readlink().is_absolute()]
    assert not [path for path in links if not path.exists() and path.suffix in (".so", ".py")]


def test_launcher_names_the_kernel(installed: Path, python_in: Callable[..., str]) -> None:
    table = installed / kernels.TABLE
    chosen = table.read_text()
    code = "import os; print(os.environ.get('OPENBLAS_CORETYPE'))"
    here = kernels.processor()
    try:
        table.write_text(f"another processor\tZen\n{here}\tSandybridge\n")
        assert python_in(code) == "Sandybridge"
        assert python_in(code, OPENBLAS_CORETYPE="Nehalem") == "Nehalem"
        assert python_in(code, OPENBLAS_CORETYPE="") == "Sandybridge"  # OpenBLAS takes "" ill
        table.write_text(f"{here}\town\n")
        assert python_in(code) == "None"
        table.write_text("")
        assert python_in(code) == ("Haswell" if " avx2 fma" in here else "None")
    finally:
        table.write_text(chosen)


def test_on_another_processor_the_kernel_is_measured_again(installed: Path) -> None:
    table = installed / kernels.TABLE
    chosen = table.read_text()
    assert chosen.startswith(f"{kernels.processor()}\t")
    try:
        table.write_text("another processor\tZen\n")
        done = run_tool("--into", installed)
        assert "up to date" in done.stdout
        assert "GFLOPS" in done.stdout
        assert table.read_text().startswith(f"another processor\tZen\n{kernels.processor()}\t")
    finally:
        table.write_text(chosen)


def test_a_damaged_installation_or_another_lock_is_noticed(installed: Path) -> None:
    assert build.is_intact(installed)
    for name in ("caffe.lock", "root/usr/bin/caffe", "bin/python"):
        path, kept = installed / name, installed.parent / "kept"
        path.rename(kept)
        assert not build.is_intact(installed)
        path.write_bytes(kept.read_bytes()[:-1])
        assert not build.is_intact(installed)
        kept.replace(path)
    assert build.is_intact(installed)


def test_a_folder_of_someone_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = run_tool("--into", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path} is not a Caffe that was installed here: " + (
        "it is left alone\n"
    )
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert "is left alone" in run_tool("--into", tmp_path / "mine.txt").stderr


def test_a_machine_of_another_make_is_sent_to_caffe_python(tmp_path: Path) -> None:
    done = subprocess.run(
        ["setarch", "i686", *TOOL, "--into", str(tmp_path / "x")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "i686" in done.stderr
    assert "CAFFE_PYTHON" in done.stderr
