"""From what was compiled to a folder like `.caffe`: programs, pycaffe, libraries, launchers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lib.caffe.gpu.compiler import Compiler
from lib.caffe.gpu.prefix import LIBRARY
from lib.caffe.install.launchers import write_launchers
from lib.caffe.install.runpaths import set_run_paths
from lib.errors import UserError
from lib.files import whole_folder

RECORD = "build.json"
TESTS = "tests"  # in the result: what Caffe's own tests read, where they look for it
_FILES = "files.tsv"
_PYCAFFE = "usr/lib/python3/dist-packages/caffe"
_TEST_DATA = ("src/caffe/test/test_data", "examples/images")
# What only compilers need.
_LEFT_OUT = ("usr/include", "usr/share/doc", f"{LIBRARY}/cmake", f"{LIBRARY}/pkgconfig")
_LEFT_OUT_ENDS = (".a", ".o", ".la")
_CUDA_LIBRARIES = ("libcudart", "libcublas", "libcurand", "libcudnn", "libnvrtc")


def assemble(
    into: Path,
    compiler: Compiler,
    prefix: Path,
    cuda_libraries: list[Path],
    work: Path,
    record: dict[str, Any],
    *,
    blas: str,
) -> dict[str, Any]:
    """Make the folder `into` from a finished build; returns its record, completed.

    `cuda_libraries` that lie in `work` (they came as wheels) are taken along; others stay where
    the toolkit has them. `blas` says which BLAS the prefix has (install.blas). Raises UserError
    unless every program finds all that it needs, and Python can import Caffe.
    """
    with whole_folder(into) as aside:
        root = aside / "root"
        _link_tree(prefix, root)
        made = _take_results(compiler, root, aside)
        folders = _take_cuda(cuda_libraries, work, aside)
        set_run_paths(root, made, more=folders)
        _check_links(made)
        write_launchers(aside, blas)
        record["caffe"] = _import_version(aside)
        record["bytes"] = _write_list(aside)
        shutil.copy2(compiler.log, aside / compiler.log.name)
        (aside / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def is_intact(folder: Path) -> bool:
    """Whether all that was assembled is there, with no file gone or cut off."""
    try:
        lines = (folder / _FILES).read_text(encoding="utf-8").splitlines()
        return all(
            (folder / path).lstat().st_size == int(size)
            for size, path in (line.split("\t") for line in lines)
        )
    except (OSError, ValueError):
        return False


def _link_tree(prefix: Path, root: Path) -> None:
    """The prefix without what only compilers need; hard links, where the file system has them."""
    left_out = {prefix / path for path in _LEFT_OUT}

    def ignore(folder: str, names: list[str]) -> list[str]:
        here = Path(folder)
        return [
            name
            for name in names
            if here / name in left_out or name.endswith(_LEFT_OUT_ENDS) or name == ".made-by"
        ]

    shutil.copytree(prefix, root, symlinks=True, ignore=ignore, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _take_results(compiler: Compiler, root: Path, aside: Path) -> list[Path]:
    """Caffe's own programs, library and Python package, and what its tests read."""
    staging = aside / "staging"
    compiler.install(staging)
    gtest = staging / "usr" / "bin" / "caffe-gtest"
    shutil.copy2(compiler.folder / "test" / "test.testbin", gtest)
    made = []
    for folder in ("usr/bin", LIBRARY, _PYCAFFE):
        for path in sorted((staging / folder).rglob("*")):
            if path.is_dir() or path.name.endswith(".a"):
                continue
            target = root / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            if not target.is_symlink():
                made.append(target)
    shutil.rmtree(staging)
    for folder in _TEST_DATA:
        shutil.copytree(compiler.source / folder, aside / TESTS / folder)
    return [path for path in made if path.suffix not in (".py", ".npy")]


def _take_cuda(libraries: list[Path], work: Path, aside: Path) -> list[Path | str]:
    """Where the programs shall look for CUDA's libraries: beside them, or in the toolkit."""
    folders: list[Path | str] = []
    inside = aside / "cuda" / "lib"
    for folder in dict.fromkeys(library.resolve().parent for library in libraries):
        if not folder.is_relative_to(work):
            folders.append(str(folder))
            continue
        inside.mkdir(parents=True, exist_ok=True)
        for path in _shared(folder.parent.parent.parent):
            if not (inside / path.name).exists():
                _link(str(path), str(inside / path.name))
    return [inside, *folders] if inside.exists() else folders


def _shared(wheels: Path) -> Iterator[Path]:
    """The libraries that Caffe and cuDNN load, of a folder of wheels."""
    for path in sorted((wheels / "nvidia").rglob("lib*.so*")):
        if path.name.startswith(_CUDA_LIBRARIES) and ".alt." not in path.name:
            yield path


def _check_links(made: Iterable[Path]) -> None:
    """Let the loader resolve everything, functions too; UserError with what it does not find."""
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    environment["LC_ALL"] = "C"
    for path in made:
        done = subprocess.run(
            ["ldd", "-r", str(path)], capture_output=True, text=True, env=environment
        )
        lacks = re.findall(
            r"(\S+ => not found|undefined symbol: \S+|version .* not found.*)",
            done.stdout + done.stderr,
        )
        if lacks or done.returncode:
            words = "; ".join(lacks[:3]) or done.stderr.strip()
            raise UserError(f"{path.name} was compiled, but it lacks: {words}")


def _import_version(aside: Path) -> str:
    """Let the new Python import the new Caffe, from the new folder."""
    code = "import caffe; print(caffe.__version__); print(caffe.__file__)"
    # A first import compiles Caffe's modules, which saves a second at every start to come.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [str(aside / "bin" / "python"), "-c", code], capture_output=True, text=True, env=environment
    )
    said = done.stdout.splitlines()
    if done.returncode or len(said) != 2:
        words = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"the new Caffe was built, but Python cannot import it: {words}")
    if not Path(said[1]).is_relative_to(aside.resolve()):
        raise UserError(f"Python imports another Caffe than the new one: {said[1]}")
    return said[0]


def _write_list(folder: Path) -> int:
    """List Caffe's own files and CUDA's; returns the bytes of all files."""
    total = 0
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        size = path.lstat().st_size
        total += size
        inside = path.relative_to(folder).as_posix()
        if "__pycache__" not in path.parts and inside.startswith(("root/", "cuda/", "tests/")):
            lines.append(f"{size}\t{inside}\n")
    (folder / _FILES).write_text("".join(lines), encoding="utf-8")
    return total
