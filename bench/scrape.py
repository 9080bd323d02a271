"""What a server says of itself in Prometheus's text format."""

from __future__ import annotations

import aiohttp

__all__ = ["Samples", "mean_ms", "samples", "upper_bound_ms"]

Samples = dict[str, float]
"""Value by name with labels, as `hubbub_commit_seconds_bucket{le="0.01"}`."""


async def samples(url: str, prefix: str) -> Samples:
    """The samples whose names begin with `prefix`."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        text = await response.text()
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(prefix))
    return {name: float(value) for name, _, value in lines}


def mean_ms(before: Samples, after: Samples, name: str) -> float:
    """The mean of what a histogram of seconds observed in between."""
    count = after[f"{name}_count"] - before[f"{name}_count"]
    return (after[f"{name}_sum"] - before[f"{name}_sum"]) / count * 1000 if count else 0.0


def upper_bound_ms(before: Samples, after: Samples, name: str, percent: float) -> float:
    """The upper bound of the bucket that holds this percentile of what was observed in between."""
    wanted = (after[f"{name}_count"] - before[f"{name}_count"]) * percent / 100
    for bucket, value in after.items():
        if bucket.startswith(f"{name}_bucket") and value - before[bucket] >= wanted:
            return float(bucket.partition('le="')[2].partition('"')[0]) * 1000
    return float("inf")
