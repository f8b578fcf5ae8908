"""How many processors this process may use, which in a container are fewer than the machine's."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cpu_count(cgroup: Path = _CGROUP) -> int:
    """
    Return the number of processors that the affinity and the control group leave; at least one.

    A quota of one and a half processors counts as two.
    """
    own = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return own if quota is None else max(1, min(own, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return how many processors' time may be used, or None where that is not limited."""
    try:
        text = (cgroup / "cpu.max").read_text()  # version 2: "150000 100000", or "max 100000"
    except OSError:
        text = _version_1(cgroup)
    limit, period = (*text.split(), "", "")[:2]
    if not (limit.isdigit() and period.isdigit() and int(period)):
        return None  # "max", "-1", or none at all
    return int(limit) / int(period)


def _version_1(cgroup: Path) -> str:
    names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
    try:
        return " ".join((cgroup / "cpu" / name).read_text().strip() for name in names)
    except OSError:
        return ""
