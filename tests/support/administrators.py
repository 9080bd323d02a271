"""The administrators' services over a chat without a wire, and callers that keep what they are sent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from hubbub.domain.admin.administration import administration
from hubbub.domain.admin.caller import Administrator
from hubbub.domain.admin.service import Admin
from hubbub.telemetry import Metrics
from tests.support.domain import RecordingOutlet, identity_of
from tests.support.house import ChatHouse
from tests.support.lines import Crowd

__all__ = ["Office"]


class Telling:
    """Sends figures to outlets as any other event."""

    def send_many(
        self, recipients: Iterable[Any], event: str, data: Any, *, volatile: bool = False, key: Hashable = None
    ) -> int:
        for recipient in recipients:
            recipient.emit(event, data)
        return 1


class Office:
    """`admin` over a house; `crowd` are the connections that it lists."""

    def __init__(self, house: ChatHouse) -> None:
        self.house = house
        self.crowd = Crowd("n")
        self.metrics = Metrics()
        self.admin: Admin = administration(
            house.chat,
            lines=self.crowd,
            channel=Telling(),
            rooms=lambda: house.fanout.groups,
            metrics=self.metrics,
            state=lambda: ("ready", "up"),
            now=lambda: house.clock() / 1000,
            node="n",
            version="1.2",
        )

    @staticmethod
    def caller(*, roles: Sequence[str] = ("admin",), rooms: Sequence[str] | None = None) -> Administrator:
        return Administrator(RecordingOutlet(), identity_of("root", roles=roles, rooms=rooms))

    async def watch(self, caller: Administrator, every_ms: int) -> dict[str, Any]:
        """`stats:watch` as the wire does it: what must follow the ack follows it."""
        behind: list[Callable[[], None]] = []
        answer = await self.admin.watch_stats(caller, {"every_ms": every_ms}, after_ack=behind.append)
        caller.outlet.emit("<ack>", answer)
        for callback in behind:
            callback()
        return answer

    async def audit(self) -> list[tuple[str, dict[str, str], str, str]]:
        """What the audit log has, oldest first: action, target, reason, outcome."""
        page = await self.house.store.ledger.audit(limit=500, cursor=None)
        return [(each.action, dict(each.target), each.reason, each.outcome) for each in reversed(page.entries)]
