"""Every metric and every log field, defined once.

A log line never holds a body or a token. Metrics have no label whose values clients can choose.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, Protocol

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hubbub.loglines import LineLogger, LineWriter

__all__ = ["ControlState", "Count", "Events", "Metrics", "Verdicts", "WriterState", "configure_logging"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Count(Collector):
    """A counter without labels that only the event loop's thread counts. The library's own takes a lock each time."""

    __slots__ = ("_name", "_text", "value")

    def __init__(self, name: str, text: str, *, registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self.value = 0
        registry.register(self)

    def inc(self, amount: int = 1) -> None:
        self.value += amount

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self.value)


class _Event:
    """What is known of the events of one name."""

    __slots__ = ("buckets", "codes", "seconds")

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.buckets = [0] * (len(_SECONDS) + 1)
        self.seconds = 0.0


class Events(Collector):
    """Counts and durations of events, or of what else is handled `by` name, counted by the event loop's thread in plain
    numbers: there is one for every message, and the library's two metrics took as long as its permissions. They become
    metrics when somebody asks.
    """

    def __init__(self, of: str, text: str, *, by: str, registry: CollectorRegistry) -> None:
        self._of = of
        self._text = text
        self._by = by
        self._events: dict[str, _Event] = {}
        registry.register(self)

    def add(self, name: str, code: str, seconds: float) -> None:
        event = self._events.get(name)
        if event is None:
            event = self._events[name] = _Event()
        event.codes[code] = event.codes.get(code, 0) + 1
        event.buckets[bisect_left(_SECONDS, seconds)] += 1
        event.seconds += seconds

    def totals(self) -> tuple[int, int]:
        """How many events were handled, and how many of them refused."""
        handled = sum(sum(event.codes.values()) for event in self._events.values())
        return handled, handled - sum(event.codes.get("ok", 0) for event in self._events.values())

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily(f"hubbub_{self._of}s_total", self._text, labels=[self._by, "code"])
        durations = HistogramMetricFamily(f"hubbub_{self._of}_seconds", "From admission to answer.", labels=[self._by])
        for name, event in self._events.items():
            for code, count in event.codes.items():
                counts.add_metric([name, code], count)
            bounds = [*map(str, _SECONDS), "+Inf"]
            buckets = [*zip(bounds, accumulate(event.buckets), strict=True)]
            durations.add_metric([name], buckets, sum_value=event.seconds)
        yield counts
        yield durations


class Verdicts(Collector):
    """What filters said, counted as `Events` counts: there are several for every message. Names are the operator's."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        registry.register(self)

    def add(self, name: str, verdict: str) -> None:
        key = (name, verdict)
        self._counts[key] = self._counts.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily(
            "hubbub_filter_verdicts_total",
            "What filters said to messages: allow, replace, refuse, or failed.",
            labels=["filter", "verdict"],
        )
        for labels, count in self._counts.items():
            counts.add_metric(labels, count)
        yield counts


class WriterState(Protocol):
    """What is told of the writer: what waits or is being committed, and what went wrong since the start."""

    queued: int
    queued_bytes: int
    refused: int
    failed: int

    @property
    def oldest_s(self) -> float: ...


class _Backlog(Collector):
    def __init__(self, writer: WriterState, *, registry: CollectorRegistry) -> None:
        self._writer = writer
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        writer = self._writer
        yield GaugeMetricFamily("hubbub_writer_queue", "Writes that wait for the store.", value=writer.queued)
        yield GaugeMetricFamily(
            "hubbub_writer_queue_bytes", "What these take in memory, about.", value=writer.queued_bytes
        )
        yield GaugeMetricFamily(
            "hubbub_writer_oldest_seconds", "How long the oldest write has waited.", value=writer.oldest_s
        )
        yield CounterMetricFamily(
            "hubbub_writer_refused_total",
            "Writes that were refused because too many waited, or waited for too long.",
            value=writer.refused,
        )
        yield CounterMetricFamily(
            "hubbub_commit_failures_total", "Commits that failed or took too long.", value=writer.failed
        )


class ControlState(Protocol):
    """What is told of the follower of the control log."""

    @property
    def applied(self) -> int: ...

    @property
    def lag_s(self) -> float: ...


class _ControlLog(Collector):
    def __init__(self, control: ControlState, *, registry: CollectorRegistry) -> None:
        self._control = control
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "hubbub_control_applied",
            "The number of the last record of the control log that took effect here.",
            value=self._control.applied,
        )
        yield GaugeMetricFamily(
            "hubbub_control_lag_seconds",
            "How long ago all of the control log had taken effect here for the last time; about a second at most while"
            " the store answers.",
            value=self._control.lag_s,
        )


class _Readiness(Collector):
    def __init__(
        self,
        status: Callable[[], str],
        statuses: Sequence[str],
        hears: Callable[[], bool] | None,
        registry: CollectorRegistry,
    ) -> None:
        self._status = status
        self._statuses = statuses
        self._hears = hears
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        now = self._status()
        readiness = GaugeMetricFamily(
            "hubbub_readiness",
            "1 for what /readyz says of this node, 0 for all else that it may say.",
            labels=["status"],
        )
        for status in self._statuses:
            readiness.add_metric([status], status == now)
        yield readiness
        if self._hears is not None:
            yield GaugeMetricFamily(
                "hubbub_cluster_hears",
                "1 while this node hears by Redis what other nodes say, else 0. Not there on a node without Redis.",
                value=self._hears(),
            )


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge("hubbub_connections", "Connected clients.", ["namespace"], registry=self.registry)
        self.connects = Counter(
            "hubbub_connects_total", "Attempts to connect, by outcome.", ["namespace", "code"], registry=self.registry
        )
        self.users = Gauge("hubbub_users", "Users with at least one connection.", registry=self.registry)
        self.events = Events("event", "Events handled, by name and outcome.", by="event", registry=self.registry)
        self.requests = Events(
            "request", "REST requests handled, by operation and outcome.", by="operation", registry=self.registry
        )
        self.verdicts = Verdicts(registry=self.registry)
        self.batch_size = Histogram("hubbub_commit_batch", "Writes per commit.", buckets=_BATCH, registry=self.registry)
        self.commit_seconds = Histogram(
            "hubbub_commit_seconds", "Duration of commits.", buckets=_SECONDS, registry=self.registry
        )
        self.messages = Count(
            "hubbub_messages_total", "New messages that this node has stored.", registry=self.registry
        )
        self.deliveries = Count(
            "hubbub_deliveries_total", "Events queued to recipients by fan-out.", registry=self.registry
        )
        self.closed = Counter(
            "hubbub_links_closed_total", "Ended Engine.IO connections, by reason.", ["code"], registry=self.registry
        )
        self.reads = Counter(
            "hubbub_history_reads_total",
            "Reads of the store for clients that join or catch up; one serves many.",
            ["kind"],
            registry=self.registry,
        )
        self.gaps = Counter(
            "hubbub_gaps_total", "Rooms suspended on connections that read too slowly.", registry=self.registry
        )

        self.store_up = Gauge("hubbub_store_up", "1 while the store answers, else 0.", registry=self.registry)
        self.parcels_dropped = Count(
            "hubbub_parcels_dropped_total",
            "Parcels for other nodes that could not be said, because Redis is away. Those read the store.",
            registry=self.registry,
        )
        self.filled = Count(
            "hubbub_feed_filled_total",
            "Revisions that were read from the store because nothing else brought them.",
            registry=self.registry,
        )
        self.control_records = Counter(
            "hubbub_control_records_total",
            "Records of the control log that took effect here, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.emptied = Count(
            "hubbub_retention_emptied_total",
            "Messages whose text this node removed because they were too old or too many.",
            registry=self.registry,
        )

    def watch_control(self, control: ControlState) -> None:
        """Tell of this follower of the control log whenever somebody asks."""
        _ControlLog(control, registry=self.registry)

    def watch_readiness(
        self, status: Callable[[], str], *, statuses: Sequence[str], hears: Callable[[], bool] | None
    ) -> None:
        """Tell whenever somebody asks which of `statuses` the node has, and, where it has others, whether it `hears`
        them.
        """
        _Readiness(status, statuses, hears, self.registry)

    def watch_writer(self, writer: WriterState) -> None:
        """Tell of this writer whenever somebody asks."""
        _Backlog(writer, registry=self.registry)

    def committed(self, size: int, seconds: float) -> None:
        """A batch of `size` writes was committed in `seconds`."""
        self.batch_size.observe(size)
        self.commit_seconds.observe(seconds)


def configure_logging(*, level: str, json: bool, writer: LineWriter | None = None, node: str | None = None) -> None:
    """Log lines go to standard error, by way of `writer` where there is one: as JSON for machines, coloured for people
    at a terminal. With `node` each has the name of this node, so that those of several can be read as one.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if json:
        renderer = structlog.processors.JSONRenderer(serializer=_json_line)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([] if node is None else [_Named(node)]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if writer is None else lambda *_: LineLogger(writer),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_ToStructlog()], force=True)


class _Named:
    """Puts the node's name into a line, unless that speaks of a node itself."""

    def __init__(self, node: str) -> None:
        self._node = node

    def __call__(self, log: Any, level: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line.setdefault("node", self._node)
        return line


def _json_line(line: Any, **_: Any) -> str:
    return orjson.dumps(line, default=repr).decode()


_MALFORMED: Final = "aiohttp.http_exceptions"
"""Where the errors of requests that are not HTTP come from. aiohttp logs each with its traceback."""


class _ToStructlog(logging.Handler):
    """Lets the lines of libraries, which use the standard library's logging, look like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger(record.name)
            error = record.exc_info[1] if record.exc_info else None
            if type(error).__module__ == _MALFORMED:
                # Anybody can send it, and nobody has to mend it.
                log.debug("http.malformed", kind=type(error).__name__)
                return
            event = "note" if record.name.startswith("hubbub.") else "library"
            log.log(record.levelno, event, logger=record.name, text=record.getMessage(), exc_info=record.exc_info)
        except Exception:
            self.handleError(record)
