"""How what becomes known of rooms becomes events: every subscriber gets every revision once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.cluster.base import Node
from hubbub.cluster.memory import LoneRegistry
from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.chat import Chat
from hubbub.domain.delivery import Delivery
from hubbub.domain.limits import Limits
from hubbub.domain.ports import WritePort
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import History, Written
from hubbub.transport.fanout import Fanout
from tests.support.domain import ManualClock, PromptBatch, RecordingOutlet, identity_of, message_of
from tests.support.feedstore import FeedStore
from tests.support.history import member, new_room, say
from tests.support.house import ChatHouse, outlet_of
from tests.support.virtualtime import run_in_virtual_time


def revs(outlet: RecordingOutlet) -> list[int]:
    return [document["rev"] for document in outlet.of("message")]


async def scene(house: ChatHouse, *, listeners: int = 1) -> tuple[Delivery, ActiveRoom, list[RecordingOutlet]]:
    """A room with revisions 1 to 5, of which the feed knows none."""
    record = await new_room(house.chat.house.history, member("ada", "owner"), id="tea")
    room = house.chat.house.rooms.put(record)
    outlets = [RecordingOutlet() for _ in range(listeners)]
    for outlet in outlets:
        house.fanout.subscribe(outlet, room.uid)
    await say(house.chat.house.history, record.uid, *(f"body {n}" for n in range(1, 6)), sender="ada")
    return house.chat._delivery, room, outlets


def written(room: ActiveRoom, rev: int) -> Written:
    return Written(message_of(room.uid, rev), claimed=rev)


class TestOrder:
    async def test_every_subscriber_gets_every_revision_in_order(self, house: ChatHouse) -> None:
        delivery, room, outlets = await scene(house, listeners=3)
        for rev in range(1, 6):
            delivery.written(room.uid, written(room, rev))
        assert [revs(outlet) for outlet in outlets] == [[1, 2, 3, 4, 5]] * 3
        assert outlets[0].of("message")[0]["room"] == "tea"

    async def test_a_hole_is_filled_from_the_store(self, house: ChatHouse) -> None:
        delivery, room, (outlet,) = await scene(house)
        delivery.written(room.uid, written(room, 1))
        delivery.written(room.uid, written(room, 4))
        assert "revisions" not in house.store.calls
        await room.wait_delivered(4)
        assert revs(outlet) == [1, 2, 3, 4]
        assert outlet.of("message")[1]["body"] == "body 2"
        delivery.written(room.uid, written(room, 3))
        delivery.written(room.uid, written(room, 5))
        assert revs(outlet) == [1, 2, 3, 4, 5]

    async def test_a_head_that_was_read_is_a_hole_to_fill(self, house: ChatHouse) -> None:
        delivery, room, (outlet,) = await scene(house)
        delivery.know(room, 5)
        await room.wait_delivered(5)
        assert revs(outlet) == [1, 2, 3, 4, 5]

    async def test_without_subscribers_nothing_is_read_or_held(self, house: ChatHouse) -> None:
        delivery, room, _ = await scene(house, listeners=0)
        delivery.written(room.uid, written(room, 3))
        assert room.feed.delivered == 3
        delivery.know(room, 5)
        assert room.feed.delivered == 5
        await room.wait_delivered(5)
        assert "revisions" not in house.store.calls

    async def test_a_hole_from_before_the_last_listener_left_is_gone_for_the_next(self, house: ChatHouse) -> None:
        delivery, room, (outlet,) = await scene(house)
        delivery.written(room.uid, written(room, 5))
        house.fanout.unsubscribe(outlet, room.uid)
        delivery.know(room, 0)
        assert (room.feed.delivered, room.feed.hole) == (5, None)

    async def test_a_room_that_is_not_in_memory_is_passed_over(self, house: ChatHouse) -> None:
        delivery, room, (outlet,) = await scene(house)
        house.chat.house.rooms.forget(room.uid)
        delivery.written(room.uid, written(room, 1))
        assert revs(outlet) == []

    async def test_stopping_ends_the_fills(self, house: ChatHouse) -> None:
        delivery, room, _ = await scene(house)
        held = house.store.hold("revisions")
        delivery.know(room, 5)
        await held.wait()
        workers = list(delivery._fills._workers)
        delivery.stop()
        await asyncio.gather(*workers, return_exceptions=True)
        assert delivery._fills.is_idle


class TestVolatileTraffic:
    async def test_it_bypasses_the_feed_and_waits_for_no_hole(self, house: ChatHouse) -> None:
        """Typing and read marks go out while a hole holds every message back, and claim no revision."""
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(ada)
        await house.join(bob)
        sent = await house.send(ada)
        room = house.chat.house.rooms.by_uid(house.uid())
        assert room is not None
        held = house.store.hold("revisions")
        house.chat._delivery.know(room, room.feed.delivered + 1)
        await held.wait()
        before = (room.feed.delivered, room.feed.hole)
        assert room.feed.hole is not None
        await house.chat.posting.typing(ada, {"room": "tea", "on": True})
        await house.chat.reading.mark(ada, {"room": "tea", "seq": sent["seq"]})
        assert [name for name, _ in outlet_of(bob).sent if name in ("typing", "read")] == ["typing", "read"]
        assert (room.feed.delivered, room.feed.hole) == before
        held.release()


class TestStartingOver:
    """What there was went out, and the store does not have it any more: a copy was put back beneath the service."""

    @staticmethod
    async def scene() -> tuple[World, ActiveRoom, RecordingOutlet]:
        world = World()
        room = await world.chat.house.find("room-a")
        outlet = RecordingOutlet()
        world.fanout.subscribe(outlet, "a")
        for _ in range(5):
            world.chat.written("a", world.store.send("a"))
        return world, room, outlet

    async def test_when_numbers_come_again_everybody_joins_again(self) -> None:
        world, room, outlet = await self.scene()
        del world.store.rooms["a"][2:]
        for _ in range(2):
            assert world.gaps == []
            await world.chat._delivery._check.check()
        assert world.gaps == [(outlet, "a")]
        assert room.feed.delivered == 2
        world.fanout.subscribe(outlet, "a")
        world.chat.written("a", world.store.send("a"))
        assert revs(outlet) == [1, 2, 3, 4, 5, 3]
        await world.chat.close()

    async def test_when_what_comes_next_is_nowhere_everybody_joins_again(self) -> None:
        world, room, outlet = await self.scene()
        for _ in range(5):
            world.store.send("a")
        del world.store.messages["a", 6], world.store.messages["a", 7]
        delivery = world.chat._delivery
        for _ in range(3):
            assert world.gaps == []
            await delivery._check.check()
            while not delivery._fills.is_idle:
                await asyncio.sleep(0.01)
        assert world.gaps == [(outlet, "a")]
        assert revs(outlet) == [1, 2, 3, 4, 5]
        assert (room.feed.delivered, room.feed.hole) == (10, None)
        await world.chat.close()


class TestRefilling:
    async def test_all_feeds_are_compared_at_once_and_soon(self, house: ChatHouse) -> None:
        delivery, room, (outlet,) = await scene(house)
        delivery.start()
        for _ in range(5):
            delivery.refill_all()
        async with asyncio.timeout(2):  # The regular check would come in 3.5 s at the soonest.
            await room.wait_delivered(5)
        assert revs(outlet) == [1, 2, 3, 4, 5]
        assert house.store.calls.count("heads") == 1


# -- the property ----------------------------------------------------------------------------------------------------

ROOMS = ("a", "b")
_room = st.sampled_from(ROOMS)
_which = st.integers(0, 30)
_steps = st.one_of(
    st.tuples(st.just("send"), _room, st.integers(1, 5)),
    st.tuples(st.just("say"), _room, st.integers(1, 3)),
    st.tuples(st.just("say"), _room, st.just(1)),
    st.tuples(st.just("edit"), _room, _which),
    st.tuples(st.just("delete"), _room, _which),
    st.tuples(st.just("arrive"), _room, _which),
    st.tuples(st.just("arrive"), _room, st.just(0)),
    st.tuples(st.just("arrive again"), _room, _which),
    st.tuples(st.just("lose"), _room, _which),
    st.tuples(st.just("burst"), _room, st.integers(200, 400)),
    st.tuples(st.just("join"), _room, st.integers(0, 3)),
    st.tuples(st.just("leave"), _room, st.integers(0, 3)),
    st.tuples(st.just("wait"), _room, st.sampled_from([0, 1, 10, 80])),
    st.tuples(st.just("wait"), _room, st.sampled_from([1, 3, 400, 5000])),
    st.tuples(st.just("latency"), _room, st.sampled_from([0, 2, 2, 5, 100, 3000])),
    st.tuples(st.just("down"), _room, st.just(0)),
    st.tuples(st.just("up"), _room, st.just(0)),
    st.tuples(st.just("refill"), _room, st.just(0)),
    st.tuples(st.just("remove room"), _room, st.just(0)),
)


class Listener:
    """A connection, and what it was told: since its last join each event must be the next revision."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.outlet = outlet_of(client)

    def check(self) -> None:
        last: dict[str, int | None] = dict.fromkeys(ROOMS)
        for event, data in self.outlet.sent:
            if event == "<ack>":
                last[data["room"]] = data["head"]
            elif event == "message":
                room = data["room"].removeprefix("room-")
                before = last[room]
                assert before is not None, "an event without a join"
                assert data["rev"] == before + 1, (room, before, data["rev"])
                last[room] = data["rev"]
        self.last = last


class World:
    """Two rooms, four connections, a store, and the ways on which changes are told."""

    def __init__(self) -> None:
        self.store = FeedStore(ROOMS)
        self.gaps: list[tuple[object, str]] = []
        self.fanout = Fanout("/chat", batch=PromptBatch(), on_gap=lambda who, group: self.gaps.append((who, group)))
        self.chat = Chat(
            history=cast(History, self.store),
            writer=cast(WritePort, None),
            channel=self.fanout,
            clock=ManualClock(),
            limits=Limits(),
            registry=LoneRegistry(Node("n", "1")),
            watch_channel=self.fanout,
            quiet_above=100,
        )
        self.on_the_way: dict[str, list[Written]] = {uid: [] for uid in ROOMS}
        self.listeners: list[Listener] = []
        self.joining: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        await self.chat.load()
        self.chat.start()
        for number in range(4):
            client = await self.chat.house.roster.enter(RecordingOutlet(), identity_of(f"user{number}"))
            self.listeners.append(Listener(client))
        for listener in self.listeners[:2]:
            for uid in ROOMS:
                await self.join(listener, uid)

    async def step(self, what: str, uid: str, number: int) -> None:
        waiting = self.on_the_way[uid]
        is_there = uid in self.store.rooms
        match what:
            case "send" | "burst" if is_there:
                waiting.extend(self.store.send(uid) for _ in range(number))
                if what == "burst":
                    waiting.clear()
            case "say" if is_there:
                for written in [self.store.send(uid) for _ in range(number)]:
                    self.chat.written(uid, written)
            case "edit" | "delete" if is_there and self.store.rooms[uid]:
                waiting.append(self.store.change(uid, number, deleted=what == "delete"))
            case "arrive" | "arrive again" | "lose" if waiting:
                written = waiting[number % len(waiting)]
                if what != "arrive again":
                    waiting.remove(written)
                if what != "lose":
                    self.chat.written(uid, Written(written.message, claimed=written.claimed))
            case "join":
                task = asyncio.ensure_future(self.join(self.listeners[number], uid))
                self.joining.add(task)
                task.add_done_callback(self.joining.discard)
            case "leave":
                client = self.listeners[number].client
                self.fanout.unsubscribe(outlet_of(client), uid)
                client.joined.discard(uid)
            case "wait":
                await asyncio.sleep(number / 1000)
            case "latency":
                self.store.latency_s = number / 1000
            case "down" | "up":
                self.store.is_down = what == "down"
            case "refill":
                self.chat._delivery.refill_all()
            case "remove room":
                self.store.rooms.pop(uid, None)
        await asyncio.sleep(0)

    async def join(self, listener: Listener, uid: str) -> None:
        behind: list[Callable[[], None]] = []
        try:
            request: dict[str, Any] = {"room": f"room-{uid}"}
            answer = await self.chat.reading.join(listener.client, request, after_ack=behind.append)
        except HubbubError:
            return
        listener.outlet.emit("<ack>", {"room": uid, "head": answer["head"]})
        for callback in behind:
            callback()

    async def settle(self) -> None:
        """The store is well again, nothing more is told, and everybody who joins is answered."""
        self.store.is_down = False
        self.store.latency_s = 0.0
        if self.joining:
            await asyncio.wait(list(self.joining))
        await asyncio.sleep(5.5)

    async def run(self, steps: list[tuple[str, str, int]]) -> None:
        await self.begin()
        for step in steps:
            await self.step(*step)
        await self.settle()
        assert self.gaps == []
        for listener in self.listeners:
            self.check(listener)
        await self.chat.close()

    def check(self, listener: Listener) -> None:
        listener.check()
        for uid in ROOMS:
            head = len(self.store.rooms[uid]) if uid in self.store.rooms else None
            if uid in listener.client.joined:
                assert listener.last[uid] == head, (uid, listener.last[uid], head)
            shown = {each["id"]: each for each in listener.outlet.of("message") if each["room"] == f"room-{uid}"}
            if uid in listener.client.joined:
                for document in shown.values():
                    message = self.store.messages[uid, document["seq"]]
                    if document["rev"] == message.rev:
                        assert (document["body"], document["deleted"]) == (message.body, message.deleted)


class TestWhateverHappens:
    @settings(max_examples=200)
    @given(st.lists(_steps, min_size=20, max_size=100))
    def test_every_connection_gets_each_revision_after_its_joins_head_once_and_in_order(
        self, steps: list[tuple[str, str, int]]
    ) -> None:
        """Whatever is lost, repeated, swapped and late, with a store that is slow or away while holes are filled; and
        within 5 s of its return everybody has everything.
        """
        run_in_virtual_time(World().run(steps))
