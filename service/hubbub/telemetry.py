"""Every metric and every log field, defined once.

A log line never holds a body or a token. Metrics have no label whose values clients can choose.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics", "configure_logging"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge("hubbub_connections", "Connected clients.", ["namespace"], registry=self.registry)
        self.connects = Counter(
            "hubbub_connects_total", "Attempts to connect, by outcome.", ["namespace", "code"], registry=self.registry
        )
        self.users = Gauge("hubbub_users", "Users with at least one connection.", registry=self.registry)
        self.events = Counter(
            "hubbub_events_total", "Events handled, by name and outcome.", ["event", "code"], registry=self.registry
        )
        self.event_seconds = Histogram(
            "hubbub_event_seconds", "From admission to answer.", ["event"], buckets=_SECONDS, registry=self.registry
        )
        self.batch_size = Histogram("hubbub_commit_batch", "Writes per commit.", buckets=_BATCH, registry=self.registry)
        self.commit_seconds = Histogram(
            "hubbub_commit_seconds", "Duration of commits.", buckets=_SECONDS, registry=self.registry
        )
        self.deliveries = Counter(
            "hubbub_deliveries_total", "Events queued to recipients by fan-out.", registry=self.registry
        )

        self.closed = Counter(
            "hubbub_links_closed_total", "Ended Engine.IO connections, by reason.", ["code"], registry=self.registry
        )
        self.gaps = Counter(
            "hubbub_gaps_total", "Rooms suspended on connections that read too slowly.", registry=self.registry
        )

    def committed(self, size: int, seconds: float) -> None:
        """A batch of `size` writes was committed in `seconds`."""
        self.batch_size.observe(size)
        self.commit_seconds.observe(seconds)


def configure_logging(*, level: str, json: bool) -> None:
    """Log lines go to standard error: as JSON for machines, coloured for people at a terminal."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_ToStructlog()], force=True)


class _ToStructlog(logging.Handler):
    """Lets the lines of libraries, which use the standard library's logging, look like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger(record.name)
            log.log(record.levelno, "library", logger=record.name, text=record.getMessage(), exc_info=record.exc_info)
        except Exception:
            self.handleError(record)
