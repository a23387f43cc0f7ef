"""`make caffe-gpu` without the build itself: what is found, chosen, refused, done again or not."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from lib.caffe import client
from lib.caffe.client import Engine, find_engine
from lib.caffe.cuda_driver import find_driver
from lib.caffe.gpu import assemble, build, caffe_flags, cudnn, host, toolkit
from lib.caffe.gpu.archs import Archs, choose_archs
from lib.caffe.gpu.compiler import Compiler, reason
from lib.caffe.gpu.source import unpack_source
from lib.caffe.gpu.stages import is_made, making
from lib.caffe.gpu.wheels import BUILD_TOOLS, HERE, install_wheels, read_requirements
from lib.caffe.install.pins import Package, read_lock
from lib.errors import UserError
from tools import caffe_gpu_test, parity

PROJECT = Path(__file__).resolve().parents[2]
NVCC_12 = """\
nvcc: NVIDIA (R) Cuda compiler driver
Cuda compilation tools, release 12.4, V12.4.131
Build cuda_12.4.r12.4/compiler.34097967_0
"""
SUPPORTED = [75, 80, 86, 89, 90, 100, 120]


def run_tool(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.caffe_gpu", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def make_nvcc(home: Path, version: str, code: str = "sm_80") -> Path:
    """A toolkit's nvcc that answers what is asked before anything is compiled."""
    nvcc = home / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(
        f'#!/bin/sh\ncase "$1" in\n--version) echo "Cuda tools, release {version}, V1" ;;\n'
        f'--list-gpu-code) echo {code} ;;\n--dryrun) echo "#\\$ TOP={home}/bin/.." >&2 ;;\n'
        '*) case "$*" in *g++-11*) exit 0 ;; esac\n'
        'echo "nvcc fatal : unsupported GNU version! gcc later than 11" >&2; exit 1 ;;\nesac\n'
    )
    nvcc.chmod(0o755)
    return nvcc


def make_toolkit(home: Path, version: str, code: str = "sm_80") -> Path:
    """A toolkit with the files that are looked for, all but the first of them empty."""
    make_nvcc(home, version, code)
    for header in ("cuda_runtime_api.h", "cublas_v2.h", "curand.h"):
        (home / "include").mkdir(exist_ok=True)
        (home / "include" / header).touch()
    (home / "lib64").mkdir()
    for library in ("libcudart.so", "libcublas.so", "libcurand.so"):
        (home / "lib64" / library).touch()
    return home


@pytest.fixture
def compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A g++ and gcc on PATH that answer: no test here needs a compiler."""
    folder = tmp_path / "compilers"
    folder.mkdir()
    for name in ("g++", "gcc"):
        (folder / name).write_text("#!/bin/sh\necho 'g++ (test) 12.2.0'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


# --- what is pinned ---------------------------------------------------------------------------


def test_the_source_package_is_that_of_the_caffe_that_is_installed() -> None:
    installed = {package.name: package.version for package in read_lock()}
    files = read_lock(build.BUILD_LOCK)
    versions = {package.version for package in files if package.is_source}
    assert {version + "+b2" for version in versions} == {installed["caffe"]}
    assert len([p for p in files if p.is_source]) == 3
    # headers of another version than the library would be a quiet disaster
    pairs = {
        "libprotobuf-dev": "libprotobuf23",
        "libopencv-core-dev": "libopencv-core4.5",
        "libhdf5-dev": "libhdf5-103-1",
        "libpython3.9-dev": "libpython3.9",
        "libboost-python1.74-dev": "libboost-python1.74.0",
        "libopenblas-pthread-dev": "libopenblas0-pthread",
    }
    development = {package.name: package.version for package in files}
    for headers, library in pairs.items():
        assert development[headers] == installed[library]


def test_every_wheel_that_may_be_taken_is_pinned_with_its_hash() -> None:
    for file in (BUILD_TOOLS, HERE / "cuda.requirements"):
        for line in read_requirements(file):
            name, _, digest = line.partition(" --hash=sha256:")
            assert "==" in name
            assert len(digest) == 64
    pinned = {line.split("==")[0] for line in read_requirements(HERE / "cuda.requirements")}
    wanted = {
        name for part in toolkit.PARTS.values() for names in part[2].values() for name in names
    }
    wanted |= set(toolkit.COMPILER_WHEELS) | {n for names in cudnn.WHEELS.values() for n in names}
    assert wanted <= pinned


# --- the toolkit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (NVCC_12, (12, 4)),
        ("Cuda compilation tools, release 11.8, V11.8.89", (11, 8)),
        ("Cuda compilation tools, release 13.0, V13.0.88", (13, 0)),
    ],
)
def test_nvcc_says_its_version(text: str, version: tuple[int, int]) -> None:
    assert toolkit.parse_version(text, Path("nvcc")) == version


@pytest.mark.parametrize("release", ["10.2", "9.0", "14.1"])
def test_an_unknown_cuda_is_refused_by_name(release: str) -> None:
    with pytest.raises(UserError, match=rf"/x/nvcc is of CUDA {release}: .*11, 12 or 13"):
        toolkit.parse_version(f"Cuda compilation tools, release {release}, V1", Path("/x/nvcc"))


def test_what_is_no_nvcc_is_refused() -> None:
    with pytest.raises(UserError, match="does not say which CUDA it is: 'hello'"):
        toolkit.parse_version("hello\n", Path("/x/nvcc"))


@pytest.mark.usefixtures("compilers")
def test_cuda_home_without_nvcc(tmp_path: Path) -> None:
    done = run_tool("--into", tmp_path / "caffe", CUDA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: CUDA_HOME={tmp_path}: there is no bin/nvcc in it; unset it, or name a CUDA "
        "toolkit\n"
    )
    assert not (tmp_path / "caffe").exists()


@pytest.mark.usefixtures("compilers")
def test_unknown_cuda_ends_the_command_before_anything_is_made(tmp_path: Path) -> None:
    make_nvcc(tmp_path / "cuda", "10.2")
    done = run_tool("--into", tmp_path / "caffe", CUDA_HOME=str(tmp_path / "cuda"))
    assert done.returncode == 2
    assert "is of CUDA 10.2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "caffe").exists()


def test_no_nvcc_anywhere_and_no_wheels_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolkit, "USUAL_HOME", tmp_path / "none")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert toolkit.find_nvcc() is None
    with pytest.raises(UserError, match=r"pip could not install .*nvidia-cuda-nvcc==13"):
        toolkit.find_toolkit(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("wheels")]


def test_nvcc_is_found_in_cuda_home_then_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_nvcc(tmp_path / "one", "12.4"), make_nvcc(tmp_path / "other", "11.8")
    monkeypatch.setenv("PATH", f"{other.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    assert toolkit.find_nvcc() == other
    monkeypatch.setenv("CUDA_HOME", str(one.parent.parent))
    assert toolkit.find_nvcc() == one


def test_a_whole_toolkit_needs_no_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_toolkit(tmp_path / "cuda", "12.4")
    monkeypatch.setenv("CUDA_HOME", str(home))
    found = toolkit.find_toolkit(tmp_path / "work")
    assert (found.version, found.home, found.supported()) == ((12, 4), home, [80])
    assert found.includes == [home / "include"]
    assert not any(part.from_wheel for part in found.parts.values())
    assert f"-DCUDA_cublas_LIBRARY={home}/lib64/libcublas.so" in found.flags()


def test_cuda_13s_headers_need_cccl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_toolkit(tmp_path / "cuda", "13.0")
    (home / "include" / "cccl").mkdir()
    monkeypatch.setenv("CUDA_HOME", str(home))
    found = toolkit.find_toolkit(tmp_path / "work")
    assert found.includes == [home / "include", home / "include" / "cccl"]


def test_a_toolkit_without_its_runtime_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_toolkit(tmp_path / "cuda", "12.4")
    (home / "lib64" / "libcudart.so").unlink()
    (home / "include" / "cuda_runtime_api.h").unlink()
    monkeypatch.setenv("CUDA_HOME", str(home))
    with pytest.raises(UserError, match=r"has no cuda_runtime_api.h and libcudart.so"):
        toolkit.find_toolkit(tmp_path / "work")


def test_headers_that_are_searched_anyway_are_not_named(tmp_path: Path) -> None:
    """Debian's own toolkit: named, /usr/include hides the headers of C from those of C++."""
    standard, other = Path("/usr/include"), tmp_path / "include"
    parts = {
        name: toolkit.Part(include, tmp_path / "lib.so", from_wheel=False)
        for name, include in (("cudart", standard), ("cublas", standard), ("curand", other))
    }
    assert toolkit.Toolkit(tmp_path / "nvcc", tmp_path, (11, 8), parts).includes == [other]


def test_a_compiler_that_nvcc_does_not_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = make_toolkit(tmp_path / "cuda", "11.8")
    monkeypatch.setenv("CUDA_HOME", str(home))
    found = toolkit.find_toolkit(tmp_path)
    archs, usual = Archs((80,), 80), host.Host("g++", "gcc", "g++ 13")
    with pytest.raises(
        UserError, match=r"CUDA 11.8 .* cannot compile with g\+\+ 13: .*GNU version"
    ):
        host.accepted_host(found, archs, usual, tmp_path)
    folder = tmp_path / "compilers"
    folder.mkdir()
    for name in ("g++-12", "gcc-12", "g++-11", "gcc-11"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (test)'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    taken = host.accepted_host(found, archs, usual, tmp_path)
    assert (taken.cxx, taken.cc) == (str(folder / "g++-11"), str(folder / "gcc-11"))
    assert "does not accept g++ 13: " in capsys.readouterr().out
    monkeypatch.setenv("CXX", "g++")  # the user's own choice is not exchanged
    with pytest.raises(UserError, match=r"cannot compile with g\+\+ 13"):
        host.accepted_host(found, archs, usual, tmp_path)


def test_no_compiler_is_told_with_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match=r"needs g\+\+ and gcc: apt-get install g\+\+"):
        host.find_host()


# --- architectures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "cards", "binary", "ptx"),
    [
        (None, [], (75, 80, 90), 90),  # no card at hand
        (None, [86, 80, 86], (80, 86), 86),
        (None, [121], (120,), 120),  # newer than this nvcc: what it knows best
        (None, [99], (90,), 90),
        ("75 80 90", [86], (75, 80, 90), 90),
        ("9.0;8.0", [], (80, 90), 90),
        ("sm_89,compute_120", [], (89, 120), 120),
    ],
)
def test_architectures(
    asked: str | None, cards: list[int], binary: tuple[int, ...], ptx: int
) -> None:
    chosen = choose_archs(asked, cards, SUPPORTED, "nvcc")
    assert (chosen.binary, chosen.ptx) == (binary, ptx)
    assert chosen.flags() == [
        "-DCUDA_ARCH_NAME=Manual",
        f"-DCUDA_ARCH_BIN={' '.join(map(str, binary))}",
        f"-DCUDA_ARCH_PTX={ptx}",
    ]


@pytest.mark.parametrize("asked", ["pascal", "61", "7", "80 fast", "8.0.0"])
def test_an_architecture_that_nvcc_lacks_is_named_with_those_it_has(asked: str) -> None:
    with pytest.raises(UserError, match=r"CUDA_ARCH=.* is no architecture that nvcc .*75 80 86"):
        choose_archs(asked, [], SUPPORTED, "nvcc")


def test_a_card_too_old_for_this_cuda_is_told_the_way_out() -> None:
    with pytest.raises(
        UserError, match=r"sm_61, and nvcc 13 compiles for sm_75.*CUDA_HOME=.*CUDA 12"
    ):
        choose_archs(None, [61, 80], SUPPORTED, "nvcc 13")


def test_a_driver_older_than_the_toolkit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", "13.0")))
    from lib.caffe.cuda_driver import Card, Driver

    old = Driver((12, 4), (Card("some card", 80),))
    monkeypatch.setattr(build, "find_driver", lambda: old)
    options = build.Options(tmp_path / "caffe")
    with pytest.raises(UserError, match=r"driver serves CUDA 12.4, and CUDA 13.0 .* is newer"):
        build._find_cuda(options, tmp_path, host.Host("g++", "gcc", "g++"))


# --- cuDNN ------------------------------------------------------------------------------------


def version_text(major: int, minor: int = 1, patch: int = 2) -> str:
    return (
        f"#define CUDNN_MAJOR {major}\n#define CUDNN_MINOR {minor}\n"
        f"#define CUDNN_PATCHLEVEL {patch}\n#define CUDNN_VERSION (CUDNN_MAJOR * 10000)\n"
    )


def make_cudnn(folder: Path, major: int) -> Path:
    (folder / "include").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "include" / "cudnn.h").write_text('#include "cudnn_version.h"\n')
    (folder / "include" / "cudnn_version.h").write_text(version_text(major))
    (folder / "lib" / f"libcudnn.so.{major}").touch()
    return folder


@pytest.fixture
def some_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> toolkit.Toolkit:
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", "12.4")))
    return toolkit.find_toolkit(tmp_path / "work")


@pytest.mark.parametrize("major", [8, 9])
def test_cudnn_is_shown_to_cmake_in_the_form_it_looks_for(
    tmp_path: Path, some_toolkit: toolkit.Toolkit, major: int
) -> None:
    folder = make_cudnn(tmp_path / "dnn", major)
    found = cudnn.find_cudnn(str(folder), some_toolkit, tmp_path)
    assert found is not None
    assert (found.version, found.from_wheel) == ((major, 1, 2), False)
    flags = dict(flag[2:].split("=", 1) for flag in cudnn.flags(found, tmp_path))
    header = Path(flags["CUDNN_INCLUDE"]) / "cudnn.h"
    shown, made = header.read_text(), header.stat().st_mtime_ns
    cudnn.flags(found, tmp_path)
    assert header.stat().st_mtime_ns == made  # else a build that goes on would begin anew
    assert f"define CUDNN_MAJOR {major}" in shown
    assert f'#include "{folder}/include/cudnn.h"' in shown
    assert Path(flags["CUDNN_LIBRARY"]).name == "libcudnn.so"
    assert Path(flags["CUDNN_LIBRARY"]).resolve() == folder / "lib" / f"libcudnn.so.{major}"


def test_cudnn_0_builds_without(tmp_path: Path, some_toolkit: toolkit.Toolkit) -> None:
    assert cudnn.find_cudnn("0", some_toolkit, tmp_path) is None
    assert cudnn.flags(None, tmp_path) == ["-DUSE_CUDNN=OFF"]


def test_a_folder_without_cudnn_is_refused(tmp_path: Path, some_toolkit: toolkit.Toolkit) -> None:
    with pytest.raises(UserError, match=r"CUDNN=.*no cudnn.h and libcudnn.so in it; CUDNN=0"):
        cudnn.find_cudnn(str(tmp_path), some_toolkit, tmp_path)


def test_an_old_cudnn_is_refused_by_name(tmp_path: Path, some_toolkit: toolkit.Toolkit) -> None:
    folder = make_cudnn(tmp_path / "dnn", 7)
    with pytest.raises(UserError, match=r"is of cuDNN 7.1.2: .*8 or 9; .*CUDNN=0"):
        cudnn.find_cudnn(str(folder), some_toolkit, tmp_path)


# --- the sources ------------------------------------------------------------------------------

FIX = """\
Description: a fix
--- a/code/a.cpp
+++ b/code/a.cpp
@@ -1,2 +1,2 @@
-int a = 1;
+int a = 2;
 int b = 1;
"""


def pack(path: Path, files: dict[str, str]) -> Package:
    with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return Package("caffe", "1", "source", path.name, path.stat().st_size, str(len(files)) * 64)


def source_package(folder: Path, patch: str) -> dict[Package, Path]:
    folder.mkdir(exist_ok=True)
    debian = {"debian/patches/series": "fix\n", "debian/patches/fix": patch}
    paths = {folder / "caffe.orig.tar.gz": {"code/a.cpp": "int a = 1;\nint b = 1;\n"}}
    paths[folder / "caffe.debian.tar.xz"] = debian
    return {pack(path, files): path for path, files in paths.items()}


def test_sources_are_unpacked_with_debians_patches_and_only_once(tmp_path: Path) -> None:
    files = source_package(tmp_path / "files", FIX)
    # inside a repository, as the real ones are
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    into = unpack_source(files, tmp_path / "source")
    assert (into / "code" / "a.cpp").read_text() == "int a = 2;\nint b = 1;\n"
    (into / "built").touch()
    assert (unpack_source(files, into) / "built").exists()


def test_a_patch_that_does_not_apply_leaves_nothing(tmp_path: Path) -> None:
    files = source_package(tmp_path / "files", FIX.replace("int b", "int c"))
    with pytest.raises(UserError, match=r"Debian's patch fix does not apply: .*a.cpp"):
        unpack_source(files, tmp_path / "source")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]


def test_a_step_is_made_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    with pytest.raises(IsADirectoryError), making(folder, "one") as aside:
        aside.read_text()
    assert not folder.exists()
    with making(folder, "one"):
        pass
    assert is_made(folder, "one")
    assert not is_made(folder, "two")  # made from other things


# --- the build --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            [
                "[3/9] Building x",
                "FAILED: x",
                "/a.cpp:7:1: error: 'x' was not declared",
                "ninja: y",
            ],
            "/a.cpp:7:1: error: 'x' was not declared",
        ),
        (
            ["a.cpp: error: 1", "cc1plus: fatal error: a.o: No space left on device"],
            "cc1plus: fatal error: a.o: No space left on device (the disk is full: free some)",
        ),
        (
            ["g++: fatal error: Killed signal terminated program cc1plus"],
            "g++: fatal error: Killed signal terminated program cc1plus (the memory did not "
            "suffice: fewer compilers at once (JOBS=1))",
        ),
        (
            ["CMake Error at cmake/X.cmake:3 (message):", "  Could not find Y", "", "ok"],
            "CMake Error at cmake/X.cmake:3 (message): Could not find Y",
        ),
        (["nothing", "at all", ""], "at all"),
        ([], "no reason given"),
    ],
)
def test_the_reason_of_a_failed_build(lines: list[str], words: str) -> None:
    assert reason(lines) == words


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real CMake and Ninja that builds use."""
    return install_wheels(
        read_requirements(BUILD_TOOLS), tmp_path_factory.mktemp("tools") / "tools"
    )


# Eight steps that no compiler is needed for, each of which takes a while.
CMAKE = """\
cmake_minimum_required(VERSION 3.20)
project(steps NONE)
foreach(n RANGE 1 8)
  add_custom_command(OUTPUT ${n}.o COMMAND sh ${CMAKE_SOURCE_DIR}/step.sh ${n}.o)
  list(APPEND all ${n}.o)
endforeach()
add_custom_target(everything ALL DEPENDS ${all})
add_custom_command(OUTPUT bad.o COMMAND sh ${CMAKE_SOURCE_DIR}/bad.sh)
add_custom_target(bad DEPENDS bad.o)
"""
DRIVER = """\
import sys
from pathlib import Path
from lib.caffe.gpu.compiler import Compiler
compiler = Compiler(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), "`make caffe-gpu`")
compiler.configure([])
compiler.compile(["all"], 1)
"""


def steps(folder: Path) -> Path:
    source = folder / "source"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(CMAKE)
    (source / "step.sh").write_text("sleep 0.3; touch $1\n")
    (source / "bad.sh").write_text("echo 'a.cpp:1: error: no such thing'; exit 1\n")
    return source


@pytest.mark.slow
def test_a_build_killed_in_the_middle_goes_on_where_it_was(tools: Path, tmp_path: Path) -> None:
    source, folder = steps(tmp_path), tmp_path / "build"
    command = [sys.executable, "-c", DRIVER, str(tools), str(source), str(folder)]
    first = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.o"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = len(list(folder.glob("*.o")))
    assert 3 <= done < 8
    time.sleep(1)  # the step that was at work, and Ninja, which finds nobody to report to, end
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.o")}
    assert len(before) < 8
    subprocess.run(command, cwd=PROJECT, check=True, stderr=subprocess.DEVNULL)
    assert len(list(folder.glob("*.o"))) == 8
    again = {name for name, when in before.items() if (folder / name).stat().st_mtime_ns != when}
    assert len(again) <= 1  # at most the one whose end Ninja had not noted yet
    log = (folder / "build.log").read_text()
    assert log.count("cmake -S") == 1  # not configured again


def test_a_failed_build_says_which_log_and_what_to_do(tools: Path, tmp_path: Path) -> None:
    source = steps(tmp_path)
    compiler = Compiler(tools, source, tmp_path / "build", "`make caffe-gpu`")
    compiler.configure([])
    with pytest.raises(UserError) as failed:
        compiler.compile(["bad"], 1)
    assert str(failed.value) == (
        f"a compiler failed: a.cpp:1: error: no such thing; the whole log: {compiler.log}; "
        "`make caffe-gpu` goes on from there"
    )


def test_a_full_disk_is_told_even_when_nothing_can_be_logged(tools: Path, tmp_path: Path) -> None:
    compiler = Compiler(tools, steps(tmp_path), tmp_path / "build", "`make caffe-gpu`")
    compiler.folder.mkdir()
    compiler.log.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*build.log: No space left on device"):
        compiler.configure([])


def test_cmake_that_cannot_go_on_is_tried_again(tools: Path, tmp_path: Path) -> None:
    source = steps(tmp_path)
    compiler = Compiler(tools, source, tmp_path / "build", "`make caffe-gpu`")
    (source / "CMakeLists.txt").write_text('project(x NONE)\nmessage(FATAL_ERROR "no luck")\n')
    with pytest.raises(UserError, match=r"CMake Error .*no luck"):
        compiler.configure([])
    (source / "CMakeLists.txt").write_text(CMAKE)
    compiler.configure([])


@pytest.mark.usefixtures("compilers")
def test_no_space_is_told_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "NEEDED", 10**18)
    with pytest.raises(UserError, match="not enough disk space for the build of Caffe"):
        build.build(build.Options(tmp_path / "caffe", cpu=True))
    assert not (tmp_path / "caffe").exists()


@pytest.mark.usefixtures("compilers")
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not a Caffe that was built here: it is left alone"):
        build.build(build.Options(tmp_path / "mine", cpu=True))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.usefixtures("compilers")
def test_what_is_built_already_is_not_built_again_unless_damaged(tmp_path: Path) -> None:
    options = build.Options(tmp_path / "caffe", cpu=True)
    build_key = build._build_key(options, host.find_host())
    (options.into / "root").mkdir(parents=True)
    (options.into / "root" / "libcaffe.so").write_text("it")
    assemble._write_list(options.into)
    (options.into / assemble.RECORD).write_text(json.dumps({"build_key": build_key}))
    assert build.build(options) == [f"{options.into}: up to date"]
    (options.into / "root" / "libcaffe.so").write_text("i")
    assert not assemble.is_intact(options.into)
    # another recipe is another build
    assert build._build_key(build.Options(options.into), host.find_host()) != build_key


def test_a_program_that_lacks_something_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(UserError, match=r"broken was compiled, but it lacks: "):
        assemble._check_links([tmp_path / "broken"])
    assemble._check_links([Path(sys.executable).resolve()])


def test_flags_name_one_opencv_one_python_and_our_header() -> None:
    flags = caffe_flags.common_flags(Path("/p"), includes=[Path("/cuda/include")])
    (cxx,) = [flag for flag in flags if flag.startswith("-DCMAKE_CXX_FLAGS=")]
    assert f"-include {caffe_flags.COMPAT}" in cxx
    assert cxx.endswith("-isystem /cuda/include -w")
    assert all(flag.startswith("-D") for flag in flags)
    assert "-DBLAS=Generic" in flags  # Debian's way: libblas.so.3, which is OpenBLAS's here


def test_cuda_13_is_told_not_to_hide_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvcc_flags = {}
    for version in ("12.4", "13.0"):
        monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / version, version)))
        found = toolkit.find_toolkit(tmp_path / "work")
        flags = caffe_flags.gpu_flags(Path("/p"), found, Archs((80,), 80), "g++")
        (nvcc_flags[version],) = [f for f in flags if f.startswith("-DCUDA_NVCC_FLAGS=")]
    hidden = "-static-global-template-stub=false;-device-entity-has-hidden-visibility=false"
    assert hidden in nvcc_flags["13.0"]
    assert hidden not in nvcc_flags["12.4"]  # whose nvcc may not know these flags


# --- which engine -----------------------------------------------------------------------------


@pytest.fixture
def two_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A CPU Caffe and a GPU build, as far as their being there goes."""
    monkeypatch.delenv("CAFFE_PYTHON", raising=False)
    made = []
    for name in ("INSTALLED", "GPU_BUILD"):
        python = tmp_path / name
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
        monkeypatch.setattr(client, name, python)
        made.append(python)
    return made[0], made[1]


@pytest.mark.parametrize("there", [True, False])
def test_the_gpu_build_is_taken_where_a_gpu_works(
    two_engines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    cpu, gpu = two_engines
    monkeypatch.setattr(client, "sees_gpu", lambda: there)
    assert find_engine().python == (gpu if there else cpu)
    assert find_engine(gpu=False).python == cpu
    monkeypatch.setenv("CAFFE_PYTHON", sys.executable)
    assert find_engine().python == Path(sys.executable)
    monkeypatch.delenv("CAFFE_PYTHON")
    gpu.unlink()
    assert find_engine().python == cpu


def test_the_driver_is_asked_without_harm() -> None:
    driver = find_driver()
    there = Path("/proc/driver/nvidia/version").exists()
    assert driver is None or (there and driver.cuda >= (9, 0))
    assert client.sees_gpu() == bool(driver and driver.cards)


def test_an_engine_without_a_build_record_says_none(engine: Engine) -> None:
    about = engine.call("about", {})
    assert about["build"] is None or about["build"]["source"].startswith("1.0.0")


def test_the_probe_computes(engine: Engine) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import verb_about as v"
    code += "; print(v.gpu_works('cpu'), v.gpu_works(99))"
    done = subprocess.run(
        [str(engine.python), "-c", code, str(PROJECT / "lib" / "caffe" / "worker")],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["True", "False"]


# --- tests on the card, parity ----------------------------------------------------------------


def test_the_outcome_of_caffes_own_tests_is_read_right() -> None:
    outcome = caffe_gpu_test.Outcome()
    text = """\
Note: Google Test filter = *
[==========] Running 4 tests from 2 test cases.
[ RUN      ] NetTest/0.TestA
[       OK ] NetTest/0.TestA (3 ms)
[ RUN      ] NetTest/0.TestB
src/x.cpp:3: Failure
[  FAILED  ] NetTest/0.TestB, where TypeParam = caffe::GPUDevice<float> (1 ms)
[ RUN      ] BlobTest.TestC
[       OK ] BlobTest.TestC (3 ms)
[ RUN      ] BlobTest.TestD
"""
    ended = sum(outcome.read(line + "\n") for line in text.splitlines())
    assert (ended, outcome.total, outcome.passed) == (3, 4, 2)
    assert outcome.failed == ["NetTest/0.TestB"]
    assert outcome.last == "BlobTest.TestD"  # begun, and never ended: Caffe aborted
    # the summary at the end names failures again: they are not counted twice
    assert not outcome.read("[  FAILED  ] NetTest/0.TestB, where TypeParam = x\n")
    assert outcome.failed == ["NetTest/0.TestB"]


def test_differences_are_told_and_too_large_ones_named() -> None:
    one = np.array([3.0, 4.0], np.float32)
    same = parity.difference("forward", "conv1", one, one)
    assert (same.largest, same.relative) == (0, 0)
    far = parity.difference("forward", "conv2", one, one + np.array([0, 0.5]))
    assert (far.largest, far.relative) == (0.5, 0.1)
    lost = parity.difference("backward", "fc6[0]", one, one * np.nan)
    assert parity.too_far([same, far, lost], [(1.0, 1.0), (1.0, 1.1), (1.0, float("nan"))]) == [
        "forward conv2 (1.0e-01)",
        "backward fc6[0] (nan)",
        "loss of iteration 2 (1.0e-01)",
        "loss of iteration 3 (nan)",
    ]
    with pytest.raises(UserError, match="shapes differ"):
        parity.difference("forward", "conv1", one, one[:1])


NET = """\
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ crop_size: 33 mirror: true }}
  data_param {{ source: "not read" batch_size: 2 backend: LMDB }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 4 kernel_size: 5 stride: 2
    weight_filler {{ type: "gaussian" std: {std} }} }} }}
layer {{ name: "drop" type: "Dropout" bottom: "conv1" top: "conv1" }}
layer {{ name: "fc8" type: "InnerProduct" bottom: "conv1" top: "fc8"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "fc8" bottom: "label" top: "accuracy"
  include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss" }}
"""


def test_parity_of_the_engine_with_itself_is_exact(engine: Engine, tmp_path: Path) -> None:
    net, table = tmp_path / "net.prototxt", tmp_path / "table.md"
    net.write_text(NET.format(std=0.01))
    command = [sys.executable, "-m", "tools.parity", "--gpu", "none", "--threads", "1"]
    command += ["--net", str(net), "--batch", "3", "--iterations", "2", "--out", str(table)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = table.read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| forward", "| backward"))]
    names = [line.split(" | ")[1] for line in rows]
    assert names == [
        *("data", "label", "conv1", "fc8", "loss"),
        *("conv1", "fc8", "loss", "conv1[0]", "conv1[1]", "fc8[0]", "fc8[1]"),
    ]
    assert "16 of 16 arrays are the same, bit for bit." in text
    assert "| 2 | " in text


def test_parity_needs_a_gpu_or_another_engine(tmp_path: Path) -> None:
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(
        [sys.executable, "-m", "tools.parity", "--gpu", "0"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2
    assert "GPU=0: the Caffe of" in done.stderr
    assert "make caffe-gpu" in done.stderr
