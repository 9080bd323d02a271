"""Who gets what: groups of connections, and one packet to all of a group.

A packet is encoded once and the same object is queued to every recipient. A connection knows its groups, so that its
end costs what it was in, not what the server holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from engineio import packet as eio_packet

from hubbub.transport.packets import event_packet

__all__ = ["Fanout"]


class _Recipient(Protocol):
    def send(self, packet: eio_packet.Packet) -> None: ...


class Fanout:
    """The groups of one namespace. `on_sent` is told how many recipients each event had, for the metrics."""

    def __init__(self, namespace: str, *, on_sent: Callable[[int], None] | None = None) -> None:
        self._namespace = namespace
        self._on_sent = on_sent
        self._groups: dict[str, dict[_Recipient, None]] = {}
        self._of: dict[_Recipient, set[str]] = {}

    def subscribe(self, recipient: _Recipient, group: str) -> None:
        self._groups.setdefault(group, {})[recipient] = None
        self._of.setdefault(recipient, set()).add(group)

    def unsubscribe(self, recipient: _Recipient, group: str) -> None:
        members = self._groups.get(group)
        if members is not None and recipient in members:
            del members[recipient]
            if not members:
                del self._groups[group]
            groups = self._of[recipient]
            groups.discard(group)
            if not groups:
                del self._of[recipient]

    def forget(self, recipient: _Recipient) -> None:
        """Take a recipient out of all its groups."""
        for group in list(self._of.get(recipient, ())):
            self.unsubscribe(recipient, group)

    def close(self, group: str) -> None:
        """Take everybody out of a group."""
        for recipient in list(self._groups.get(group, ())):
            self.unsubscribe(recipient, group)

    def size(self, group: str) -> int:
        return len(self._groups.get(group, ()))

    def publish(self, group: str, event: str, data: Any, *, skip: object = None) -> int:
        """Send one event to a group, but not to `skip`. Returns how many it was sent to."""
        members = self._groups.get(group)
        return self.send_many(members, event, data, skip=skip) if members else 0

    def send_many(self, recipients: Iterable[_Recipient], event: str, data: Any, *, skip: object = None) -> int:
        """Send one event to these recipients, encoded once."""
        packet: eio_packet.Packet | None = None
        count = 0
        for recipient in recipients:
            if recipient is not skip:
                if packet is None:
                    packet = event_packet(self._namespace, event, data)
                recipient.send(packet)
                count += 1
        if count and self._on_sent is not None:
            self._on_sent(count)
        return count
