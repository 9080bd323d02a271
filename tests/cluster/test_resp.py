"""Replies come out whole and in order, however the socket cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.cluster import resp
from hubbub.cluster.resp import ProtocolError, RedisError, Reply, RespReader, command, commands


def encoded(reply: Reply) -> bytes:
    """As Redis would send it."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, RedisError):
        return b"-%b\r\n" % str(reply).encode()
    return b"*%d\r\n" % len(reply) + b"".join(encoded(each) for each in reply)


plain = st.none() | st.integers(-(2**40), 2**40) | st.binary(max_size=300)
replies = st.recursive(plain, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


class TestReading:
    @given(st.lists(replies, max_size=8), st.data())
    def test_whatever_is_sent_comes_out_however_it_is_cut(self, sent: list[Reply], data: st.DataObject) -> None:
        stream = b"".join(encoded(reply) for reply in sent)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
        reader = RespReader()
        got: list[Reply] = []
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            got += reader.feed(stream[begin:end])
        assert got == sent

    def test_simple_strings_and_errors(self) -> None:
        ok, error = RespReader().feed(b"+OK\r\n-MOVED 1 x\r\n")
        assert ok == b"OK"
        assert isinstance(error, RedisError)
        assert str(error) == "MOVED 1 x"

    def test_a_large_message_is_not_looked_at_with_every_piece(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reader, looks = RespReader(), 0
        parse = reader._parse

        def counted(data: bytes, at: int, depth: int) -> tuple[Reply, int] | None:
            nonlocal looks
            looks += 1
            return parse(data, at, depth)

        monkeypatch.setattr(reader, "_parse", counted)
        message = [b"message", b"channel", b"x" * 1_000_000]
        stream = encoded(list(message)) + b":1\r\n"
        got = [reply for at in range(0, len(stream), 1000) for reply in reader.feed(stream[at : at + 1000])]
        assert got == [message, 1]
        assert looks < 30

    @pytest.mark.parametrize(
        "bad", [b"?what\r\n", b"$x\r\n", b"*99999999\r\n", b"$99999999999\r\n", b"$1\r\nabc\r\n", b"*1\r\n" * 9]
    )
    def test_what_is_no_redis_is_found_out(self, bad: bytes) -> None:
        with pytest.raises(ProtocolError):
            RespReader().feed(bad)

    def test_nothing_is_collected_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ProtocolError):
            RespReader().feed(b"+" + b"x" * 70_000)
        monkeypatch.setattr(resp, "LONGEST", 1000)
        with pytest.raises(ProtocolError):
            RespReader().feed(b"*9\r\n" + b"$300\r\n" + b"x" * 300 + b"\r\n$900\r\n" + b"x" * 800)


class TestCommands:
    @given(st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=4), max_size=5))
    def test_a_command_is_read_as_it_was_said(self, said: list[list[bytes]]) -> None:
        assert RespReader().feed(commands(said)) == said

    def test_one(self) -> None:
        assert command(b"PUBLISH", b"c", b"") == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$0\r\n\r\n"
