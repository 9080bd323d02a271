"""Packets: strict JSON out, and in what a peer sends nothing that a JavaScript client could not have sent."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio import packet as sio_packet

from hubbub.transport.packets import UNREADABLE, Json, Packet, ack_packet, event_packet

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=10,
)

NO_JSON = ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "{", "'a'", "[1,]", "01", "undefined"]


class TestReading:
    @pytest.mark.parametrize("payload", NO_JSON)
    def test_what_is_not_json_is_unreadable_and_its_ack_id_survives(self, payload: str) -> None:
        packet = Packet(encoded_packet=f'2/chat,7["message:send",{payload}]')
        assert packet.packet_type == sio_packet.EVENT
        assert (packet.namespace, packet.id) == ("/chat", 7)
        assert packet.data is UNREADABLE

    @pytest.mark.parametrize("payload", ['"\\ud800"', '"\\udfff x"'])
    def test_what_can_be_named_is_left_to_whoever_checks_the_fields(self, payload: str) -> None:
        packet = Packet(encoded_packet=f'2/chat,7["e",{payload}]')
        assert packet.data == ["e", json.loads(payload)]

    @pytest.mark.parametrize("payload", [each for each in NO_JSON if not each.startswith("9")])
    def test_the_codec_itself_refuses_it(self, payload: str) -> None:
        with pytest.raises(orjson.JSONDecodeError):
            Json.loads(payload)

    def test_nesting_without_end_is_unreadable_too(self) -> None:
        packet = Packet(encoded_packet="2/chat,7" + "[" * 100_000)
        assert packet.data is UNREADABLE

    @given(VALUES)
    def test_what_is_json_is_read_as_it_is(self, value: Any) -> None:
        packet = Packet(encoded_packet="2/chat,12" + orjson.dumps(["e", value]).decode())
        assert packet.data == ["e", value]
        assert packet.id == 12

    def test_a_binary_event_is_none_of_ours(self) -> None:
        assert Packet.uses_binary_events is False
        assert Packet(sio_packet.EVENT, data=["e"]).packet_type == sio_packet.EVENT


class TestWriting:
    @given(VALUES, st.integers(0, 2**31))
    def test_an_event_and_an_ack_read_back_as_they_were(self, value: Any, ack_id: int) -> None:
        event = Packet(encoded_packet=event_packet("/chat", "message", value).data)
        assert (event.packet_type, event.namespace, event.id) == (sio_packet.EVENT, "/chat", None)
        assert event.data == ["message", value]
        ack = Packet(encoded_packet=ack_packet("/chat", ack_id, value).data)
        assert (ack.packet_type, ack.namespace, ack.id) == (sio_packet.ACK, "/chat", ack_id)
        assert ack.data == [value]

    @given(VALUES)
    def test_the_bytes_are_those_that_the_library_would_make(self, value: Any) -> None:
        theirs = Packet(sio_packet.EVENT, data=["e", value], namespace="/chat").encode()
        assert event_packet("/chat", "e", value).data == theirs
        theirs = Packet(sio_packet.ACK, data=[value], namespace="/chat", id=3).encode()
        assert ack_packet("/chat", 3, value).data == theirs

    @pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, b"bytes", object()])
    def test_what_no_client_could_read_is_refused(self, value: object) -> None:
        with pytest.raises(TypeError):
            event_packet("/chat", "e", value)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_what_is_no_number_in_json_is_never_written_as_one(self, value: float) -> None:
        assert event_packet("/chat", "e", value).data == '2/chat,["e",null]'

    def test_encoding_twice_gives_the_same_object(self) -> None:
        packet = event_packet("/chat", "e", {"a": 1})
        assert packet.encode() is packet.encode()
        assert packet.encode() == '42/chat,["e",{"a":1}]'
