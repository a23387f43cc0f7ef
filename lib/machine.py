"""What this process may use of the machine: cores and memory, as its container is limited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def usable_cores(groups: Path = _GROUPS, ours: Path = _OURS) -> int:
    """The cores that this process may use: as it is bound, and as its control groups allow.

    A quota of less than one core counts as one. Both versions of control groups are read (v2:
    cpu.max; v1: cpu.cfs_quota_us), those around the process's own too. The arguments are for tests.
    """
    cores = len(os.sched_getaffinity(0))
    for folder in _own_groups("cpu", groups, ours):
        words = _read(folder / "cpu.max").split() or [
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and all(word.isdigit() and int(word) for word in words):
            cores = min(cores, max(1, int(words[0]) // int(words[1])))
    return cores


def free_memory(groups: Path = _GROUPS, ours: Path = _OURS) -> float:
    """Bytes of memory that new processes can have, as the control groups allow."""
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii").split("\n")
    free = next(int(line.split()[1]) * 1024.0 for line in meminfo if line.startswith("MemAvail"))
    for folder in _own_groups("memory", groups, ours):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            most, now = _read(folder / limit), _read(folder / used)
            if most.isdigit() and now.isdigit():
                free = min(free, max(0.0, float(most) - float(now)))
    return free


def _own_groups(controller: str, groups: Path, ours: Path) -> Iterator[Path]:
    """The folders of this process's control groups for `controller`, and of those around them.

    In a container /proc often names a group as the host sees it, while only the inner part is
    mounted: so the top of the mount is always among them.
    """
    for line in _read(ours).split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            top = groups  # version 2
        elif controller in controllers.split(","):
            top = groups / controllers
            top = top if top.is_dir() else groups / controller
        else:
            continue
        group = top / path.strip("/")
        yield group
        while group != top and group.is_relative_to(top):
            group = group.parent
            yield group


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
