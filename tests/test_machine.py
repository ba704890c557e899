"""The limits of containers hold for cores and memory: fake trees of both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild import machine

GIB = 1 << 30


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 processors and 64 GiB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(16), raising=False)
    pages = 64 * GIB // os.sysconf("SC_PAGE_SIZE")
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: pages if name == "SC_PHYS_PAGES" else real(name))


def tree(root: Path, **files: str) -> str:
    """A system with these files below /sys/fs/cgroup, and `proc` as /proc/self/cgroup; `__` stands for a slash."""
    for name, text in files.items():
        path = {"proc": "proc/self/cgroup", "meminfo": "proc/meminfo"}.get(name, "sys/fs/cgroup/" + name)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n")
    return str(root)


def v2(root: Path, path: str, files: dict[str, str]) -> str:
    return tree(root, **{"proc": f"0::{path}", "cgroup.controllers": "cpu memory", **files})


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    root = tree(tmp_path, meminfo="MemTotal: 9 kB\nMemAvailable:    5000 kB")
    assert (machine.cores(root), machine.memory(root), machine.available(root)) == (16, 64 * GIB, 5000 * 1024)
    assert machine.available(str(tmp_path / "none")) is None
    root = v2(tmp_path, "/", {"memory.max": "max", "memory.high": "max", "cpu.max": "max 100000"})
    assert (machine.cores(root), machine.memory(root)) == (16, 64 * GIB)


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({"a/b/cpu.max": "150000 100000", "a/b/memory.max": str(GIB)}, 2, GIB),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "800000 100000", "a/memory.max": str(GIB)}, 3, GIB),
        ({"a/memory.max": str(2 * GIB), "a/b/memory.high": str(GIB), "a/b/cpu.max": "1000 100000"}, 1, GIB),
        ({"a/b/cpuset.cpus.effective": "0-2,7"}, 4, 64 * GIB),
        ({"a/b/cpu.max": "nonsense", "a/b/memory.max": "-1", "a/b/cpuset.cpus.effective": "x-y"}, 16, 64 * GIB),
    ],
)
def test_the_smallest_limit_up_the_tree_holds(tmp_path: Path, files: dict[str, str], cores: int, memory: int) -> None:
    (tmp_path / "sys/fs/cgroup/a/b").mkdir(parents=True)
    root = v2(tmp_path, "/a/b", files)
    assert (machine.cores(root), machine.memory(root)) == (cores, memory)


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        **{
            "proc": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n2:cpuset:/docker\n1:name=systemd:/y",
            "memory/docker/x/memory.limit_in_bytes": "9223372036854771712",
            "memory/docker/memory.limit_in_bytes": str(GIB),
            "memory/docker/memory.usage_in_bytes": str(GIB // 2),
            "memory/docker/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 4}",
            "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            "cpuset/docker/cpuset.cpus": "0-7",
        },
    )
    assert (machine.cores(root), machine.memory(root), machine.available(root)) == (3, GIB, GIB * 3 // 4)
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us").write_text("-1")
    assert machine.cores(root) == 8


@pytest.mark.parametrize("path", ["/of/the/host", "/../.."])
def test_inside_a_container_its_own_group_is_at_the_top(tmp_path: Path, path: str) -> None:
    root = v2(tmp_path, path, {"memory.max": str(GIB), "memory.current": str(GIB // 2), "memory.high": str(2 * GIB)})
    assert (machine.memory(root), machine.available(root)) == (GIB, GIB // 2)
