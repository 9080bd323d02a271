"""What stock clients tell while nodes are deployed and die, and whether each promise was kept: pure, so that every
check can be tried.

Clients tell **news**, in the order in which things happened to each of them. A document has `client`, whose it is, and
`is`, what it is about:

    open {node, at}                 `hello` has come: there is a connection to that node
    lost {reason, at}               it is gone
    refused {reason, at}            an attempt to connect has failed
    joined {room, since, data}      the ack of `room:join`; paged: that of `history:sync`
    message {data}, gap {data}      events of rooms
    draining, closing {data, at}    what is told before a connection is closed
    sending {room, key, body, away} a message is sent for the first time; `away`: there was no connection
    unknown {code, at}              a send had no ack, or one that says so: it is repeated with its key
    acked {room, key, data, first}  the ack; `first`: it was sent once
    trouble {text}                  what must not be

Times are seconds since the Unix epoch. A violation is noted, and the run goes on: how many there are says more than the
first of them.
"""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.chaos_ledger import Ledger, StoredRoom
from tests.support.chaos_replica import Replica, Violation

__all__ = ["Deploy", "Judge", "Member", "News", "worst_second"]

News = Mapping[str, Any]


@dataclass(eq=False)
class Member:
    """A client. `node` is where it is connected, None while it is not."""

    name: str
    kind: str
    replicas: dict[str, Replica]
    node: str | None = None
    opened: list[tuple[float, str]] = field(default_factory=list)
    lost_at: list[float] = field(default_factory=list)
    longest_away_s: float = 0.0
    last_seq: dict[str, int] = field(default_factory=dict)

    def is_at(self, heads: Mapping[str, int]) -> bool:
        """Whether nothing is missing in any of its rooms."""
        return self.node is not None and all(
            replica.expected is not None and not replica.is_paging and replica.synced == heads[room]
            for room, replica in self.replicas.items()
        )


@dataclass(frozen=True, slots=True)
class Deploy:
    """A node that was told to end: when, who was there, how long it took, and when each of them was back elsewhere."""

    node: str
    at: float
    took_s: float
    clients: int
    back: Sequence[float]

    @property
    def worst(self) -> int:
        return worst_second(self.back)

    @property
    def worst_share(self) -> float:
        return self.worst / self.clients if self.clients else 0.0


def worst_second(times: Iterable[float]) -> int:
    """The most that came in any span of one second, wherever it begins."""
    order = sorted(times)
    return max((bisect.bisect_left(order, at + 1.0) - index for index, at in enumerate(order)), default=0)


class Judge:
    """`take` is given all news. `violations` are what was broken."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.members: dict[str, Member] = {}
        self.violations: list[str] = []
        self.deploys: list[Deploy] = []
        self.unknown: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        self.lost: collections.Counter[str] = collections.Counter()
        self.told: collections.Counter[str] = collections.Counter()
        self.outstanding = 0
        self.written_away = 0

    def add(self, name: str, kind: str, rooms: Iterable[str]) -> Member:
        member = Member(name, kind, {room: Replica(name, room) for room in rooms})
        self.members[name] = member
        return member

    # -- news --------------------------------------------------------------------------------------------------------

    def take(self, news: News) -> None:
        try:
            self._take(self.members[news["client"]], news)
        except Violation as violation:
            self.violations.append(str(violation))
        self.ledger.nudge()

    def _take(self, member: Member, news: News) -> None:
        match news["is"]:
            case "message":
                member.replicas[news["data"]["room"]].event(news["data"])
            case "acked":
                self._acked(member, news)
            case "sending":
                self.outstanding += 1
                self.written_away += news["away"]
                self.ledger.sending(news["room"], member.name, news["key"], news["body"])
            case "joined" | "paged":
                self._page(member.replicas[news["room"]], news)
            case "gap":
                member.replicas[news["data"]["room"]].gap(news["data"]["head"])
            case "open":
                self._opened(member, news)
            case "lost":
                self._lost(member, news)
            case "refused":
                self.refused[news["reason"]] += 1
            case "unknown":
                self.unknown[news["code"]] += 1
            case "draining" | "closing":
                self.told[news["is"]] += 1
            case _:
                raise Violation(f"{member.name}: {news['text']}")

    def _acked(self, member: Member, news: News) -> None:
        room, document = news["room"], news["data"]["message"]
        duplicate = news["data"]["duplicate"]
        self.outstanding -= 1
        self.ledger.sent(room, member.name, news["key"], document, duplicate=duplicate, first_try=news["first"])
        # What was sent once each was sent in this order, whatever became of connections in between.
        if news["first"]:
            if document["seq"] <= member.last_seq.get(room, 0):
                raise Violation(f"{member.name} in {room}: {document} is behind what was sent later")
            member.last_seq[room] = document["seq"]

    def _page(self, replica: Replica, news: News) -> None:
        if news["since"] != replica.synced:
            raise Violation(f"{replica.name} in {replica.room} asks since {news['since']}, and is at {replica.synced}")
        for document in news["data"]["messages"]:
            self.ledger.fact(document)
        (replica.joined if news["is"] == "joined" else replica.paged)(news["data"], since=news["since"])

    def _opened(self, member: Member, news: News) -> None:
        member.node = news["node"]
        member.opened.append((news["at"], news["node"]))
        if member.lost_at:
            member.longest_away_s = max(member.longest_away_s, news["at"] - member.lost_at[-1])

    def _lost(self, member: Member, news: News) -> None:
        self.lost[news["reason"]] += 1
        member.node = None
        member.lost_at.append(news["at"])
        for replica in member.replicas.values():
            replica.lost()

    # -- deploys -----------------------------------------------------------------------------------------------------

    def at_node(self, node: str) -> list[Member]:
        return [member for member in self.members.values() if member.node == node]

    @property
    def all_open(self) -> bool:
        return all(member.node is not None for member in self.members.values())

    def deployed(self, node: str, clients: Sequence[Member], at: float, took_s: float) -> None:
        """A node has ended that was told to at `at`, when these clients were connected to it. To be called when all of
        them are back.
        """
        back = []
        for member in clients:
            found = [when for when, _ in member.opened if when > at]
            if not found:
                self.violations.append(f"{member.name} was at {node} and did not come back")
            back += found[:1]
        self.deploys.append(Deploy(node, at, took_s, len(clients), back))

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, rooms: Sequence[StoredRoom]) -> None:
        """Compare with the store, when nothing is under way any more."""
        heads = {room.id: room.head for room in rooms}
        for member in self.members.values():
            if not member.is_at(heads):
                where = {replica.room: replica.synced for replica in member.replicas.values()}
                self.violations.append(f"{member.name} at {member.node} is at {where}, but the heads are {heads}")
        try:
            self.ledger.check(rooms)
        except Violation as violation:
            self.violations.append(str(violation))
