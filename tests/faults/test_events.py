"""What is handled and what is sent (F6, F10, F13 to F15, F18 to F20, F25, F28 of the faults of stock)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from typing import Any

import pytest

from hubbub.transport.addresses import Addresses
from tests.support.faults import Options, Served, Stack, ours_only, seen_on_stock
from tests.support.faults_peer import frame, http

HANDSHAKE = "EIO=4&transport=polling"


class TestAcks:
    @seen_on_stock("what was cancelled is acknowledged as done")
    async def test_f6_an_event_whose_handler_was_cancelled_is_not_acknowledged_as_done(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:

            async def work(sid: str) -> None:
                raise asyncio.CancelledError

            served.server.on("work", work)
            await peer.send('427["work"]')
            answer = str(await served.within(peer.receive(), "no answer"))
            assert answer != "437[]", "what was cancelled is acknowledged as done"
            assert json.loads(answer.removeprefix("437"))[0]["ok"] is False

    @seen_on_stock("no answer")
    async def test_f6_an_event_whose_handler_raised_is_answered_as_failed(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:

            async def work(sid: str) -> None:
                raise RuntimeError("a handler's own fault")

            served.server.on("work", work)
            await peer.send('427["work"]')
            answer = str(await served.within(peer.receive(), "no answer"))
            assert json.loads(answer.removeprefix("437"))[0]["error"]["code"] == "internal"
            assert "a handler's own fault" not in answer

    @pytest.mark.parametrize("result", [object(), [b"x"] * 11], ids=["no JSON", "too many attachments"])
    @seen_on_stock("no answer|a JavaScript client ends the connection")
    async def test_f6_an_event_whose_answer_cannot_be_sent_is_answered_as_failed(
        self, result: Any, stack: Stack
    ) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            served.server.on("work", lambda sid: result)
            await peer.send('427["work"]')
            answer = str(await served.within(peer.receive(), "no answer"))
            assert not answer.startswith("4611-"), "a JavaScript client ends the connection"
            assert json.loads(answer.removeprefix("437"))[0]["error"]["code"] == "internal"


class TestOrder:
    @seen_on_stock("events were done out of order")
    async def test_f10_events_of_a_client_are_done_in_order(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            done: list[int] = []

            async def step(sid: str, number: int) -> None:
                for _ in range(2 if number % 2 else 20):
                    await asyncio.sleep(0)
                done.append(number)

            served.server.on("step", step)
            await peer.send(*(f'42["step",{number}]' for number in range(10)))
            await served.until(lambda: len(done) == 10, "events were lost")
            assert done == list(range(10)), "events were done out of order"

    @seen_on_stock("one client has thousands of tasks|fewer are at work than stock has")
    async def test_f10_one_client_has_a_bounded_number_of_events_at_work(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            release = asyncio.Event()
            done: list[int] = []
            most = 0
            before = len(asyncio.all_tasks())

            async def work(sid: str, number: int) -> None:
                nonlocal most
                if not release.is_set():
                    most = len(asyncio.all_tasks())
                await release.wait()
                done.append(number)

            served.server.on("work", work)
            for number in range(2000):
                peer.write(frame(1, f'42["work",{number}]'.encode()))
            if served.is_stock:
                await served.until(lambda: most - before > 300, "fewer are at work than stock has")
            else:
                session = served.server.eio.sessions[peer.sid]
                await served.until(lambda: session.blocked, "reading goes on")
            assert most - before < 300, "one client has thousands of tasks"
            release.set()
            await served.until(lambda: len(done) == 2000, "events were lost")

    @seen_on_stock("a handler cannot ask its client", async_handlers=False)
    async def test_f10_a_handler_may_ask_its_client_although_events_are_in_order(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:

            async def work(sid: str) -> Any:
                return await served.server.call("question", to=sid, timeout=served.patience_s)

            served.server.on("work", work)
            await peer.send('427["work"]')
            question = str(await served.within(peer.receive(), "a handler cannot ask its client"))
            await peer.send(f"43{question.removeprefix('42').partition('[')[0]}[5]")
            assert await served.within(peer.receive(), "no answer") == "437[5]"

    @seen_on_stock("a slow handler ended the connection", async_handlers=False)
    async def test_f10_the_heartbeat_goes_on_while_a_handler_is_at_work(self, stack: Stack) -> None:
        options = Options(ping_interval_s=0.1, ping_timeout_s=0.3)
        async with stack.serve(options) as served, served.websocket() as peer:
            pings = 0

            async def work(sid: str) -> None:
                while pings < 6:
                    await asyncio.sleep(0.01)

            served.server.on("work", work)
            await peer.send('427["work"]')
            while pings < 6:
                frame = await served.within(peer.read_frame(), "a slow handler ended the connection")
                assert frame is not None, "a slow handler ended the connection"
                if frame[1] == b"2":
                    pings += 1
                    await peer.send("3")
            assert await served.within(peer.receive(), "no answer") == "437[]"


class TestCosts:
    @seen_on_stock("the cost grows with the rooms of others")
    async def test_f13_leaving_and_being_looked_up_cost_what_the_client_is_in(self, stack: Stack) -> None:
        """At 30,000 clients stock takes 3 ms for each, and a mass disconnect blocks its loop for 47 s."""
        async with stack.serve() as served, served.websocket() as peer:
            manager = served.server.manager

            def cost() -> float:
                """Of finding the rooms of one client, and of leaving; the best of many."""
                best = 1.0
                for number in range(30):
                    sid = f"probe{number}{len(manager.rooms['/'])}"
                    for room in (None, sid, "hall"):
                        manager.basic_enter_room(sid, "/", room, eio_sid=sid + "e")
                    begun = time.perf_counter()
                    manager.get_rooms(sid, "/")
                    manager.basic_disconnect(sid, "/")
                    best = min(best, time.perf_counter() - begun)
                return best

            manager.basic_enter_room(peer.id, "/", "hall")
            few = cost()
            for number in range(20_000):
                manager.basic_enter_room(f"other{number}", "/", f"room{number}", eio_sid=f"e{number}")
            assert cost() < 10 * few + 0.0001, "the cost grows with the rooms of others"

    @seen_on_stock("every connection is compressed")
    async def test_f14_compression_is_off_unless_it_is_asked_for(self, stack: Stack) -> None:
        offer = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        }
        async with stack.serve() as served:
            answer = await http(served.port, "GET", "EIO=4&transport=websocket", headers=offer)
            assert answer.status == 101
            assert "sec-websocket-extensions" not in answer.headers, "every connection is compressed"

    @seen_on_stock("each delivery has a task")
    async def test_f15_a_fan_out_makes_no_task_for_each_recipient(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as first, served.websocket() as other:
            for number in range(200):
                sid = first.id if number % 2 else other.id
                await served.server.enter_room(sid, "room")
            made = 0

            def factory(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
                nonlocal made
                made += 1
                return asyncio.Task(work, loop=loop, **options)

            asyncio.get_running_loop().set_task_factory(factory)
            try:
                for _ in range(50):
                    await served.server.emit("news", 1, to="room")
            finally:
                asyncio.get_running_loop().set_task_factory(None)
            for peer in (first, other):
                for _ in range(50):
                    assert await served.within(peer.receive(), "nothing came") == '42["news",1]'
            assert made <= 50, "each delivery has a task"


class TestTargets:
    @pytest.mark.parametrize("nobody", [[], "", ()], ids=["a list", "a text", "a tuple"])
    @seen_on_stock("everybody got it")
    async def test_f18_nobody_is_not_everybody(self, nobody: Any, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            await served.server.emit("secret", to=nobody)
            await served.server.emit("news", to=peer.id)
            assert await served.within(peer.receive(), "nothing came") == '42["news"]', "everybody got it"

    @seen_on_stock("a client is in the room of another")
    async def test_f19_the_room_of_a_client_of_another_node_cannot_be_entered(self, stack: Stack) -> None:
        async with stack.serve() as here, stack.serve() as there:
            async with here.websocket() as mine, there.websocket() as other:
                try:
                    await here.server.enter_room(mine.id, other.id)
                except ValueError:
                    pass
                else:
                    raise AssertionError("a client is in the room of another")

    @seen_on_stock("the client was not told why")
    async def test_f25_an_unknown_namespace_is_refused_with_a_message(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            await peer.send("40/nowhere,")
            answer = str(await served.within(peer.receive(), "no answer"))
            reason = json.loads(answer.removeprefix("44/nowhere,"))
            assert isinstance(reason, dict), "the client was not told why"
            assert reason["message"]


async def _address_seen(served: Served, **options: Any) -> Any:
    seen: list[Any] = []
    served.server.on("connect", lambda sid, environ, auth=None: seen.append(environ["REMOTE_ADDR"]))
    async with served.websocket(**options):
        return seen[0]


class TestAddresses:
    @seen_on_stock("the address is not the peer's")
    async def test_f20_the_address_of_a_client_is_its_own(self, stack: Stack) -> None:
        async with stack.serve() as served:
            address = await _address_seen(served, address="127.0.0.2")
            assert address == "127.0.0.2", "the address is not the peer's"

    @seen_on_stock("a page of another origin was let in")
    async def test_f20_a_forwarded_host_does_not_let_in_other_origins(self, stack: Stack) -> None:
        async with stack.serve() as served:
            headers = {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
            answer = await http(served.port, "GET", "EIO=4&transport=polling", headers=headers)
            assert answer.status == 403, "a page of another origin was let in"

    @pytest.mark.parametrize(
        ("header", "address"),
        [
            ("203.0.113.9", "203.0.113.9"),
            ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 127.0.0.7", "203.0.113.9"),
            ("nonsense", "127.0.0.2"),
        ],
    )
    @ours_only
    async def test_f20_what_a_trusted_proxy_says_is_believed_up_to_itself(
        self, header: str, address: str, stack: Stack
    ) -> None:
        """Stock knows no trusted proxies."""
        trusted = Addresses([ipaddress.ip_network("127.0.0.0/8")])
        async with stack.serve(addresses=trusted) as served:
            headers = {"X-Forwarded-For": header}
            assert await _address_seen(served, address="127.0.0.2", headers=headers) == address

    @ours_only
    async def test_f20_what_anybody_else_says_is_not_believed(self, stack: Stack) -> None:
        """Stock takes no address from a header, nor from anywhere."""
        trusted = Addresses([ipaddress.ip_network("192.0.2.0/24")])
        async with stack.serve(addresses=trusted) as served:
            headers = {"X-Forwarded-For": "203.0.113.9"}
            assert await _address_seen(served, address="127.0.0.2", headers=headers) == "127.0.0.2"

    @ours_only
    async def test_f20_connections_of_one_address_are_bounded(self, stack: Stack) -> None:
        """Stock has no such bound."""
        trusted = Addresses([ipaddress.ip_network("127.0.0.0/8")])
        one, other = ({"X-Forwarded-For": address} for address in ("203.0.113.9", "203.0.113.10"))
        async with stack.serve(addresses=trusted, max_per_address=2) as served:
            async with served.websocket(headers=one):
                async with served.websocket(headers=one):
                    assert (await http(served.port, "GET", HANDSHAKE, headers=one)).status == 429
                    assert (await http(served.port, "GET", HANDSHAKE, headers=other)).status == 200
                await served.until(lambda: len(served.known) == 2, "the connection is still known")
                assert (await http(served.port, "GET", HANDSHAKE, headers=one)).status == 200


class TestJavaScript:
    """What the stock JavaScript client ends a connection for is not sent to it."""

    @pytest.mark.parametrize(
        ("event", "data"),
        [
            ("news", [b"x"] * 11),
            ("connect", 1),
            ("connect_error", 1),
            ("disconnect", 1),
            ("disconnecting", 1),
            ("newListener", 1),
            ("removeListener", 1),
            ("news", float("nan")),
            ("news", [float("inf")]),
        ],
        ids=str,
    )
    @seen_on_stock("a JavaScript client ends the connection")
    async def test_f28_what_javascript_clients_do_not_take_is_not_sent(
        self, event: str, data: Any, stack: Stack
    ) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            with contextlib.suppress(ValueError):  # The application is told instead.
                await served.server.emit(event, data, to=peer.id)
            await served.server.emit("done", to=peer.id)
            while (packet := await served.within(peer.receive(), "nothing came")) != '42["done"]':
                head, _, sent = str(packet).partition("[")
                many = head.startswith("45") and int(head[2:-1]) > 10
                refused = any(text in sent for text in ("NaN", "Infinity", '"connect', '"disconnect', "Listener"))
                assert not many, "a JavaScript client ends the connection"
                assert not refused, "a JavaScript client ends the connection"
