"""Who gets what: groups of connections, and one packet to all of a group.

A packet is encoded and framed once. What is published to a group within one turn of the loop goes out at its end, to
each connection in one write; whatever else is sent meanwhile, or changes who is in a group, comes behind it, because it
lets out first what waits (`Batch.flush`). A connection knows its groups, so that its end costs what it was in, not what
the server holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, Protocol

from hubbub.transport.message import Keep, Message
from hubbub.transport.outbox import Verdict
from hubbub.transport.packets import event_message
from hubbub.transport.session import Session

__all__ = ["Batch", "Fanout"]


_CORKED_BYTES: Final = 4096
_CORKED_FRAMES: Final = 16
"""What one connection may gather in a turn. More would save no system call worth having."""

_GROUPED_BYTES: Final = 65_536
"""The same, for groups."""


class Batch:
    """What waits for the end of the turn, of a whole server: messages to single sessions, and behind them messages to
    groups. Whoever adds one of the former while there are some of the latter lets those out first.
    """

    def __init__(self) -> None:
        self._groups: dict[Fanout, dict[str, list[Message]]] = {}
        self._sessions: list[Session] = []
        self._scheduled = False
        self._bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, fanout: Fanout, group: str, message: Message) -> None:
        """A message for all of a group."""
        if not self._scheduled:
            self._schedule()
        self._groups.setdefault(fanout, {}).setdefault(group, []).append(message)
        self._bytes += message.size
        if self._bytes > _GROUPED_BYTES:
            self.flush()

    def send(self, session: Session, message: Message) -> Verdict:
        """A message for one session."""
        if self._groups:
            self.flush()
        if not session.clear:
            return session.queue(message)
        if session.corked is None:
            session.corked = []
            self._sessions.append(session)
            if not self._scheduled:
                self._schedule()
            if message.pieces and not session.deflate:
                # Large, but not its alone: it takes no memory while it waits. A thousand of them are written fastest
                # one right behind the other, when all else that the turn brings has been done.
                session.corked += message.frame_pieces()
                return Verdict.OK
        elif message.pieces:
            return session.send(message)  # One of that size at a time.
        session.corked.append(session.frame_of(message))
        if message.size > _CORKED_BYTES or len(session.corked) > _CORKED_FRAMES:
            session.uncork()  # The transport counts what it takes, and says when it is enough.
        return Verdict.OK

    def let_out(self) -> None:
        """Let out what waits for groups, before somebody comes or goes; what waits for single sessions goes first."""
        if self._groups:
            self.flush()

    def flush(self) -> None:
        """Let out what waits, now."""
        if self._sessions:
            sessions, self._sessions = self._sessions, []
            for session in sessions:
                if session.corked is not None:
                    session.uncork()
        if self._groups:
            waiting, self._groups = self._groups, {}
            self._bytes = 0
            for fanout, groups in waiting.items():
                for group, messages in groups.items():
                    fanout.write(group, messages)

    def _schedule(self) -> None:
        self._scheduled = True
        if self._loop is None:  # Asking for it is a system call in some versions of Python.
            self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._scheduled = False
        self.flush()


class _Recipient(Protocol):
    session: Session

    def send(self, message: Message) -> Verdict: ...


class Fanout:
    """The groups of one namespace. `on_sent` is told how many recipients each event had, for the metrics; `on_gap` of a
    recipient that was taken out of a group because it reads too slowly.
    """

    def __init__(
        self,
        namespace: str,
        *,
        batch: Batch | None = None,
        on_sent: Callable[[int], None] | None = None,
        on_gap: Callable[[Any, str], None] | None = None,
    ) -> None:
        self._namespace = namespace
        self._batch = batch if batch is not None else Batch()
        self._on_sent = on_sent
        self._on_gap = on_gap
        self._groups: dict[str, dict[_Recipient, None]] = {}
        self._of: dict[_Recipient, str | set[str]] = {}

    def subscribe(self, recipient: _Recipient, group: str) -> None:
        self._batch.let_out()
        self._groups.setdefault(group, {})[recipient] = None
        known = self._of.get(recipient)
        if known is None:
            self._of[recipient] = group  # Most are in one, and a set costs more than all else here.
        elif isinstance(known, str):
            if known != group:
                self._of[recipient] = {known, group}
        else:
            known.add(group)

    def unsubscribe(self, recipient: _Recipient, group: str) -> None:
        self._batch.let_out()
        members = self._groups.get(group)
        if members is None or recipient not in members:
            return
        del members[recipient]
        if not members:
            del self._groups[group]
        known = self._of[recipient]
        if isinstance(known, str):
            del self._of[recipient]
        else:
            known.discard(group)
            if not known:
                del self._of[recipient]

    def forget(self, recipient: _Recipient) -> None:
        """Take a recipient out of all its groups."""
        known = self._of.get(recipient)
        for group in [known] if isinstance(known, str) else list(known or ()):
            self.unsubscribe(recipient, group)

    def close(self, group: str) -> None:
        """Take everybody out of a group."""
        for recipient in list(self._groups.get(group, ())):
            self.unsubscribe(recipient, group)

    def suspend(self, group: str) -> None:
        """Take everybody out of a group, as those are taken out who read too slowly."""
        for recipient in list(self._groups.get(group, ())):
            self.unsubscribe(recipient, group)
            if self._on_gap is not None:
                self._on_gap(recipient, group)

    def size(self, group: str) -> int:
        return len(self._groups.get(group, ()))

    @property
    def groups(self) -> int:
        """How many groups have somebody in them."""
        return len(self._groups)

    def members(self, group: str) -> list[Any]:
        """Who is in a group now."""
        return list(self._groups.get(group, ()))

    def publish(
        self,
        group: str,
        event: str,
        data: Any,
        *,
        skip: object = None,
        volatile: bool = False,
        key: Hashable = None,
    ) -> int:
        """Send one event to a group, but not to `skip`. Returns how many it was sent to.

        A slow reader loses what is `volatile`: the newest of the same `key` is kept as long as there is room. Else it
        is suspended from the group.
        """
        members = self._groups.get(group)
        if not members:
            return 0
        if volatile:
            return self.send_many(members, event, data, skip=skip, volatile=True, key=key)
        if skip is not None:
            return self.send_many(members, event, data, skip=skip)
        self._batch.add(self, group, event_message(self._namespace, event, data, keep=Keep.GAP, key=group))
        return len(members)

    def send_many(
        self,
        recipients: Iterable[_Recipient],
        event: str,
        data: Any,
        *,
        skip: object = None,
        volatile: bool = False,
        key: Hashable = None,
    ) -> int:
        """Send one event to these recipients, encoded once."""
        self._batch.let_out()
        keep = Keep.MUST if not volatile else Keep.DROP if key is None else Keep.LATEST
        message: Message | None = None
        count = 0
        for recipient in list(recipients):
            if recipient is not skip:
                if message is None:
                    message = event_message(self._namespace, event, data, keep=keep, key=key)
                recipient.session.send(message)
                count += 1
        if count and self._on_sent is not None:
            self._on_sent(count)
        return count

    def write(self, group: str, messages: list[Message]) -> None:
        """Write messages to all of a group: each connection gets them in one piece."""
        members = self._groups.get(group)
        if not members:
            return
        data = messages[0].frame if len(messages) == 1 else b"".join([message.frame for message in messages])
        packed: bytes | None = None
        slow: list[_Recipient] | None = None
        for recipient in members:
            session = recipient.session
            if session.clear:
                if session.deflate:
                    if packed is None:
                        threshold = session.bounds.deflate_bytes
                        packed = b"".join([message.deflated(threshold) for message in messages])
                    session.write(packed)
                else:
                    session.write(data)
            elif slow is None:
                slow = [recipient]
            else:
                slow.append(recipient)
        if self._on_sent is not None:
            self._on_sent(len(members) * len(messages))
        for recipient in slow or ():
            self._write_slowly(recipient, group, messages)

    def _write_slowly(self, recipient: _Recipient, group: str, messages: list[Message]) -> None:
        for message in messages:
            if recipient.session.send(message) is Verdict.GAP:
                self.unsubscribe(recipient, group)
                if self._on_gap is not None:
                    self._on_gap(recipient, group)
                return
