"""Cores and memory as a container's limits leave them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib.machine import free_memory, usable_cores

ALL = len(os.sched_getaffinity(0))


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root / "fs", root / "own"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"own": "0::/", "fs/cpu.max": "100000 100000"}, 1),
        ({"own": "0::/", "fs/cpu.max": "50000 100000"}, 1),
        ({"own": "0::/", "fs/cpu.max": "max 100000"}, ALL),
        ({"own": "0::/", "fs/cpu.max": f"{ALL * 2}00000 100000"}, ALL),
        ({"own": "0::/a/b", "fs/a/cpu.max": "100000 100000", "fs/a/b/cpu.max": "max 1000"}, 1),
        ({"own": "0::/seen/by/the/host", "fs/cpu.max": "100000 100000"}, 1),
        (
            {
                "own": "4:cpu,cpuacct:/docker/1\n0::/",
                "fs/cpu,cpuacct/cpu.cfs_quota_us": "150000",
                "fs/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            1,
        ),
        (
            {
                "own": "4:cpu,cpuacct:/docker/1",
                "fs/cpu/docker/1/cpu.cfs_quota_us": "-1",
                "fs/cpu/docker/1/cpu.cfs_period_us": "100000",
            },
            ALL,
        ),
        ({}, ALL),
    ],
)
def test_cores(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert usable_cores(*write(tmp_path, files)) == cores


def test_a_process_bound_to_one_core() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    "files",
    [
        {"own": "0::/", "fs/memory.max": "5000000", "fs/memory.current": "2000000"},
        {
            "own": "7:memory:/x",
            "fs/memory/memory.limit_in_bytes": "5000000",
            "fs/memory/memory.usage_in_bytes": "2000000",
        },
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str]) -> None:
    assert free_memory(*write(tmp_path, files)) == 3e6
    assert free_memory(tmp_path / "none", tmp_path / "none") > 3e6
