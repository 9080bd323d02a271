"""Who is in which room of namespaces with plain handlers, and who is sent what."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hubbub.transport.manager import Manager, is_session_id
from hubbub.transport.message import Keep, Message
from hubbub.transport.server import Server


class _RecordingServer(Server):
    def __init__(self, messages: list[tuple[str, Message]]) -> None:
        super().__init__(node="one")
        self.messages = messages

    def send_to(self, eio_sid: str, message: Message) -> None:
        self.messages.append((eio_sid, message))


class Sent:
    """A server whose manager is under test; it keeps what would be sent, and to whom."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Message]] = []
        self.manager = Manager()
        self.manager.set_server(_RecordingServer(self.messages))

    async def client(self, number: int, namespace: str = "/") -> str:
        """A connected client; its Engine.IO id is `eio-NUMBER`."""
        sid: str = await self.manager.pre_connect(f"eio-{number}", namespace)
        await self.manager.connect(sid, namespace)
        return sid

    def take(self) -> list[str]:
        """Who was sent something since it was last asked."""
        taken, self.messages[:] = [eio_sid for eio_sid, _ in self.messages], []
        return sorted(taken)


@pytest.fixture
def sent() -> Sent:
    return Sent()


CLIENTS = st.integers(0, 3)
ROOMS = st.sampled_from(["red", "green", 5])


class Rooms(RuleBasedStateMachine):
    """Against a set of pairs. No method that is used here waits."""

    def __init__(self) -> None:
        super().__init__()
        self.manager: Manager = Server().manager
        self.sids: dict[int, str] = {}
        self.pairs: set[tuple[int, Any]] = set()
        self.number = 0

    @rule(who=CLIENTS)
    def connect(self, who: int) -> None:
        if who not in self.sids:
            self.number += 1
            sid = self.manager.server.eio.generate_id()
            self.manager.basic_enter_room(sid, "/", None, eio_sid=f"eio-{self.number}")
            self.manager.basic_enter_room(sid, "/", sid, eio_sid=f"eio-{self.number}")
            self.sids[who] = sid

    @rule(who=CLIENTS)
    def disconnect(self, who: int) -> None:
        if who in self.sids:
            sid = self.sids.pop(who)
            self.manager.pre_disconnect(sid, namespace="/")
            self.manager.basic_disconnect(sid, "/")
            self.pairs = {pair for pair in self.pairs if pair[0] != who}

    @rule(who=CLIENTS, room=ROOMS)
    def enter(self, who: int, room: Any) -> None:
        if who in self.sids:
            self.manager.basic_enter_room(self.sids[who], "/", room)
            self.pairs.add((who, room))
        else:
            with pytest.raises(ValueError, match="not connected"):
                self.manager.basic_enter_room("nobody", "/", room)

    @rule(who=CLIENTS, room=ROOMS)
    def leave(self, who: int, room: Any) -> None:
        self.manager.basic_leave_room(self.sids.get(who, "nobody"), "/", room)
        self.pairs.discard((who, room))

    @rule(room=ROOMS)
    def close(self, room: Any) -> None:
        self.manager.basic_close_room(room, "/")
        self.pairs = {pair for pair in self.pairs if pair[1] != room}

    @rule(who=CLIENTS, other=CLIENTS)
    def nobody_enters_the_room_of_another(self, who: int, other: int) -> None:
        if who != other and who in self.sids and other in self.sids:
            with pytest.raises(ValueError, match="sid room"):
                self.manager.basic_enter_room(self.sids[who], "/", self.sids[other])

    @invariant()
    def each_knows_its_rooms(self) -> None:
        for who, sid in self.sids.items():
            expected = {room for each, room in self.pairs if each == who} | {sid}
            rooms = self.manager.get_rooms(sid, "/")
            assert set(rooms) == expected
            assert len(rooms) == len(expected)

    @invariant()
    def each_room_knows_who_is_in_it(self) -> None:
        for room in ("red", "green", 5):
            present = {sid for sid, _ in self.manager.get_participants("/", room)}
            assert present == {self.sids[who] for who, each in self.pairs if each == room}

    @invariant()
    def nothing_is_kept_of_who_is_gone(self) -> None:
        assert {sid for _, sid in self.manager._rooms_of} == set(self.sids.values())
        assert bool(self.manager.rooms) == bool(self.sids)
        assert self.manager.pending_disconnect == {}


TestRooms = Rooms.TestCase


class TestOwnRooms:
    async def test_a_client_s_own_room_is_closed_to_others(self, sent: Sent) -> None:
        one, other = await sent.client(1), await sent.client(2)
        with pytest.raises(ValueError, match="sid room"):
            sent.manager.basic_enter_room(one, "/", other)
        assert sent.manager.get_rooms(one, "/") == [one]

    async def test_also_if_that_client_is_on_another_node(self, sent: Sent) -> None:
        one = await sent.client(1)
        elsewhere = Server(node="two").eio.generate_id()
        with pytest.raises(ValueError, match="sid room"):
            sent.manager.basic_enter_room(one, "/", elsewhere)

    @pytest.mark.parametrize("node", ["n", "node-1", "a" * 32])
    def test_every_id_that_is_made_is_known_as_one(self, node: str) -> None:
        assert all(is_session_id(Server(node=node).eio.generate_id()) for _ in range(50))

    @pytest.mark.parametrize("room", ["tea", "room.1", "n.short", "", None, 5, ("n." + "x" * 20,), "N." + "x" * 20])
    def test_an_ordinary_room_is_none(self, room: Any) -> None:
        assert not is_session_id(room)


class TestSending:
    async def test_an_event_goes_to_all_of_a_namespace_or_to_those_in_a_room(self, sent: Sent) -> None:
        one, two, _ = [await sent.client(number) for number in (1, 2, 3)]
        await sent.client(4, "/other")
        for sid in (one, two):
            sent.manager.basic_enter_room(sid, "/", "tea")
        await sent.manager.emit("e", 1, "/")
        assert sent.take() == ["eio-1", "eio-2", "eio-3"]
        await sent.manager.emit("e", 1, "/", room="tea")
        assert sent.take() == ["eio-1", "eio-2"]
        await sent.manager.emit("e", 1, "/", room=two)
        assert sent.take() == ["eio-2"]
        await sent.manager.emit("e", 1, "/", to="nowhere")
        await sent.manager.emit("e", 1, "/nowhere")
        assert sent.take() == []

    async def test_it_is_encoded_once(self, sent: Sent) -> None:
        for number in range(3):
            await sent.client(number)
        await sent.manager.emit("e", {"a": 1}, "/")
        (message,) = {id(message): message for _, message in sent.messages}.values()
        assert message.text == b'42["e",{"a":1}]'

    @pytest.mark.parametrize(
        ("data", "text"),
        [(None, b'["e"]'), (1, b'["e",1]'), ((1, 2), b'["e",1,2]'), ([1, 2], b'["e",[1,2]]'), ((), b'["e"]')],
    )
    async def test_a_tuple_is_several_arguments(self, sent: Sent, data: Any, text: bytes) -> None:
        await sent.client(1)
        await sent.manager.emit("e", data, "/")
        assert sent.messages[0][1].text == b"42" + text

    async def test_some_can_be_skipped(self, sent: Sent) -> None:
        one, two, three = [await sent.client(number) for number in (1, 2, 3)]
        for skipped, reached in ((one, ["eio-2", "eio-3"]), ([one, two], ["eio-3"]), ({three}, ["eio-1", "eio-2"])):
            await sent.manager.emit("e", 1, "/", skip_sid=skipped)
            assert sent.take() == reached

    async def test_so_can_whole_rooms(self, sent: Sent) -> None:
        one, two, _ = [await sent.client(number) for number in (1, 2, 3)]
        sent.manager.basic_enter_room(one, "/", "tea")
        sent.manager.basic_enter_room(two, "/", "coffee")
        await sent.manager.emit("e", 1, "/", except_rooms=["tea", "nowhere"])
        assert sent.take() == ["eio-2", "eio-3"]
        await sent.manager.emit("e", 1, "/", except_rooms=["tea", "coffee"])
        assert sent.take() == ["eio-3"]

    async def test_several_rooms_reach_everybody_once(self, sent: Sent) -> None:
        one, two = [await sent.client(number) for number in (1, 2)]
        for sid, room in ((one, "tea"), (one, "coffee"), (two, "coffee")):
            sent.manager.basic_enter_room(sid, "/", room)
        await sent.manager.emit("e", 1, "/", room=["tea", "coffee"])
        assert sent.take() == ["eio-1", "eio-2"]

    async def test_what_is_volatile_may_be_lost(self, sent: Sent) -> None:
        await sent.client(1)
        await sent.manager.emit("e", 1, "/", volatile=True)
        await sent.manager.emit("e", 1, "/")
        assert [message.keep for _, message in sent.messages] == [Keep.DROP, Keep.MUST]

    async def test_what_nobody_would_get_is_not_encoded(self, sent: Sent) -> None:
        await sent.manager.emit("e", object(), "/")
        one = await sent.client(1)
        await sent.manager.emit("e", object(), "/", skip_sid=one)
        assert sent.messages == []


class TestCallbacks:
    async def test_each_recipient_has_its_own_number(self, sent: Sent) -> None:
        called: list[Any] = []
        sids = [await sent.client(number) for number in (1, 2)]
        for _ in range(2):
            await sent.manager.emit("e", 1, "/", callback=lambda *args: called.append(args))
        assert [message.text for _, message in sent.messages] == [b'42%d["e",1]' % number for number in (1, 1, 2, 2)]
        await sent.manager.trigger_callback(sids[0], 2, ["a", "b"])
        await sent.manager.trigger_callback(sids[0], 2, ["again"])
        assert called == [("a", "b")]

    @pytest.mark.parametrize("number", [0, -1, 2, 10**15])
    async def test_a_number_that_nobody_waits_for_is_passed_over(self, sent: Sent, number: int) -> None:
        called: list[Any] = []
        sid = await sent.client(1)
        await sent.manager.trigger_callback(sid, number, ["early"])
        await sent.manager.emit("e", 1, "/", callback=lambda *args: called.append(args))
        await sent.manager.trigger_callback(sid, number, ["forged"])
        await sent.manager.emit("e", 1, "/", callback=lambda *args: called.append(args))
        assert called == []
        assert orjson.loads(sent.messages[-1][1].text.removeprefix(b"422")) == ["e", 1]
        await sent.manager.trigger_callback(sid, 1, ["right"])
        assert called == [("right",)]

    async def test_none_is_kept_for_who_is_gone(self, sent: Sent) -> None:
        sid = await sent.client(1)
        await sent.manager.emit("e", 1, "/", callback=lambda *args: None)
        await sent.manager.disconnect(sid, "/", ignore_queue=True)
        assert sent.manager.callbacks == {}
        await sent.manager.trigger_callback(sid, 1, [])


class TestEnds:
    async def test_a_connect_that_failed_leaves_nothing(self, sent: Sent) -> None:
        sid = await sent.manager.pre_connect("eio-1", "/")
        await sent.manager.disconnect(sid, "/", ignore_queue=True)
        assert (sent.manager.rooms, sent.manager.pending_connect, sent.manager._rooms_of) == ({}, {}, {})

    async def test_others_who_are_connecting_are_not_touched(self, sent: Sent) -> None:
        one, other = [await sent.manager.pre_connect(f"eio-{number}", "/") for number in (1, 2)]
        await sent.manager.disconnect(one, "/", ignore_queue=True)
        assert sent.manager.pending_connect == {"/": [other]}

    async def test_an_end_costs_what_the_client_was_in(self, sent: Sent) -> None:
        left = []
        sids = [await sent.client(number) for number in range(50)]
        for number, sid in enumerate(sids):
            sent.manager.basic_enter_room(sid, "/", f"room-{number}")
        original = sent.manager.basic_leave_room

        def leave(sid: str, namespace: str, room: Any) -> None:
            left.append(room)
            original(sid, namespace, room)

        sent.manager.basic_leave_room = leave  # type: ignore[method-assign]
        await sent.manager.disconnect(sids[0], "/", ignore_queue=True)
        assert set(left) == {None, sids[0], "room-0"}
        assert len(left) == 3
