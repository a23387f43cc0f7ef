"""`make caffe`: the lock, where packages come from, and one real installation, moved elsewhere."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.caffe.client import Engine
from lib.caffe.install import build, debs, download, mirrors
from lib.caffe.install.blas import install_wheel, packages_with, processor_flags
from lib.caffe.install.launchers import PROGRAMS
from lib.caffe.install.pins import Package, read_lock
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock

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
        if package.is_wheel:
            continue
        assert package.path.startswith("pool/main/")
        name, version, architecture = package.file.removesuffix(".deb").split("_")
        assert (name, architecture) == (package.name, package.architecture)
        assert version.replace("%3a", ":") == package.version
        # a pool leaves the epoch out
        assert package.path.endswith(f"/{name}_{version.rpartition('%3a')[2]}_{architecture}.deb")


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
    return Package(name, "1:1", "all", f"pool/main/x/{name}_1_all.deb", len(content), digest)


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
    assert sorted(path.name for path in cache.iterdir()) == [".lock", whole.file]


def test_the_next_folder_is_taken_where_the_cache_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert debs._writable([tmp_path / "file" / "debs", tmp_path / "b"]) == tmp_path / "b"
    with pytest.raises(UserError, match="read-only"):
        debs._writable([tmp_path / "file" / "debs"])


# --- where there is what kind of apt, list of mirrors, or none ---------------------------------


class Mirror:
    """A Debian mirror on this machine: a folder, served by HTTP; and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, *words: Any) -> None:
                asked.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/debian"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, package: Package, content: bytes) -> None:
        path = self.folder / "debian" / package.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A mirror without any package so far."""
    (tmp_path / "served").mkdir()
    served = Mirror(tmp_path / "served")
    yield served
    served.server.shutdown()
    served.server.server_close()


UBUNTU = """\
Types: deb
URIs: http://archive.example/ubuntu/
Suites: noble noble-updates
Components: main universe
"""


def set_apt(monkeypatch: pytest.MonkeyPatch, folder: Path, sources: str, *, old: str = "") -> None:
    """Let the machine's apt have these sources: of the present format, and of the one-line one."""
    parts = folder / "parts"
    parts.mkdir()
    (parts / "a.sources").write_text(sources)
    (parts / "b.list").write_text(old)
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{parts}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))


def list_mirrors(monkeypatch: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    """Let the machine have a list of mirrors, or (no lines) none."""
    path = folder / "Debian.mirrors"
    if lines:
        path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(mirrors, "MIRROR_LIST", path)


@pytest.fixture(params=["apt-helper", "httpx"])
def downloader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to download: as where apt is, and as where it is not."""
    if request.param == "httpx":
        monkeypatch.setattr(download, "APT_HELPER", Path("/nowhere/apt-helper"))
    elif not download.APT_HELPER.exists():
        pytest.skip("no apt on this machine")
    return str(request.param)


needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt on this machine")


@needs_apt
def test_the_mirror_of_apts_sources_is_taken(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror, downloader: str
) -> None:
    package = package_of(b"right")
    mirror.put(package, b"right")
    set_apt(monkeypatch, tmp_path, UBUNTU, old=f"deb {mirror.address} bullseye main\n")
    list_mirrors(monkeypatch, tmp_path)
    assert debs.fetch([package]) == {package: cache / package.file}
    assert (cache / package.file).read_bytes() == b"right"


@needs_apt
def test_on_ubuntu_the_list_of_mirrors_serves(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror, downloader: str
) -> None:
    """Of the listed ones some are gone; Ubuntu's own is not even asked."""
    packages = [package_of(content) for content in (b"one", b"two", b"three")]
    for package, content in zip(packages, (b"one", b"two", b"three"), strict=True):
        mirror.put(package, content)
    own = Mirror(tmp_path / "served" / "empty")
    set_apt(monkeypatch, tmp_path, UBUNTU.replace("http://archive.example/ubuntu/", own.address))
    dead = "http://127.0.0.1:1/debian/"
    list_mirrors(monkeypatch, tmp_path, "#LOC:AQ", dead, own.address, "#LOC:DE", mirror.address)
    found = debs.fetch(packages)
    own.server.shutdown()
    own.server.server_close()
    assert sorted(path.read_bytes() for path in found.values()) == [b"one", b"three", b"two"]
    assert all("/pool/" in asked for asked in own.asked)  # as a listed mirror, never for a suite


@needs_apt
def test_on_ubuntu_without_a_list_the_ways_out_are_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_apt(monkeypatch, tmp_path, UBUNTU)
    list_mirrors(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="names no Debian mirror") as error:
        debs.fetch([package_of(b"x")])
    assert all(way in str(error.value) for way in WAYS_OUT)
    assert "archive of old releases" in str(error.value)
    assert "\n" not in str(error.value)


def test_without_apt_the_ways_out_are_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.setattr(download, "APT_HELPER", Path("/nowhere/apt-helper"))
    list_mirrors(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="names no Debian mirror") as error:
        debs.fetch([package_of(b"x")])
    assert all(way in str(error.value) for way in WAYS_OUT)


def test_without_apt_a_named_mirror_serves(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror
) -> None:
    package = package_of(b"right")
    mirror.put(package, b"right")
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.setattr(download, "APT_HELPER", Path("/nowhere/apt-helper"))
    assert debs.fetch([package], mirror=mirror.address + "/") == {package: cache / package.file}


def test_a_named_mirror_is_the_only_one_asked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror, downloader: str
) -> None:
    list_mirrors(monkeypatch, tmp_path, "#LOC:DE", mirror.address)
    with pytest.raises(UserError, match=r"can't be downloaded .http://127.0.0.1:1/debian: "):
        debs.fetch([package_of(b"x")], mirror="http://127.0.0.1:1/debian")
    assert not mirror.asked


def test_a_mirror_as_a_folder(cache: Path, tmp_path: Path) -> None:
    package, gone = package_of(b"right"), package_of(b"gone")
    (tmp_path / "a copy" / package.path).parent.mkdir(parents=True)
    (tmp_path / "a copy" / package.path).write_bytes(b"right")
    address = f"file:{tmp_path}/a%20copy"
    assert debs.fetch([package], mirror=address) == {package: cache / package.file}
    with pytest.raises(UserError, match=f"{gone.path}: No such file"):
        debs.fetch([gone], mirror=address)


def test_a_suite_that_has_left_the_mirror(cache: Path, mirror: Mirror, downloader: str) -> None:
    with pytest.raises(UserError, match="404") as error:
        debs.fetch([package_of(b"x"), package_of(b"yy")], mirror=mirror.address)
    assert "archive of old releases" in str(error.value)
    assert len(mirror.asked) <= 2  # a line of the log for the request, one for the error


def test_other_bytes_than_the_locks_are_refused(
    cache: Path, mirror: Mirror, downloader: str
) -> None:
    good, bad = package_of(b"a good one"), package_of(b"right")
    mirror.put(good, b"a good one")
    mirror.put(bad, b"wrong")
    with pytest.raises(UserError, match=r"can't be downloaded") as error:
        debs.fetch([good, bad], mirror=mirror.address)
    assert mirror.address in str(error.value)
    assert [path.name for path in cache.iterdir() if path.suffix == ".deb"] == []
    mirror.put(bad, b"right")
    assert len(debs.fetch([good, bad], mirror=mirror.address)) == 2


def test_a_dead_mirror_is_said_within_seconds(cache: Path, downloader: str) -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{taken.getsockname()[1]}/debian"
        start = time.monotonic()
        with pytest.raises(UserError, match="can't be downloaded") as error:
            debs.fetch([package_of(b"x")], mirror=mirror)
    assert time.monotonic() - start < 20
    assert mirror in str(error.value)
    assert all(way in str(error.value) for way in WAYS_OUT)


def test_a_mirror_that_is_no_address_is_refused(cache: Path) -> None:
    with pytest.raises(UserError, match="DEBIAN_MIRROR=somewhere is not an address"):
        debs.fetch([package_of(b"x")], mirror="somewhere")


def test_a_password_in_an_address_is_not_shown(cache: Path, downloader: str) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1") as error:
        debs.fetch([package_of(b"x")], mirror="http://me:secret@127.0.0.1:1/debian")
    assert "secret" not in str(error.value)


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
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://b.example/debian/ bullseye main # x
deb http://c.example/debian-security bookworm-security main
deb\thttp://d.example/debian   stable main
deb https://tool.example/linux bookworm stable
deb http://flat.example/flat ./
"""


@needs_apt
def test_both_formats_of_apts_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "_own_suite", lambda: ["bookworm"])
    listed = tmp_path / "cloud.list"
    listed.write_text("http://one.example/debian\tpriority:1\n# no\n\nhttp://two.example/debian\n")
    cloud = f"deb mirror+file:{listed} sid main\n"
    set_apt(monkeypatch, tmp_path, DEB822, old=ONE_LINE + cloud)
    assert [address.rstrip("/") for address in mirrors.apts_mirrors()] == [
        "https://b.example/debian",
        "http://mirror.example/debian",
        "http://d.example/debian",
        "http://one.example/debian",
        "http://two.example/debian",
    ]


def test_of_a_long_list_a_few_are_tried_the_users_country_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = [f"http://far{number}.example/debian/" for number in range(50)]
    near = ["http://near1.example/debian/", "http://near2.example/debian/"]
    list_mirrors(monkeypatch, tmp_path, "#LOC:AQ", *far, "#LOC:HR", *near, "ftp://x.example/")
    monkeypatch.setenv("LC_ALL", "hr_HR.UTF-8")
    found = mirrors.listed_mirrors()
    assert sorted(found[:2]) == near
    assert len(found) == 5
    assert set(found[2:]) < set(far)


# --- the BLAS ---------------------------------------------------------------------------------


def test_the_lock_has_both_blas_and_an_installation_one() -> None:
    packages = read_lock()
    debian = {package.name for package in packages_with("debian", packages)}
    todays = {package.name for package in packages_with("openblas", packages)}
    assert debian ^ todays == {"libopenblas0-pthread", "scipy-openblas32"}
    assert "libopenblas0-pthread" in debian


def test_an_unknown_blas_is_refused() -> None:
    done = run_tool(CAFFE_BLAS="debain")
    assert done.returncode == 2
    assert done.stderr == (
        "error: unknown CAFFE_BLAS 'debain': did you mean debian? valid: debian, openblas\n"
    )


def test_a_wheel_that_pip_cannot_get_names_the_way_out(cache: Path) -> None:
    wheel = Package("fine-art-caffe-no-such", "1", "wheel", "x-1-py3-none-any.whl", 1, "0" * 64)
    with pytest.raises(UserError, match=r"pip can't download .*CAFFE_BLAS=debian"):
        debs.fetch([wheel])


def test_a_folder_of_packages_need_not_have_the_wheel(cache: Path, tmp_path: Path) -> None:
    (wheel,) = (package for package in read_lock() if package.is_wheel)
    found = debs.fetch([wheel], folder=tmp_path)
    assert found == {wheel: cache / wheel.file}  # pip has got it


def test_a_library_that_is_not_as_expected_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr("scipy_openblas32/lib/libscipy_openblas.so", b"\0other_cblas_sgemm\0")
    with pytest.raises(UserError, match="not the OpenBLAS expected"):
        install_wheel(tmp_path / "x.whl", tmp_path / "root")


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
    assert len(list(place.iterdir())) == 2  # the lock, and the half of it under another name
    again = run_tool("--into", first)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Caffe 1.0.0" in again.stdout
    assert "OpenBLAS 0.3.34" in again.stdout
    assert sorted(path.name for path in place.iterdir()) == [".lock", "first"]
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
    left = installed.parent / f".{installed.name}.abc_1234.part"
    (left / "root").mkdir(parents=True)
    assert run_tool("--into", installed).returncode == 0
    assert not left.exists()


def test_one_installation_waits_for_another(installed: Path) -> None:
    with exclusive_lock(installed.parent, "test"):
        waiting = subprocess.Popen(
            [*TOOL, "--into", str(installed)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr
        said = waiting.stderr.readline()
        assert said.startswith("waiting for another process (process ")
        assert said.endswith("): the installation of Caffe\n")
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


LAYER = """\
import caffe


class Double(caffe.Layer):
    def setup(self, bottom, top):
        import skimage  # of this Caffe's own Python

        print("skimage is", skimage.__file__, flush=True)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff
"""

PYTHON_NET = """\
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 4 dim: 3 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 }
  }
}
layer {
  name: "double" type: "Python" bottom: "data" top: "double"
  python_param { module: "a_layer" layer: "Double" }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "double" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("variable", ["CAFFE_LAYERS", "PYTHONPATH", None])
def test_caffe_itself_trains_a_net_with_a_layer_in_python(
    installed: Path, tmp_path: Path, variable: str | None
) -> None:
    """And another Python's packages, as ROS puts on PYTHONPATH, do not get in its way."""
    ros, layers, here = (tmp_path / name for name in ("ros", "my layers", "here"))
    for folder in (ros, layers, here):
        folder.mkdir()
    for module in ("skimage", "caffe", "enum"):
        (ros / f"{module}.py").write_text("raise ImportError('of another Python')\n")
    ((layers if variable else here) / "a_layer.py").write_text(LAYER)
    (here / "net.prototxt").write_text(PYTHON_NET)
    (here / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2\n'
        "snapshot_after_train: false solver_mode: CPU\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CAFFE_LAYERS")}
    environment["PYTHONPATH"] = str(ros)
    if variable:
        before = environment.get(variable)
        environment[variable] = f"{before}:{layers}" if before else str(layers)
    done = subprocess.run(
        [installed / "bin" / "caffe", "train", "-solver", "solver.prototxt"],
        cwd=here,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Optimization Done" in done.stderr
    assert f"skimage is {installed}/root" in done.stdout


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


def test_lapack_works_and_its_error_handler_is_there(python_in: Callable[..., str]) -> None:
    code = (
        "import numpy, scipy.linalg;"
        "a = numpy.arange(16.0).reshape(4, 4) ** 2 + numpy.eye(4);"
        "print(numpy.abs(scipy.linalg.inv(a).dot(a) - numpy.eye(4)).max() < 1e-9)"
    )
    assert python_in(code) == "True"


def test_the_users_kernel_is_heard(python_in: Callable[..., str]) -> None:
    code = "import os; print(os.environ.get('OPENBLAS_CORETYPE'))"
    assert python_in(code) == "None"
    assert python_in(code, OPENBLAS_CORETYPE="Nehalem") == "Nehalem"
    assert python_in(code, OPENBLAS_CORETYPE="") == "None"  # OpenBLAS takes "" ill


@pytest.fixture(scope="module")
def with_debians(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Caffe with Debian's own OpenBLAS."""
    folder = tmp_path_factory.mktemp("debian") / ".caffe"
    done = run_tool("--into", folder, CAFFE_BLAS="debian")
    assert done.returncode == 0, done.stderr[-3000:]
    yield folder
    shutil.rmtree(folder)


def test_debians_blas_gets_a_kernel_by_the_processors_flags(with_debians: Path) -> None:
    flags = processor_flags()
    wide = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"} <= flags
    expected = ("SkylakeX" if wide else "Haswell") if {"avx2", "fma"} <= flags else None
    code = "import os; print(os.environ.get('OPENBLAS_CORETYPE'))"
    launcher = with_debians / "bin" / "python"
    plain = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    for word, kernel in ((None, expected), ("", expected), ("Nehalem", "Nehalem")):
        environment = plain if word is None else plain | {"OPENBLAS_CORETYPE": word}
        said = subprocess.run(
            [launcher, "-c", code], capture_output=True, text=True, env=environment
        )
        assert said.stdout.strip() == str(kernel)
    about = Engine(launcher).call("about", {})
    assert about["blas_version"] == "0.3.13"


def test_a_caffe_that_is_there_keeps_its_blas_unless_asked(with_debians: Path) -> None:
    done = run_tool("--into", with_debians)
    assert done.stdout == (
        f"{with_debians}: up to date (with Debian's OpenBLAS; CAFFE_BLAS=openblas installs "
        "today's, which is faster)\n"
    )
    assert run_tool("--into", with_debians, CAFFE_BLAS="debian").stdout == (
        f"{with_debians}: up to date\n"
    )


def test_an_installation_of_an_earlier_version_is_up_to_date(with_debians: Path) -> None:
    """Its lock had the file's name in place of the path, and its files other contents."""
    lock = with_debians / "caffe.lock"
    now = lock.read_text()
    before = ["# an earlier lock"]
    for package in read_lock(lock):
        fields = (package.name, package.version, package.architecture, package.file)
        before.append("\t".join([*fields, str(package.size), package.sha256]))
    files = with_debians / "files.tsv"
    listed = files.read_text()
    try:
        lock.write_text("\n".join(before) + "\n")
        files.write_text(listed.replace(f"{len(now.encode())}\tcaffe.lock\n", ""))
        assert build.is_intact(with_debians)
        lock.write_text("\n".join(before[:-1]) + "\n")
        assert not build.is_intact(with_debians)
    finally:
        lock.write_text(now)
        files.write_text(listed)


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
