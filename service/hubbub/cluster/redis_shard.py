"""One shard of a Redis Cluster: its master, with a connection that listens, one that speaks, and a canary on both.

A channel of a room is said with SPUBLISH and listened to with SSUBSCRIBE where the server has them (Redis 7): then it
stays on the shard. An older server is found out by its answer to the first SSUBSCRIBE, and gets PUBLISH and SUBSCRIBE,
which it tells all servers of the cluster. Every node asks the same server about the same channel, so all choose alike.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

import structlog

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_canary import Canary
from hubbub.cluster.redis_ears import Ears
from hubbub.cluster.redis_mouth import Mouth, expect_no_refusal
from hubbub.cluster.redis_reasons import refusal
from hubbub.cluster.redis_slots import Place, moved_to, slot_of, tag_in
from hubbub.cluster.redis_wire import RedisWire
from hubbub.cluster.resp import RedisError, Reply, command, commands
from hubbub.errors import HubbubError

__all__ = ["Shard", "ShardEars"]

_log = structlog.get_logger("hubbub.cluster")

_Take = Callable[[bytes], None]
_Said = tuple[bytes, bytes, bool]
"""What waits for its answer: channel, body, and whether another shard has refused it before."""

_ELSEWHERE: Final = ("MOVED ", "CLUSTERDOWN ", "TRYAGAIN ")
"""Errors that say that the map of slots is not what it was."""


class ShardEars(Ears):
    """Ears at one server of a cluster. `marker` is a channel of this shard; `on_moved` is called when some channel
    turns out not to be of this shard, with the place of the shard that has it, if that is known.
    """

    def __init__(
        self,
        address: RedisAddress,
        place: Place,
        *,
        on_again: Callable[[], None],
        on_moved: Callable[[Place | None], None],
    ) -> None:
        super().__init__(address, on_again=on_again)
        self._place = place
        self._on_moved = on_moved
        self._facts = {"shard": str(place)}
        self._is_plain_told = False
        self._torn: set[bytes] = set()
        self.marker = b""
        self.is_sharded: bool | None = None
        """None until the server has answered."""

    def adopt(self, channel: bytes, take: _Take) -> None:
        """Have this channel listened to with the next `mend`."""
        self._takes[channel] = take

    def mend(self) -> None:
        """Subscribe to everything that is not heard, and call `on_again` when it is. No error if there is nothing."""
        if self._wire is None or self.is_sharded is None:
            return  # Everything is subscribed to when the server has answered.
        missing = self._takes.keys() - self._heard
        if missing:
            self._subscribe(self._wire, missing)

    def leave(self, channel: str) -> None:
        name = channel.encode()
        if name in self._heard:
            super().leave(channel)
        else:
            self._takes.pop(name, None)  # What is not confirmed yet is taken back when it is.

    def _end(self) -> None:
        self._on_moved(None)  # Its replica may have taken over.

    def _say(self, word: bytes, name: bytes) -> None:
        if self.is_sharded is not None:
            super()._say(b"S" + word if self.is_sharded else word, name)

    def _begin(self, wire: RedisWire) -> None:
        self.is_sharded = None
        self._torn.clear()
        wire.write(command(b"SSUBSCRIBE", self.marker))

    def _subscribe(self, wire: RedisWire, names: Collection[bytes]) -> None:
        # One by one, since a command must not name channels of several slots. The marker comes last: when it is
        # confirmed, all of them are.
        word = b"SSUBSCRIBE" if self.is_sharded else b"SUBSCRIBE"
        wire.write(commands((word, name) for name in (*(name for name in names if name != self.marker), self.marker)))

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, list) and len(reply) == 3:
            kind, name, body = reply
            if kind == b"smessage" or kind == b"message":
                take = self._takes.get(name) if isinstance(name, bytes) else None
                if take is not None and isinstance(body, bytes):
                    take(body)
            elif kind == b"ssubscribe" or kind == b"subscribe":
                self._on_confirmed(name)
            elif kind == b"sunsubscribe" and isinstance(name, bytes) and name in self._takes:
                # Not asked for: the slot was given away. To ask once more tells where to.
                self._heard.discard(name)
                self._torn.add(name)
                self._say(b"SUBSCRIBE", name)
        elif isinstance(reply, RedisError):
            self._on_error(str(reply))

    def _on_confirmed(self, name: Reply) -> None:
        if self.is_sharded is None:
            self._learn(is_sharded=True)
            return
        if isinstance(name, bytes):
            if name in self._takes:
                self._confirm(name)
                if name in self._torn:
                    self._torn.discard(name)
                    self._on_again()
            else:
                self._say(b"UNSUBSCRIBE", name)
        if name == self.marker:
            self._on_all()

    def _on_error(self, error: str) -> None:
        if error.startswith(_ELSEWHERE):
            self._on_moved(moved_to(error, self._place))
            if self.is_sharded is None:
                self._learn(is_sharded=True)
        elif self.is_sharded is None and error.startswith("ERR unknown command"):
            self._learn(is_sharded=False)
        else:
            raise HubbubError("unavailable", f"{refusal(error)}.", retry_after=1)

    def _learn(self, *, is_sharded: bool) -> None:
        self.is_sharded = is_sharded
        if not is_sharded and not self._is_plain_told:
            self._is_plain_told = True
            _log.warning("cluster.not_sharded", shard=str(self._place))
        if self._wire is not None:
            self._subscribe(self._wire, self._takes)


class Shard:
    """`slots` are those of the master at `place`, by the newest map. `on_back` is called when word of these slots
    arrives after something may have been lost, `on_moved` when a slot is not here any more (with the place that has it,
    if that is known), and `on_refused` with what was said here and belongs elsewhere. All on the event loop.
    """

    def __init__(
        self,
        address: RedisAddress,
        place: Place,
        origin: str,
        *,
        on_back: Callable[[], None],
        on_moved: Callable[[Place | None], None],
        on_refused: Callable[[bytes, bytes, Place], None],
        on_dropped: Callable[[int], None],
    ) -> None:
        self.place = place
        self._origin = origin
        self._on_moved = on_moved
        self._on_refused = on_refused
        self._on_dropped = on_dropped
        self._said: deque[_Said | None] = deque()
        self._canary = Canary(self._sing, self._start_over, on_back=on_back, facts={"shard": str(place)})
        here = address.at(*place)
        self.ears = ShardEars(here, place, on_again=self._canary.lose, on_moved=on_moved)
        self._mouth = Mouth(lambda: here, on_open=self._on_open, on_replies=self._on_replies)

    @property
    def hears(self) -> bool:
        """Whether word of the node's own comes back to it by way of this shard."""
        return self._canary.hears

    def own(self, slots: Collection[int]) -> None:
        """These are its slots now. At least one."""
        marker = self.ears.marker
        if not marker or slot_of(marker) not in slots:
            if marker:
                self.ears.leave(marker.decode())
            self.ears.marker = f"hubbub:canary:{{{tag_in(slots)}}}:{self._origin}".encode()
            self.ears.adopt(self.ears.marker, self._canary.hear)

    def start(self) -> None:
        """After `own`."""
        self.ears.start()
        self._mouth.start()
        self._canary.start()

    async def close(self) -> None:
        """Safe to call twice."""
        await asyncio.gather(self._canary.close(), self._mouth.close(), self.ears.close())

    def publish(self, channel: bytes, body: bytes, *, again: bool = False) -> None:
        """Say this. `again` if another shard refused it: then it is dropped if this one does."""
        if not self._publish(channel, body, (channel, body, again)):
            self._on_dropped(1)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _publish(self, channel: bytes, body: bytes, said: _Said | None) -> bool:
        is_sharded = self.ears.is_sharded
        if is_sharded is None:
            return False
        if not self._mouth.publish(b"SPUBLISH" if is_sharded else b"PUBLISH", channel, body):
            return False
        self._said.append(said)
        return True

    def _sing(self, body: bytes) -> None:
        self._publish(self.ears.marker, body, None)

    def _start_over(self) -> None:
        self.ears.start_over()
        self._mouth.start_over()
        self._on_moved(None)

    def _on_open(self) -> None:
        self._said.clear()  # There will be no answers to what was said over another connection.
        self._canary.sing()

    def _on_replies(self, replies: list[Reply]) -> None:
        for reply in replies:
            said = self._said.popleft()
            if isinstance(reply, RedisError):
                self._on_refusal(reply, said)

    def _on_refusal(self, reply: RedisError, said: _Said | None) -> None:
        if not str(reply).startswith(_ELSEWHERE):
            expect_no_refusal([reply])
        place = moved_to(str(reply), self.place)
        self._on_moved(place)
        if said is None:
            return  # The canary, which sings again.
        channel, body, again = said
        if place is None or again:
            self._on_dropped(1)
        else:
            self._on_refused(channel, body, place)
