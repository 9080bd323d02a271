"""What waits for a peer whose socket takes no more, bounded in bytes and packets.

A slow reader loses first what is worthless when late, then its rooms, then the connection:

- `Keep.DROP` and `Keep.LATEST` are shed as soon as the outbox is half full, those that wait there already as well;
  below that a newer `LATEST` of the same key takes the place of the older.
- `Keep.GAP` is refused from half full on: the verdict is `gap`, and whoever sent it suspends the group. The other half
  is for acks and for the news of what was suspended.
- `Keep.MUST` is taken up to the bound; beyond it the verdict is `slow`, and the connection ends.

No clock, no socket: pure state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum

from hubbub.transport.message import Keep, Message

__all__ = ["Outbox", "Verdict"]


class Verdict(Enum):
    """What became of a message that was offered."""

    OK = "ok"
    SHED = "shed"
    GAP = "gap"
    SLOW = "slow"


class Outbox:
    """Messages in the order in which they were offered. `max_bytes` counts what `Message.size` says."""

    __slots__ = ("_by_key", "_max_bytes", "_max_packets", "_next", "_waiting", "bytes")

    def __init__(self, *, max_bytes: int, max_packets: int) -> None:
        self._max_bytes = max_bytes
        self._max_packets = max_packets
        self._waiting: OrderedDict[int, Message] = OrderedDict()
        self._by_key: dict[Hashable, int] = {}
        self._next = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> Verdict:
        """Take a message in, if it may."""
        keep = message.keep
        if keep is Keep.LATEST and message.key in self._by_key:
            return self._replace(message)
        if keep is Keep.MUST:
            if not self._fits(message, 1) and not (self._shed() and self._fits(message, 1)):
                return Verdict.SLOW
        elif not self._fits(message, 2):
            if keep is not Keep.GAP:
                return Verdict.SHED
            if not (self._shed() and self._fits(message, 2)):
                return Verdict.GAP
        self._add(message)
        return Verdict.OK

    def take(self, max_bytes: int, max_packets: int) -> list[Message]:
        """The messages that go out next, so many or of `max_bytes` together, but at least one if there is any.

        A message counts as one packet and one for each of its attachments.
        """
        taken: list[Message] = []
        size = packets = 0
        while self._waiting:
            message = next(iter(self._waiting.values()))
            size += message.size
            packets += 1 + len(message.attachments)
            if taken and (size > max_bytes or packets > max_packets):
                break
            self._waiting.popitem(last=False)
            self.bytes -= message.size
            if message.keep is Keep.LATEST:
                del self._by_key[message.key]
            taken.append(message)
        return taken

    def clear(self) -> None:
        self._waiting.clear()
        self._by_key.clear()
        self.bytes = 0

    def _fits(self, message: Message, share: int) -> bool:
        return self.bytes + message.size <= self._max_bytes // share and len(self._waiting) < max(
            self._max_packets // share, 1
        )

    def _add(self, message: Message) -> None:
        self._waiting[self._next] = message
        if message.keep is Keep.LATEST:
            self._by_key[message.key] = self._next
        self._next += 1
        self.bytes += message.size

    def _replace(self, message: Message) -> Verdict:
        number = self._by_key[message.key]
        old = self._waiting[number]
        if self.bytes - old.size + message.size > self._max_bytes:
            return Verdict.SHED
        self._waiting[number] = message
        self.bytes += message.size - old.size
        return Verdict.OK

    def _shed(self) -> bool:
        """Drop what is worthless when late; whether there was any."""
        gone = [n for n, message in self._waiting.items() if message.keep in (Keep.LATEST, Keep.DROP)]
        for number in gone:
            self.bytes -= self._waiting.pop(number).size
        self._by_key.clear()
        return bool(gone)
