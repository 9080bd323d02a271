"""The administrators' services, put together over one chat."""

from __future__ import annotations

from collections.abc import Callable

from hubbub.domain.admin.connections import Connections
from hubbub.domain.admin.counting import count
from hubbub.domain.admin.directory import HAS, LIST, Directory
from hubbub.domain.admin.ports import Lines
from hubbub.domain.admin.service import Admin
from hubbub.domain.admin.stats import NodeStats, ServiceStats
from hubbub.domain.admin.watches import StatsChannel, StatsWatches
from hubbub.domain.chat import Chat
from hubbub.telemetry import Metrics

__all__ = ["administration"]


def administration(
    chat: Chat,
    *,
    lines: Lines,
    channel: StatsChannel,
    rooms: Callable[[], int],
    metrics: Metrics,
    state: Callable[[], tuple[str, str]],
    now: Callable[[], float],
    node: str,
    version: str,
) -> Admin:
    """What serves `/admin`. From now on this node's beats tell its figures, and it answers what other nodes ask of its
    connections. Figures are sent through `channel`; `rooms` says how many rooms have
    subscribers, `state` says how the node is, and its store; `now` is monotonic,
    in seconds.
    """
    house, control = chat.house, chat.control
    origin = house.history.ledger.origin
    own = NodeStats(
        version=version,
        count=lambda: count(metrics, users=house.roster.size, rooms=rooms()),
        state=state,
        clock=house.clock,
        now=now,
    )
    stats = ServiceStats(own, control, clock=house.clock, now=now, name=node, origin=origin)
    directory = Directory(Connections(lines, house.rooms, node=node), control, node=node, origin=origin)
    control.about = own.figures
    control.on_question(LIST, directory.answer_list)
    control.on_question(HAS, directory.answer_has)
    return Admin(
        house,
        chat.rooms,
        control,
        chat.auditor,
        directory=directory,
        stats=stats,
        watches=StatsWatches(stats, channel),
    )
