"""What this process may have of its machine: cores and memory, also by the limits of containers (cgroups, version 1 and 2).

Groups lie in one another, and the smallest limit up the tree holds. `root` is where the files of the system are: tests have others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_MOUNT = "sys/fs/cgroup"


def cores(root: str = "/") -> int:
    """How many processors this process may use at once."""
    try:
        found = [len(os.sched_getaffinity(0))]
    except AttributeError:
        found = [os.cpu_count() or 1]
    for group in _groups(root, "cpuset"):
        found.append(_listed(_read(group, "cpuset.cpus.effective") or _read(group, "cpuset.cpus")))
    for group in _groups(root, "cpu"):
        quota, period, *_ = [*_read(group, "cpu.max").split(), "", ""]
        quota = quota or _read(group, "cpu.cfs_quota_us")
        period = period or _read(group, "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(-(-int(quota) // int(period)))
    return max(1, min(count for count in found if count))


def memory(root: str = "/") -> int | None:
    """Bytes of memory that this process could have if it had the machine, or its container, for itself; None where nobody tells."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        found = []
    found += [limit for group in _groups(root, "memory") for limit in _limits(group)]
    return min(found, default=None)


def available(root: str = "/") -> int | None:
    """Bytes of memory that this process can still have; None where nobody tells."""
    found = []
    for line in _read(root, "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:") and line.split()[1].isdecimal():
            found.append(1024 * int(line.split()[1]))
    for group in _groups(root, "memory"):
        used = _read(group, "memory.current") or _read(group, "memory.usage_in_bytes")
        if used.isdecimal():
            # Files that nobody has read for long are let go before anything is refused.
            needed = int(used) - _reclaimable(group)
            found += [max(0, limit - needed) for limit in _limits(group)]
    return min(found, default=None)


def _limits(group: str) -> list[int]:
    read = (_read(group, name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes"))
    return [int(limit) for limit in read if limit.isdecimal()]


def _reclaimable(group: str) -> int:
    lines = dict(line.partition(" ")[::2] for line in _read(group, "memory.stat").splitlines())
    value = lines.get("total_inactive_file") or lines.get("inactive_file", "")
    return int(value) if value.isdecimal() else 0


def _groups(root: str, controller: str) -> Iterator[str]:
    """The folders of the groups that limit this process by a controller, each before the one it lies in."""
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        if not names:
            mounts = ["", "unified"]
        elif controller in names.split(","):
            mounts = [names, controller]
        else:
            continue
        for mount in mounts:
            top = os.path.join(root, _MOUNT, mount)
            if os.path.isdir(top) and (mount or os.path.isfile(os.path.join(top, "cgroup.controllers"))):
                yield from _up(top, path)
                break


def _up(top: str, path: str) -> Iterator[str]:
    parts = [part for part in path.split("/") if part]
    # Seen from inside a container the path may be one of outside: then the container's own group is mounted.
    if ".." in parts or not os.path.isdir(os.path.join(top, *parts)):
        parts = []
    for count in reversed(range(len(parts) + 1)):
        yield os.path.join(top, *parts[:count])


def _listed(text: str) -> int:
    """How many processors a list like `0-3,8` names; 0 for none."""
    count = 0
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return 0
        count += max(0, int(last or first) - int(first) + 1)
    return count


def _read(folder: str, name: str) -> str:
    """The text of a small file of the system; empty where there is none."""
    try:
        with open(os.path.join(folder, name), encoding="ascii", errors="replace") as file:
            return file.read(1 << 16).strip()
    except OSError:
        return ""
