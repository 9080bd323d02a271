"""The listening socket and the process."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Iterator

import pytest

from hubbub.transport import tcp
from hubbub.transport.tcp import listening_sockets, raise_descriptor_limit


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets that are closed after the test."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


class TestListening:
    async def test_it_listens_on_the_address_that_was_asked_for(self, opened: list[socket.socket]) -> None:
        opened += await listening_sockets("127.0.0.1", 0)
        (listener,) = opened
        host, port = listener.getsockname()
        assert (host, listener.getblocking()) == ("127.0.0.1", False)
        with socket.create_connection((host, port)) as peer:
            assert peer.getpeername() == (host, port)

    async def test_a_port_that_the_system_chooses_is_one(self, opened: list[socket.socket]) -> None:
        opened += await listening_sockets("", 0)
        assert len(opened) == 1

    async def test_all_addresses_of_a_host_get_the_same_port(self, opened: list[socket.socket]) -> None:
        opened += await listening_sockets("127.0.0.1", 0)
        port = opened[0].getsockname()[1]
        opened.pop().close()
        opened += await listening_sockets("", port)
        assert {each.getsockname()[1] for each in opened} == {port}
        assert len({each.family for each in opened}) == len(opened)

    async def test_a_port_that_is_taken_is_an_error_and_nothing_stays_open(self, opened: list[socket.socket]) -> None:
        opened += await listening_sockets("127.0.0.1", 0)
        port = opened[0].getsockname()[1]
        with pytest.raises(OSError) as caught:
            await listening_sockets("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE  # What stayed open would be a warning, and so a failure.

    async def test_a_host_that_nobody_knows_is_an_error(self) -> None:
        with pytest.raises(OSError):
            await listening_sockets("not a host name", 0)


class TestOptions:
    @pytest.mark.parametrize(
        ("level", "name", "value"),
        [
            (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
            (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
            (socket.SOL_SOCKET, "SO_REUSEADDR", 1),
            (socket.IPPROTO_TCP, "TCP_KEEPIDLE", tcp.KEEPALIVE_IDLE_S),
            (socket.IPPROTO_TCP, "TCP_KEEPINTVL", tcp.KEEPALIVE_INTERVAL_S),
            (socket.IPPROTO_TCP, "TCP_KEEPCNT", tcp.KEEPALIVE_COUNT),
            (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", tcp.USER_TIMEOUT_MS),
            (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", tcp.UNSENT_BYTES),
        ],
    )
    async def test_a_connection_inherits_them(
        self, opened: list[socket.socket], level: int, name: str, value: int
    ) -> None:
        number = getattr(socket, name, None)
        if number is None:
            return  # The platform does not have it, and nobody misses it.
        opened += await listening_sockets("127.0.0.1", 0)
        with socket.create_connection(opened[0].getsockname()):
            accepted, _ = opened[0].accept()
            with accepted:
                assert accepted.getsockopt(level, number) == value or (
                    value == 1 and accepted.getsockopt(level, number) > 0
                )

    async def test_what_the_platform_refuses_is_done_without(
        self, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket, "TCP_USER_TIMEOUT", 9999, raising=False)
        monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
        opened += await listening_sockets("127.0.0.1", 0)
        assert len(opened) == 1


class TestDescriptors:
    def test_the_process_takes_as_many_as_it_may(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
            assert raise_descriptor_limit() == hard
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
            assert raise_descriptor_limit() == hard
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_where_it_may_not_it_says_how_many_it_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(what: int, limits: tuple[int, int]) -> None:
            raise ValueError("not allowed")

        monkeypatch.setattr(resource, "setrlimit", refuse)
        monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 4096))
        assert raise_descriptor_limit() == 256
