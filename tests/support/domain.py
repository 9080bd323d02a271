"""What tests of the domain stand on: a clock that is set by hand, outlets that keep what they are sent, identities."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import orjson

from hubbub.domain.identity import Identity, Person
from hubbub.history.base import Message, Room, Sender
from hubbub.transport import message as wire
from hubbub.transport.fanout import Batch, Fanout
from hubbub.transport.outbox import Verdict
from hubbub.transport.packets import ack_message

__all__ = ["ManualClock", "PromptBatch", "RecordingOutlet", "as_read", "identity_of", "message_of", "room_of"]

_numbers = itertools.count(1)


class ManualClock:
    """A clock in milliseconds that stands still until it is told."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


def as_read(data: Any) -> Any:
    """What the domain sends or answers, as a client reads it."""
    return orjson.loads(ack_message("/", 0, data).text.removeprefix(b"430"))[0]


class PromptBatch(Batch):
    """Lets everything out at once, for tests that have no turns of a loop."""

    def add(self, fanout: Fanout, group: str, message: wire.Message) -> None:
        self._scheduled = True
        super().add(fanout, group, message)
        self.flush()


class _RecordingSession:
    """The session of a `RecordingOutlet`: never clear, so that a `Fanout` gives it messages and not bytes."""

    clear = False

    def __init__(self, outlet: RecordingOutlet) -> None:
        self._outlet = outlet

    def send(self, message: wire.Message) -> Verdict:
        return self._outlet.send(message)


class RecordingOutlet:
    """A connection that keeps what it was sent, as the client would read it.

    It takes events (`emit`) as the domain sends them to one client, and messages as a `Fanout` writes them (`session`).
    """

    def __init__(self) -> None:
        self.id = f"outlet-{next(_numbers)}"
        self.is_open = True
        self.sent: list[tuple[str, Any]] = []
        self.packets: list[wire.Message] = []
        self.session: Any = _RecordingSession(self)

    def emit(self, event: str, data: Any) -> None:
        if self.is_open:
            self.sent.append((event, as_read(data)))

    async def wait_room(self) -> None:
        """There is always room."""

    def send(self, message: wire.Message) -> Verdict:
        if self.is_open:
            self.packets.append(message)
            event, data = orjson.loads(message.text.partition(b",")[2])
            self.sent.append((event, data))
        return Verdict.OK

    def of(self, name: str) -> list[Any]:
        """The documents of all events of this name so far."""
        return [data for event, data in self.sent if event == name]


def identity_of(
    user: str,
    *,
    name: str | None = None,
    roles: Sequence[str] = (),
    rooms: Sequence[str] | None = None,
    guest: bool = False,
    issued_at: int = 0,
    expires_at: int = 2**53 - 1,
) -> Identity:
    return Identity(
        Person(user, name if name is not None else user.title(), guest),
        frozenset(roles),
        issued_at,
        expires_at,
        tuple(rooms) if rooms is not None else None,
    )


def message_of(uid: str, seq: int, *, rev: int | None = None, sender: str = "ada", **changes: Any) -> Message:
    """A message that the store has given its place."""
    values: dict[str, Any] = {
        "uid": uid,
        "seq": seq,
        "rev": seq if rev is None else rev,
        "key": f"key-{seq}",
        "sender": Sender(sender, sender.title()),
        "body": f"body {seq}",
        "reply_to": None,
        "mentions": (),
        "created_at": 1_700_000_000_000 + seq,
    }
    return Message(**(values | changes))


def room_of(uid: str = "uid", **changes: Any) -> Room:
    values: dict[str, Any] = {
        "uid": uid,
        "id": f"room-{uid}",
        "kind": "public",
        "title": "A room",
        "topic": "",
        "capacity": 100,
        "slow_mode_s": 0,
        "created_at": 1_700_000_000_000,
    }
    return Room(**(values | changes))
