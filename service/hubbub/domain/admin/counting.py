"""What this node counts, read in one go for the figures."""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from hubbub.domain.admin.stats import Counters
from hubbub.telemetry import Metrics

__all__ = ["count", "memory_bytes"]

_STATM: Final = Path("/proc/self/statm")


def count(metrics: Metrics, *, users: int, rooms: int) -> Counters:
    """The counters as they stand. Costs some hundred microseconds."""
    connections = {
        sample.labels["namespace"]: round(sample.value)
        for metric in metrics.connections.collect()
        for sample in metric.samples
    }
    events, refusals = metrics.events.totals()
    return Counters(
        connections=connections,
        users=users,
        rooms=rooms,
        messages=metrics.messages.value,
        deliveries=metrics.deliveries.value,
        events=events,
        refusals=refusals,
        cpu_s=time.process_time(),
        memory_bytes=memory_bytes(),
    )


def memory_bytes() -> int:
    """What this process has in memory; where the system does not say, the most that it ever had."""
    with suppress(OSError, IndexError, ValueError):
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
