"""How connections end, and that they do (F4, F5, F9, F16, F21, F24 of the faults of stock)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from hubbub.transport import ends as ends_module
from hubbub.transport.states import Deadline
from tests.support.faults import Options, Served, Stack, ours_only, seen_on_stock
from tests.support.faults_peer import PollingPeer, WebSocketPeer, http, opened, read_answer

SMALL = 4096
"""A receive buffer that the kernel fills soon."""


def in_rooms(served: Served, sid: str) -> bool:
    """Whether the server still counts a client among the members of any room."""
    rooms = served.server.manager.rooms.get("/", {})
    return any(sid in members for members in rooms.values())


def has_pinged(served: Served, sid: str) -> bool:
    """Whether a PING was sent that has not been answered."""
    if served.is_stock:
        # A session begins with a time here, to be the first to send a PING.
        return bool(served.server.eio.sockets[sid].queue.qsize() > 0)
    return Deadline.PONG in served.server.eio.sessions[sid]._at


async def fill(served: Served, peer: WebSocketPeer, *, size: int, count: int, event: str = "news") -> None:
    """Send to a peer that does not read, in turns, as long as it is there."""
    for number in range(count):
        if peer.sid not in served.known:
            return
        await served.server.emit(event, f"{number}:" + "x" * size, to=peer.id)
        await asyncio.sleep(0)


class TestSlowReaders:
    @seen_on_stock("what waits has no bound")
    async def test_f4_what_waits_for_a_client_that_does_not_read_is_bounded(self, stack: Stack) -> None:
        async with stack.serve(Options(outbox_bytes=262_144)) as served:
            async with served.websocket(receive_bytes=SMALL) as peer:
                await fill(served, peer, size=32_768, count=1024)
                await served.until(lambda: peer.sid not in served.known, "what waits has no bound")

    @seen_on_stock("a client that reads nothing is kept")
    async def test_f4_a_pong_is_no_sign_that_a_client_reads(self, stack: Stack) -> None:
        async with stack.serve(Options(outbox_bytes=64_000_000, stall_s=0.2)) as served:
            async with served.websocket(receive_bytes=SMALL) as peer:
                await fill(served, peer, size=32_768, count=512)

                async def answer_unasked() -> None:
                    while peer.sid in served.known:
                        await peer.send("3")
                        await asyncio.sleep(0.01)

                await served.within(answer_unasked(), "a client that reads nothing is kept")

    @seen_on_stock("the PING came behind what waited")
    async def test_f4_a_ping_does_not_wait_behind_data(self, stack: Stack) -> None:
        options = Options(outbox_bytes=64_000_000, ping_interval_s=0.3)
        async with stack.serve(options) as served:
            async with served.websocket(receive_bytes=SMALL) as peer:
                await fill(served, peer, size=32_768, count=512)
                socket_is_full = asyncio.get_running_loop().time()
                await served.until(lambda: has_pinged(served, peer.sid), "there was no PING")
                while served.is_stock and asyncio.get_running_loop().time() < socket_is_full + 0.4:
                    await asyncio.sleep(0.01)  # Where a PING stands in the queue there is not to be seen.
                peer.answers = False
                frames: list[bytes] = []
                while (frame := await served.within(peer.read_frame(), "nothing came")) is not None:
                    frames.append(frame[1][:20])
                    if b'"511:' in frame[1][:20]:
                        break
                assert b"2" in frames, "the PING came behind what waited"


class TestHeartbeats:
    @seen_on_stock("the socket is kept")
    async def test_f4_a_client_that_misses_a_heartbeat_loses_its_socket_too(self, stack: Stack) -> None:
        options = Options(ping_interval_s=0.1, ping_timeout_s=0.1, close_s=0.2)
        async with stack.serve(options, stock_patience_s=0.6) as served, served.websocket() as peer:
            peer.answers = False  # Neither pings nor a close: TCP is all that is left.

            async def read_to_the_end_of_tcp() -> None:
                while await peer.read_frame() is not None:
                    pass

            await served.until(lambda: peer.id not in members(served), "the client is still connected")
            await served.within(read_to_the_end_of_tcp(), "the socket is kept")

    @ours_only
    async def test_f21_a_half_open_client_is_gone_within_one_interval_and_one_timeout(self, stack: Stack) -> None:
        """Stock looks at its clients one after another, in rounds of a timeout: what is seen there is the same as here
        with one client, and up to 100 s with the default times and 50,000. Here each has its own time.
        """
        options = Options(ping_interval_s=0.2, ping_timeout_s=0.2, close_s=0.1)
        loop = asyncio.get_running_loop()
        async with stack.serve(options) as served, contextlib.AsyncExitStack() as stay:
            gone: list[float] = []
            served.server.on("disconnect", lambda sid, reason: gone.append(loop.time()))
            begun = []
            for _ in range(50):
                peer = await stay.enter_async_context(served.websocket())
                peer.reader = asyncio.StreamReader()
                begun.append(loop.time())
            await served.until(lambda: len(gone) == len(begun), "a half-open client is kept")
            await served.until(lambda: not served.known, "a half-open client is kept")
            # A deadline may be late by a tick, and the loop by as much as others take: the clients of this test are 50.
            longest = max(end - start for start, end in zip(begun, sorted(gone), strict=True))
            assert longest < 0.2 + 0.2 + 0.1 + 0.5


def members(served: Served) -> set[str]:
    return set(served.server.manager.rooms.get("/", {}).get(None, {}))


class TestRaisingHandlers:
    @seen_on_stock("a ghost is in its rooms")
    async def test_f5_a_disconnect_handler_that_raises_leaves_nobody_in_a_room(self, stack: Stack) -> None:
        async with stack.serve() as served:

            async def disconnect(sid: str, reason: str) -> None:
                raise RuntimeError("a handler's own fault")

            served.server.on("disconnect", disconnect)
            async with served.websocket() as peer:
                await served.server.enter_room(peer.id, "room")
                peer.vanish()
                await served.until(lambda: not in_rooms(served, peer.id), "a ghost is in its rooms")

    @seen_on_stock("the client was told nothing")
    async def test_f5_a_connect_handler_that_raises_refuses_the_client(self, stack: Stack) -> None:
        async with stack.serve() as served:

            async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
                raise RuntimeError("a handler's own fault")

            served.server.on("connect", connect)
            async with served.websocket(connect=False) as peer:
                await peer.send("40")
                answer = await served.within(peer.receive(), "the client was told nothing")
                assert str(answer).startswith("44{")
                assert members(served) == set(), "a ghost is left"

    @seen_on_stock("a ghost is left")
    async def test_f5_who_vanishes_during_a_slow_connect_is_nobody(self, stack: Stack) -> None:
        async with stack.serve() as served:
            go_on = asyncio.Event()
            begun: list[str] = []

            async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
                begun.append(sid)
                await go_on.wait()
                begun.append("done")

            served.server.on("connect", connect)
            peer = await PollingPeer.opened(served.port, connect=False)
            connecting = asyncio.ensure_future(peer.post("40"))
            await served.until(lambda: bool(begun), "there was no connect")
            farewell = await peer.post("1")
            go_on.set()
            await served.until(lambda: "done" in begun, "the connect has no end")
            await connecting
            assert farewell.status in (200, 400)
            await served.until(lambda: not members(served) and not in_rooms(served, begun[0]), "a ghost is left")

    @ours_only
    async def test_f5_a_connect_handler_that_hangs_lets_nobody_in(self, stack: Stack) -> None:
        """Stock waits for ever; and takes a handler that was cancelled for one that let the client in."""
        async with stack.serve(Options(event_s=0.1)) as served:

            async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
                await asyncio.Event().wait()

            served.server.on("connect", connect)
            async with served.websocket(connect=False) as peer:
                await peer.send("40")
                # No refusal, which stock clients take for final: they come back from this.
                await served.within(peer.wait_end(), "no answer")
                assert peer.close_code == 1013
                assert members(served) == set()


class TestWaiting:
    @seen_on_stock("the connection is held")
    async def test_f9_who_never_connects_to_a_namespace_is_let_go(self, stack: Stack) -> None:
        async with stack.serve(Options(connect_s=0.2)) as served, served.websocket(connect=False) as peer:
            await served.within(peer.wait_end(), "the connection is held")
            assert peer.close_code == 1002

    @seen_on_stock("the connection is held")
    async def test_f9_who_never_connects_by_polling_is_let_go(self, stack: Stack) -> None:
        async with stack.serve(Options(connect_s=0.2)) as served:
            peer = await PollingPeer.opened(served.port, connect=False)
            await served.until(lambda: peer.sid not in served.known, "the connection is held")

    @pytest.mark.parametrize("body", [b"", b"3\r\n42[\r\n"], ids=["nothing", "a part"])
    @seen_on_stock("the request is held|the client was told that all is well")
    async def test_f9_a_body_that_has_no_end_is_not_waited_for(self, body: bytes, stack: Stack) -> None:
        async with stack.serve(Options(connect_s=0.2)) as served:
            peer = await PollingPeer.opened(served.port)
            async with opened(served.port) as (reader, writer):
                head = f"POST /socket.io/?{peer.query} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                writer.write(head.encode())
                await writer.drain()
                writer.write(body)
                answer = await served.within(read_answer(reader), "the request is held")
                await served.stop()  # The web server would read on for some seconds, to be polite.
            assert answer.status == 408, "the client was told that all is well"

    @ours_only
    async def test_f9_a_client_that_leaves_in_the_middle_of_a_body_is_no_error(
        self, caplog: pytest.LogCaptureFixture, stack: Stack
    ) -> None:
        """Stock takes the part for the whole."""
        async with stack.serve() as served:
            peer = await PollingPeer.opened(served.port)
            shell = served.server.eio.sessions[peer.sid].shell
            async with opened(served.port) as (_, writer):
                head = f"POST /socket.io/?{peer.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n42["
                writer.write(head.encode())
                await served.until(lambda: shell.posting, "the request did not come")
            await served.until(lambda: not shell.posting, "the request is held")
            await peer.post("3")
            assert [record for record in caplog.records if record.exc_info] == []

    @pytest.mark.parametrize("packets", [(), ("2probe",)], ids=["no probe", "no upgrade"])
    @seen_on_stock("the connection is held")
    async def test_f9_a_probe_that_does_not_upgrade_is_let_go_and_polling_goes_on(
        self, packets: tuple[str, ...], stack: Stack
    ) -> None:
        async with stack.serve(Options(upgrade_s=0.2)) as served:
            polling = await PollingPeer.opened(served.port)
            async with WebSocketPeer.opened(served.port, sid=polling.sid) as probe:
                await probe.send(*packets)
                await served.within(probe.wait_end(), "the connection is held")
            await served.server.emit("news", 1)
            assert (await polling.poll()).packets[-1] == '42["news",1]'

    @pytest.mark.parametrize("packets", [(), ("x",)], ids=["nothing", "a letter"])
    @seen_on_stock("polls are answered with nothing")
    async def test_f9_a_probe_that_was_dropped_does_not_make_polls_empty(
        self, packets: tuple[str, ...], stack: Stack
    ) -> None:
        async with stack.serve() as served:
            peer = await PollingPeer.opened(served.port)
            async with WebSocketPeer.opened(served.port, sid=peer.sid) as probe:
                await probe.send(*packets)
                if packets:
                    await served.within(probe.wait_end(), "the probe is still there")
            for _ in range(20):
                poll = asyncio.ensure_future(peer.poll())
                done, _ = await asyncio.wait([poll], timeout=0.1)
                if not done:
                    break
                assert poll.result().body == b"6"
            assert not done, "polls are answered with nothing"
            await served.server.emit("news", 1)
            assert (await poll).body == b'42["news",1]'


class TestFarewells:
    @seen_on_stock("the WebSocket is still open")
    async def test_f16_who_is_disconnected_loses_the_websocket_too(
        self, monkeypatch: pytest.MonkeyPatch, stack: Stack
    ) -> None:
        monkeypatch.setattr(ends_module, "_LEFT_S", 0.1)
        async with stack.serve() as served, served.websocket() as peer:
            await served.server.disconnect(peer.id)
            assert await peer.receive() == "41"
            await served.within(peer.wait_end(), "the WebSocket is still open")

    @seen_on_stock("the client was not told to come back")
    async def test_f16_f24_clients_are_told_at_once_that_the_server_is_shut_down(self, stack: Stack) -> None:
        async with stack.serve() as served, served.websocket() as peer:
            stopping = asyncio.ensure_future(served.stop())
            packets: list[Any] = []
            while (packet := await peer.receive()) is not None:
                packets.append(packet)
            await stopping
            assert peer.close_code == 1012, "the client was not told to come back"
            assert packets == [], "a DISCONNECT keeps JavaScript clients away"

    @seen_on_stock("tasks are left")
    async def test_f24_a_connection_that_ended_leaves_no_task(self, stack: Stack) -> None:
        async with stack.serve() as served:
            async with served.websocket():
                before = len(asyncio.all_tasks())
            for _ in range(20):
                async with served.websocket():
                    pass
            await served.until(lambda: len(asyncio.all_tasks()) <= before, "tasks are left")

    @ours_only
    async def test_f24_a_poll_that_waits_is_answered_at_a_shutdown(self, stack: Stack) -> None:
        """Stock leaves the poll to the web server, which cuts it."""
        async with stack.serve() as served:
            peer = await PollingPeer.opened(served.port)
            poll = asyncio.ensure_future(peer.poll())
            session = served.server.eio.sessions[peer.sid]
            await served.until(lambda: session.shell.polling, "the poll did not come")
            await served.stop()
            assert (await poll).status == 200
            with pytest.raises(OSError):
                await http(served.port, "GET", "EIO=4&transport=polling")
