"""News of rooms that a member has not joined on a connection, for badges: coalesced, at most one per room and
window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hubbub.domain.ports import Channel
from hubbub.domain.roster import Client, Roster

__all__ = ["Activity"]

WINDOW_S: Final = 1.0
"""How long news is collected: a badge that is a second late is in time."""


@dataclass(slots=True)
class _News:
    seq: int = 0
    senders: set[str] = field(default_factory=set)
    mentioned: set[str] = field(default_factory=set)


class Activity:
    """Collects news of messages, and tells it when the window is over.

    `room_id` finds a room's public id, None if it is not known here.
    """

    def __init__(self, roster: Roster, channel: Channel, *, room_id: Callable[[str], str | None]) -> None:
        self._roster = roster
        self._channel = channel
        self._room_id = room_id
        self._news: dict[str, _News] = {}
        self._timer: asyncio.TimerHandle | None = None

    def touch(self, uid: str, seq: int, sender: str, mentions: Iterable[str]) -> None:
        """A new message is in the room."""
        news = self._news.get(uid)
        if news is None:
            news = self._news[uid] = _News()
        news.seq = max(news.seq, seq)
        news.senders.add(sender)
        news.mentioned.update(mentions)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self.flush)

    def flush(self) -> None:
        """Tell what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        collected, self._news = self._news, {}
        for uid, news in collected.items():
            self._tell(uid, news)

    def stop(self) -> None:
        """Forget what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._news.clear()

    def _tell(self, uid: str, news: _News) -> None:
        room_id = self._room_id(uid)
        if room_id is None:
            return
        plain: list[Client] = []
        mentioned: list[Client] = []
        for user in self._roster.members(uid):
            user_id = user.person.id
            if news.senders == {user_id}:
                continue  # All that happened is what this user said.
            into = mentioned if user_id in news.mentioned else plain
            into.extend(
                client for client in user.clients if uid not in client.joined and client.identity.covers(room_id)
            )
        for clients, mention in ((plain, False), (mentioned, True)):
            if clients:
                document: Mapping[str, object] = {"room": room_id, "seq": news.seq, "mention": mention}
                self._channel.send_many(
                    [client.outlet for client in clients], "activity", document, volatile=True, key=("activity", uid)
                )
