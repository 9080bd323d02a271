"""What clients send (F1 to F3, F11, F12, F17, F22, F23, F27 of the faults of stock)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Never

import pytest
import socketio

from tests.support.faults import Options, Served, Stack, seen_on_stock
from tests.support.faults_peer import PollingPeer, WebSocketPeer, http


async def answered_or_ended(peer: WebSocketPeer) -> None:
    """Until what the peer sent before has been handled."""
    await peer.send('4299["are you there"]')
    await peer.receive_until(lambda packet: packet == "4399[]")


class Guarded(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no annotations.
    """Notes who calls its handlers, and with what."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.called: list[tuple[Any, ...]] = []

    async def on_connect(self, *args: Any) -> None:
        self.called.append(args)

    async def on_disconnect(self, *args: Any) -> None:
        self.called.append(args)


def check_json(text: str) -> None:
    """As JavaScript reads it: no NaN, nothing infinite."""

    def refuse(constant: str) -> Never:
        raise AssertionError("a client was sent what is not JSON")

    json.loads(text, parse_constant=refuse)


class TestNames:
    @pytest.mark.parametrize("name", ["connect", "disconnect"])
    @seen_on_stock("a client called a handler of the server")
    async def test_f1_a_client_cannot_call_the_handlers_of_connects_and_disconnects(
        self, name: str, stack: Stack
    ) -> None:
        async with stack.serve() as served:
            called: list[tuple[str, Any]] = []
            served.server.on("connect", lambda sid, environ, auth=None: called.append(("connect", sid)))
            served.server.on("disconnect", lambda sid, reason: called.append(("disconnect", sid)))
            async with served.websocket() as peer:
                called.clear()
                await peer.send(f'42["{name}",{{"sid":"forged"}}]')
                await answered_or_ended(peer)
                # A connection that ended for this is told of once, after its end.
                forged = [each for each in called if each[0] == "connect" or peer.id in served_ids(served)]
            assert forged == [], "a client called a handler of the server"

    @pytest.mark.parametrize("name", ["connect", "disconnect"])
    @seen_on_stock("a client called a handler of the server")
    async def test_f1_a_client_cannot_call_those_of_a_namespace_class(self, name: str, stack: Stack) -> None:
        async with stack.serve() as served:
            space = Guarded("/guarded")
            served.server.register_namespace(space)
            async with served.websocket(connect=False) as peer:
                await peer.send("40")
                await peer.receive()
                await peer.send("40/guarded,")
                await peer.receive()
                space.called.clear()
                await peer.send(f'42/guarded,["{name}","forged"]')
                await answered_or_ended(peer)
                forged = [args for args in space.called if "forged" in args]
            assert forged == [], "a client called a handler of the server"

    @seen_on_stock("a client called a handler of the server")
    async def test_f1_a_client_cannot_call_the_handler_of_all_events_by_its_name(self, stack: Stack) -> None:
        async with stack.serve() as served:
            called: list[tuple[Any, ...]] = []
            served.server.on("*", lambda *args: called.append(args))
            async with served.websocket() as peer:
                await peer.send('42["*","forged"]')
                await answered_or_ended(peer)
            assert called == [], "a client called a handler of the server"


def served_ids(served: Served) -> set[str]:
    """Who is connected to the main namespace."""
    return set(served.server.manager.rooms.get("/", {}).get(None, {}))


class TestNumbers:
    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
    @seen_on_stock("a client was sent what is not JSON")
    async def test_f2_what_is_not_json_is_not_sent_on(self, number: str, stack: Stack) -> None:
        async with stack.serve() as served:

            async def say(sid: str, data: Any) -> None:
                await served.server.emit("said", data)

            served.server.on("say", say)
            async with served.websocket() as reader, served.websocket() as writer:
                await writer.send(f'421["say",{{"n":{number}}}]', '42["say","done"]')
                while (packet := await served.within(reader.receive(), "nothing was said")) != '42["said","done"]':
                    check_json(str(packet)[2:])


class TestBodies:
    @seen_on_stock("an event was lost")
    async def test_f3_a_body_in_several_segments_is_read_whole(self, stack: Stack) -> None:
        async with stack.serve() as served:
            got: list[str] = []
            served.server.on("text", lambda sid, text: got.append(text))
            peer = await PollingPeer.opened(served.port)
            body = b'42["text","' + b"x" * 60_000 + b'"]'
            answer = await http(served.port, "POST", peer.query, [body[:30_000], body[30_000:]])
            assert answer.status == 200
            await served.until(lambda: got == ["x" * 60_000], "an event was lost")

    @seen_on_stock("an event was lost")
    async def test_f3_a_body_in_chunks_is_read_whole(self, stack: Stack) -> None:
        async with stack.serve() as served:
            got: list[str] = []
            served.server.on("text", lambda sid, text: got.append(text))
            peer = await PollingPeer.opened(served.port)
            answer = await http(served.port, "POST", peer.query, [b'42["text",', b'"ab"]'], chunked=True)
            assert answer.status == 200
            await served.until(lambda: got == ["ab"], "an event was lost")

    @seen_on_stock("an event was lost")
    async def test_f3_more_packets_than_sixteen_in_a_body_are_all_handled(self, stack: Stack) -> None:
        async with stack.serve() as served:
            got: list[int] = []
            served.server.on("number", lambda sid, number: got.append(number))
            peer = await PollingPeer.opened(served.port)
            answer = await peer.post(*(f'42["number",{number}]' for number in range(200)))
            assert answer.status == 200
            await served.until(lambda: sorted(got) == list(range(200)), "an event was lost")


class TestAttachments:
    @seen_on_stock("the connection is still open")
    async def test_f11_a_packet_that_announces_too_many_attachments_ends_the_connection(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            await peer.send('451000000000-["x",{"_placeholder":true,"num":0}]')
            for _ in range(100):
                await peer.send(b"x" * 1000)
            await served.within(peer.wait_end(), "the connection is still open")

    @seen_on_stock("more was taken than a packet may hold")
    async def test_f11_attachments_count_together_against_the_size_of_a_packet(self, stack: Stack) -> None:
        async with stack.serve(Options(packet_bytes=100_000)) as served:
            got: list[Any] = []
            served.server.on("x", lambda sid, *parts: got.append(parts))
            async with served.websocket() as peer:
                places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
                await peer.send(f'4510-["x",{places}]', *(b"x" * 90_000 for _ in range(10)))
                await answered_or_ended(peer)
            assert got == [], "more was taken than a packet may hold"


class TestAcks:
    @seen_on_stock("a callback raised")
    async def test_f12_an_ack_with_the_id_zero_changes_nothing(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:

            async def ask() -> Any:
                call = asyncio.ensure_future(served.server.call("question", to=peer.id, timeout=served.patience_s))
                await asyncio.wait(
                    [call, reading := asyncio.ensure_future(peer.receive())], return_when="FIRST_COMPLETED"
                )
                if call.done() and call.exception() is not None:
                    reading.cancel()
                    raise AssertionError("a callback raised") from call.exception()
                question = str(await reading)
                await peer.send(f"43{question.removeprefix('42').partition('[')[0]}[5]")
                return await call

            assert await ask() == 5
            await peer.send("430[]")
            await answered_or_ended(peer)
            assert await ask() == 5


MALFORMED = {
    "no type": "4",
    "a type that is none": "4x",
    "a type of Socket.IO that is none": "47",
    "an empty frame": "",
    "a type of Engine.IO that is none": "9",
    "a letter": "x",
    "an Arabic digit as the type": "٤2",
    "an open packet": '0{"sid":"x"}',
    "a noop with a payload": "6x",
    "a JSON object as a packet": "4{}",
    "an event that is no array": '42{"a":1}',
    "an empty event": "42[]",
    "an event without a name": "42",
    "a number as a name": '42[5,"x"]',
    "a number that is none in an event without an ack id": '42["x",NaN]',
    "an ack id of a thousand digits": "42" + "1" * 1000 + '["x"]',
    "an ack without an id": "43[]",
    "an ack that is no array": "431{}",
    "a connect error from a client": '44{"message":"x"}',
    "a connect with a list": "40[]",
    "a connect with null": "40null",
    "a disconnect with a payload": '41"x"',
    "an event with no attachments where there are some": '450-["x"]',
    "attachments of a plain event": '421-["x"]',
    "a negative number of attachments": '45-1-["x"]',
    "an Arabic number of attachments": '45١-["x",{"_placeholder":true,"num":0}]',
    "a namespace without an end": "42/a",
    "an attachment of nothing": b"x",
    "no bytes": b"",
}

PLACES = {
    "a negative place": '{"_placeholder":true,"num":-1}',
    "a place that there is not": '{"_placeholder":true,"num":1}',
    "a place that is a text": '{"_placeholder":true,"num":"0"}',
    "a place that is a fraction": '{"_placeholder":true,"num":0.0}',
    "a place that is true": '{"_placeholder":true,"num":false}',
    "no number of a place": '{"_placeholder":true}',
    "no place at all": '"x"',
}


class TestMalformed:
    @pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
    @seen_on_stock("the connection is still open|a ghost is left")
    async def test_f17_what_is_no_packet_ends_the_connection(self, packet: str | bytes, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            await peer.send(packet)
            await served.check_ended(peer)
            await served.until(lambda: not served.known, "a ghost is left")

    @pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
    @seen_on_stock("the connection is still open")
    async def test_f17_a_bad_place_for_an_attachment_ends_the_connection(self, place: str, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            await peer.send(f'451-["x",{place}]', b"bytes")
            await served.check_ended(peer)

    @seen_on_stock("the connection is still open")
    async def test_f17_a_text_where_an_attachment_is_due_ends_the_connection(self, stack: Stack) -> None:
        async with stack.serve() as served:
            got: list[Any] = []
            served.server.on("x", lambda sid, *parts: got.append(parts))
            async with served.websocket() as peer:
                await peer.send('451-["x",{"_placeholder":true,"num":0}]', '42["x"]')
                await served.check_ended(peer)
            assert got == []

    @seen_on_stock("a digit was taken for another")
    async def test_f17_digits_of_other_scripts_are_no_ack_id(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            await peer.send('42٣["are you there"]')
            assert await served.within(peer.receive(), "no answer") is None, "a digit was taken for another"

    @seen_on_stock("the session is still open")
    async def test_f17_a_polling_client_that_sends_what_is_no_packet_is_hung_up_on(self, stack: Stack) -> None:
        async with stack.serve() as served:
            peer = await PollingPeer.opened(served.port)
            answer = await peer.post("4x")
            assert answer.status == 400, "the session is still open"
            await served.until(lambda: peer.sid not in served.known, "the session is still open")


class TestNesting:
    @pytest.mark.parametrize(
        "data", ["[" * 900 + "]" * 900, "[" + "[]," * 300_000 + "[]]", '{"a":' * 900 + "1" + "}" * 900]
    )
    @seen_on_stock("a handler was given it")
    async def test_f27_deep_or_endless_nesting_is_refused_before_it_is_decoded(self, data: str, stack: Stack) -> None:
        async with stack.serve(Options(packet_bytes=2_000_000), stock_patience_s=5) as served:
            got: list[Any] = []
            served.server.on("x", lambda sid, value: got.append(value))
            async with served.websocket() as peer:
                await peer.send(f'42["x",{data}]')
                await served.within(answered_or_ended(peer), "no answer")
            assert got == [], "a handler was given it"


class TestPolling:
    @seen_on_stock("a script was sent")
    async def test_f22_scripts_are_not_served(self, stack: Stack) -> None:
        async with stack.serve() as served:
            answer = await http(served.port, "GET", "EIO=4&transport=polling&j=0")
            assert b"___eio" not in answer.body, "a script was sent"
            assert answer.status == 400

    @seen_on_stock("two polls took from one stream")
    async def test_f23_a_second_poll_beside_the_first_ends_the_session(self, stack: Stack) -> None:
        async with stack.serve() as served:
            peer = await PollingPeer.opened(served.port)
            polls = [asyncio.ensure_future(peer.poll()) for _ in range(2)]
            done, _ = await asyncio.wait(polls, timeout=served.patience_s, return_when="FIRST_COMPLETED")
            if not done:
                for number in range(2):
                    await served.server.emit("news", number)
                    await asyncio.sleep(0)
            answers = await asyncio.gather(*polls)
            assert [b"news" in answer.body for answer in answers].count(True) < 2, "two polls took from one stream"
            assert 400 in [answer.status for answer in answers]
            await served.until(lambda: not served.known, "the session is still open")
