"""Socket.IO packets: what is read is what stock clients write, and what is written is what they read."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio import packet as sio_packet

from hubbub.transport import packets
from hubbub.transport.bounds import Bounds
from hubbub.transport.message import Keep, Message
from hubbub.transport.packets import NESTED, UNREADABLE, Attachments, LibraryPacket, Packet, read_packet
from hubbub.transport.states import ViolationError

BOUNDS = Bounds()

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=10,
)
BINARY = st.recursive(
    JSON | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda name: name not in packets._REFUSED_NAMES
)
NAMESPACES = st.sampled_from(["/", "/chat", "/a/b.c-d_e", "/ümlaut", "/chat space"])
IDS = st.none() | st.integers(0, 10**15 - 1)


def count_binary(data: Any) -> int:
    if isinstance(data, bytes):
        return 1
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return sum(map(count_binary, inner))


def read_back(message: Message, bounds: Bounds = BOUNDS) -> Packet:
    """The packet that a peer would read from a message."""
    assert message.text[:1] == b"4"
    packet = read_packet(message.text[1:], bounds)
    if message.attachments:
        waiting = Attachments(packet, len(message.text), bounds)
        ready = [waiting.add(data) for data in message.attachments]
        assert ready == [False] * (len(ready) - 1) + [True]
    return packet


def theirs(kind: int, namespace: str, data: Any, id: int | None = None) -> list[bytes]:
    """What python-socketio would write."""
    encoded = sio_packet.Packet(kind, data=data, namespace=namespace, id=id).encode()
    parts = encoded if isinstance(encoded, list) else [encoded]
    return [b"4" + parts[0].encode(), *parts[1:]]


class TestRoundTrips:
    @given(NAMESPACES, NAMES, JSON)
    def test_an_event(self, namespace: str, name: str, value: Any) -> None:
        packet = read_back(packets.event_message(namespace, name, value))
        assert (packet.kind, packet.namespace, packet.id) == (packets.EVENT, namespace, None)
        assert packet.data == [name, value]

    @given(NAMESPACES, st.integers(0, 10**15 - 1), JSON)
    def test_an_ack(self, namespace: str, id: int, value: Any) -> None:
        packet = read_back(packets.ack_message(namespace, id, value))
        assert (packet.kind, packet.namespace, packet.id) == (packets.ACK, namespace, id)
        assert packet.data == [value]

    @given(NAMESPACES, NAMES, st.lists(BINARY, max_size=3).filter(lambda args: count_binary(args) <= 10), IDS)
    def test_an_event_with_attachments(self, namespace: str, name: str, args: list[Any], id: int | None) -> None:
        message = packets.data_message(packets.EVENT, namespace, [name, *args], id=id)
        packet = read_back(message)
        has_parts = count_binary(args) > 0
        assert packet.kind == (packets.BINARY_EVENT if has_parts else packets.EVENT)
        assert (packet.namespace, packet.id, packet.attachments) == (namespace, id, len(message.attachments))
        assert packet.data == [name, *args]

    @given(NAMESPACES, st.lists(BINARY, max_size=3).filter(lambda args: count_binary(args) <= 10), st.integers(0, 99))
    def test_an_ack_with_attachments(self, namespace: str, args: list[Any], id: int) -> None:
        packet = read_back(packets.data_message(packets.ACK, namespace, args, id=id))
        assert packet.kind == (packets.BINARY_ACK if count_binary(args) else packets.ACK)
        assert (packet.namespace, packet.id) == (namespace, id)
        assert packet.data == args

    @given(NAMESPACES)
    def test_a_disconnect(self, namespace: str) -> None:
        packet = read_back(packets.disconnect_message(namespace))
        assert (packet.kind, packet.namespace, packet.data) == (packets.DISCONNECT, namespace, None)


class TestAsTheLibrary:
    """The bytes are those that python-socketio would make of the same."""

    @given(NAMESPACES, NAMES, JSON)
    def test_of_an_event(self, namespace: str, name: str, value: Any) -> None:
        (text,) = theirs(sio_packet.EVENT, namespace, [name, value])
        ours = packets.event_message(namespace, name, value).text
        assert read_packet(ours[1:], BOUNDS).data == read_packet(text[1:], BOUNDS).data
        if b"\\u" not in text and b"\\u" not in ours:  # The library escapes what is not ASCII.
            assert ours == text

    @given(NAMESPACES, st.integers(0, 99), st.lists(JSON, max_size=2))
    def test_of_an_ack(self, namespace: str, id: int, args: list[Any]) -> None:
        (text,) = theirs(sio_packet.ACK, namespace, args, id)
        ours = packets.data_message(packets.ACK, namespace, args, id=id).text
        assert read_packet(ours[1:], BOUNDS).data == read_packet(text[1:], BOUNDS).data

    def test_of_attachments(self) -> None:
        args = ["e", b"one", {"a": [b"two", 3]}]
        message = packets.data_message(packets.EVENT, "/chat", args, id=7)
        assert [message.text, *message.attachments] == theirs(sio_packet.EVENT, "/chat", args, 7)

    @pytest.mark.parametrize("namespace", ["/", "/chat"])
    def test_of_a_connect(self, namespace: str) -> None:
        assert [packets.connect_message(namespace, "id").text] == theirs(sio_packet.CONNECT, namespace, {"sid": "id"})

    @pytest.mark.parametrize("namespace", ["/", "/chat"])
    def test_of_a_disconnect(self, namespace: str) -> None:
        (text,) = theirs(sio_packet.DISCONNECT, namespace, None)
        assert packets.disconnect_message(namespace).text == text

    @given(NAMESPACES, NAMES, JSON, IDS)
    def test_what_it_writes_is_read(self, namespace: str, name: str, value: Any, id: int | None) -> None:
        (text,) = theirs(sio_packet.EVENT, namespace, [name, value], id)
        packet = read_packet(text[1:], BOUNDS)
        assert (packet.kind, packet.namespace, packet.id, packet.data) == (packets.EVENT, namespace, id, [name, value])


VIOLATIONS = [
    *("", "x", "7", "9", " 2", "-1", "٢", "22", "2-", "2/chat", "2/chat,", "2/chat,1", "2/chat,,[]"),
    *('2{"a":1}', "2[]", "2[5]", "2[null]", "2[[]]", '2"text"', "21", "2null", '2/chat,x["e"]', '2/chat,-1["e"]'),
    *('2/chat,1.5["e"]', '2/chat,1 2["e"]', '2 /chat,["e"]', '2chat,["e"]', '2/chat,٣["e"]', '2/chat,²["e"]'),
    *('2/ch\x00at,["e"]', '2/ch\nat,["e"]', "2/chat," + "1" * 16 + '["e"]', '2["' + "x" * 129 + '"]'),
    *("2/" + "x" * 128 + ',["e"]', "0/" + "x" * 128, '21-["e"]', '2/chat,1-["e"]'),
    *("3", "3[]", "31", "31{}", '31"x"', "31[", "31[NaN]", "3-1[]", '3/chat,["e"]', "3" + "1" * 16 + "[]", "31-1[]"),
    *("0[]", "05", '0"x"', "0{", "0{}{}", "01{}", "0/chat,1{}", '0/chat,{"a":NaN}', "01-{}", "0" + "[" * 99),
    *("1{}", "11", "1/chat,x", "1/chat,1", "11-", '1"x"', "1-"),
    *("4", "4{}", "4/chat,{}", '4"refused"'),
    *("5", '5["e"]', '50-["e"]', '511-["e"]', '5-["e"]', '51["e"]', '5-1-["e"]', '5٣-["e"]', "51-", "51-{}", "51-["),
    *('51-[5,{"_placeholder":true,"num":0}]', '599999999999-["e"]', "51-[]", '51-["e",NaN]', '51-"e"', '51.0-["e"]'),
    *("6", "61", "61-", "61-[]", "61-1", '61-1{"a":1}', "60-1[]", "611-1[]", "61-1[NaN]", "6-1[]", "6/chat,1[]"),
]


class TestStrictness:
    @pytest.mark.parametrize("text", VIOLATIONS, ids=lambda text: repr(text[:20]))
    def test_what_no_stock_client_writes_is_a_violation(self, text: str) -> None:
        with pytest.raises(ViolationError):
            read_packet(text.encode(), BOUNDS)

    @pytest.mark.parametrize("text", [b"\xff", b"2\xff", b'2/ch\xffat,["e"]', b"0/\xff", b"2[\xff]"])
    def test_bytes_that_are_no_text_never_get_this_far_and_would_do_no_harm(self, text: bytes) -> None:
        try:
            packet = read_packet(text, BOUNDS)
        except (ViolationError, UnicodeDecodeError):
            return
        assert packet.data is UNREADABLE

    @given(st.binary(max_size=60) | st.text('0123456-/,chat[]{}"e:_placeholdernum ', max_size=40).map(str.encode))
    def test_anything_is_a_packet_or_a_violation(self, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            return
        try:
            packet = read_packet(text, BOUNDS)
        except ViolationError as violation:
            reason = violation.reason
        else:
            assert packet.kind in (0, 1, 2, 3, 5, 6)
            assert packet.namespace.startswith("/")
            return
        assert reason

    @given(st.text('0123456789-/,chat[]{}"e ', max_size=30))
    def test_the_short_way_reads_what_the_long_way_reads(self, rest: str) -> None:
        """An EVENT for a namespace with a query is read by the pattern; without one it needs none."""

        def read(text: str) -> Any:
            try:
                packet = read_packet(text.encode(), BOUNDS)
            except ViolationError:
                return None
            return packet.kind, packet.namespace, packet.id, packet.data

        assert read("2/chat," + rest) == read("2/chat?q," + rest)

    @pytest.mark.parametrize("size", [127, 128])
    def test_a_namespace_as_long_as_it_may_be_is_read(self, size: int) -> None:
        place = "/" + "x" * (size - 1)
        assert read_packet(f'2{place},["e"]'.encode(), BOUNDS).namespace == place
        assert read_packet(f"0{place}".encode(), BOUNDS).namespace == place

    def test_so_is_a_name_and_an_id(self) -> None:
        packet = read_packet(b"2" + b"9" * 15 + b'["' + b"x" * 128 + b'"]', BOUNDS)
        assert (packet.id, len(packet.data[0])) == (10**15 - 1, 128)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "namespace", "data"),
        [
            ("0", "/", None),
            ("0{}", "/", {}),
            ('0{"token":"x"}', "/", {"token": "x"}),
            ("0/chat", "/chat", None),
            ("0/chat,", "/chat", None),
            ('0/chat,{"token":"x"}', "/chat", {"token": "x"}),
            ('0/chat?token=x&y=1,{"a":1}', "/chat", {"a": 1}),
        ],
    )
    def test_a_connect_may_have_a_payload(self, text: str, namespace: str, data: Any) -> None:
        packet = read_packet(text.encode(), BOUNDS)
        assert (packet.kind, packet.namespace, packet.data) == (packets.CONNECT, namespace, data)

    @pytest.mark.parametrize("payload", ["NaN", "Infinity", "1e999", "9" * 5000, "{", "'a'", "[1,]", "01", "undefined"])
    def test_what_is_not_json_is_unreadable_and_its_ack_id_survives(self, payload: str) -> None:
        packet = read_packet(f'2/chat,7["message:send",{payload}]'.encode(), BOUNDS)
        assert (packet.kind, packet.namespace, packet.id) == (packets.EVENT, "/chat", 7)
        assert packet.data is UNREADABLE

    @pytest.mark.parametrize("payload", [b"[" * 40, b"[" * 100_000, b'["e",' + b"[" * 33 + b"]" * 33 + b"]"])
    def test_so_it_does_where_it_is_nested_too_deep(self, payload: bytes) -> None:
        packet = read_packet(b"2/chat,7" + payload, BOUNDS)
        assert (packet.id, packet.data) == (7, NESTED)

    def test_the_two_say_what_is_wrong(self) -> None:
        assert UNREADABLE.text != NESTED.text

    @pytest.mark.parametrize("payload", ['"\\ud800"', '"\\udfff x"'])
    def test_what_can_be_named_is_left_to_whoever_checks_the_fields(self, payload: str) -> None:
        packet = read_packet(f'2/chat,7["e",{payload}]'.encode(), BOUNDS)
        assert packet.data == ["e", json.loads(payload)]

    def test_space_around_the_payload_is_json(self) -> None:
        assert read_packet(b'2/chat,7 ["e"] ', BOUNDS).data == ["e"]


def waiting_for(text: str, *, bounds: Bounds = BOUNDS) -> Attachments:
    return Attachments(read_packet(text.encode(), bounds), len(text), bounds)


class TestAttachments:
    def test_they_are_put_where_their_placeholders_are(self) -> None:
        waiting = waiting_for('52-["e",{"a":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]')
        assert waiting.add(b"zero") is False
        assert waiting.add(b"one") is True
        assert waiting.packet.data == ["e", {"a": [b"one"]}, b"zero"]

    def test_one_may_be_used_twice(self) -> None:
        waiting = waiting_for('51-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]')
        assert waiting.add(b"x") is True
        assert waiting.packet.data == ["e", b"x", b"x"]

    @pytest.mark.parametrize(
        "number", ["-1", "1", "2", "0.0", '"0"', "null", "true", "[0]", "1e0", "99999999999999999999"]
    )
    def test_a_placeholder_that_stands_for_none_is_a_violation(self, number: str) -> None:
        waiting = waiting_for(f'51-["e",{{"_placeholder":true,"num":0}},{{"_placeholder":true,"num":{number}}}]')
        with pytest.raises(ViolationError):
            waiting.add(b"x")

    def test_so_is_one_without_a_number(self) -> None:
        with pytest.raises(ViolationError):
            waiting_for('51-["e",{"_placeholder":true}]').add(b"x")

    @pytest.mark.parametrize("payload", ['["e"]', '["e",{"num":0}]', '["e",{"_placeholder":1,"num":0}]'])
    def test_so_is_an_attachment_without_a_place(self, payload: str) -> None:
        with pytest.raises(ViolationError):
            waiting_for(f"51-{payload}").add(b"x")

    def test_together_with_the_text_they_are_bounded(self) -> None:
        text = '52-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
        fits = waiting_for(text, bounds=Bounds(packet_bytes=len(text) + 10))
        assert (fits.add(b"x" * 5), fits.add(b"x" * 5)) == (False, True)
        assert fits.size == len(text) + 10
        too_large = waiting_for(text, bounds=Bounds(packet_bytes=len(text) + 10))
        too_large.add(b"x" * 5)
        with pytest.raises(ViolationError):
            too_large.add(b"x" * 6)

    def test_as_many_as_the_bound_may_be_announced(self) -> None:
        assert read_packet(b'510-["e"]', BOUNDS).attachments == 10
        assert read_packet(b'52-["e"]', Bounds(attachments=2)).attachments == 2
        with pytest.raises(ViolationError):
            read_packet(b'53-["e"]', Bounds(attachments=2))

    def test_a_binary_ack_may_have_them(self) -> None:
        waiting = waiting_for('61-/chat,7[{"_placeholder":true,"num":0}]')
        assert waiting.add(b"x") is True
        packet = waiting.packet
        assert (packet.kind, packet.namespace, packet.id, packet.data) == (packets.BINARY_ACK, "/chat", 7, [b"x"])


class TestWriting:
    @pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, object()])
    def test_what_no_client_could_read_is_refused(self, value: object) -> None:
        with pytest.raises(TypeError):
            packets.event_message("/chat", "e", value)
        with pytest.raises(TypeError):
            packets.data_message(packets.EVENT, "/chat", ["e", value])

    @given(JSON, JSON, st.booleans())
    def test_what_is_encoded_already_is_put_in_where_it_stands(self, one: Any, other: Any, large: bool) -> None:
        if large:
            one = [one, "x" * packets._SHARED_BYTES]
        data = {"a": one, "b": [other], "c": "\x00"}
        encoded = {"a": memoryview(orjson.dumps(one)), "b": [memoryview(orjson.dumps(other))], "c": "\x00"}
        for ours, whole in (
            (packets.event_message("/chat", "e", encoded), packets.event_message("/chat", "e", data)),
            (packets.ack_message("/chat", 7, encoded), packets.ack_message("/chat", 7, data)),
        ):
            assert (ours.text, ours.size) == (whole.text, whole.size)
            assert any(piece is encoded["a"] for piece in ours.pieces) == large

    @pytest.mark.parametrize("value", ["\ud800", object()])
    def test_what_was_refused_leaves_nothing_behind(self, value: object) -> None:
        with pytest.raises(TypeError):
            packets.event_message("/chat", "e", [memoryview(b"1"), value])
        assert packets.ack_message("/chat", 7, 1).text == b"43/chat,7[1]"

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_in_json_is_never_written_as_one(self, value: float) -> None:
        assert packets.event_message("/chat", "e", value).text == b'42/chat,["e",null]'
        assert packets.data_message(packets.EVENT, "/", ["e", value]).text == b'42["e",null]'

    @pytest.mark.parametrize("name", ["connect", "connect_error", "disconnect", "disconnecting", "newListener"])
    def test_a_name_that_javascript_clients_hang_up_at_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="reserved"):
            packets.data_message(packets.EVENT, "/", [name])

    def test_so_are_more_attachments_than_they_take(self) -> None:
        assert len(packets.data_message(packets.EVENT, "/", ["e", *[b"x"] * 10]).attachments) == 10
        with pytest.raises(ValueError, match="attachments"):
            packets.data_message(packets.EVENT, "/", ["e", *[b"x"] * 11])

    @pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
    def test_every_kind_of_bytes_is_an_attachment(self, data: Any) -> None:
        message = packets.data_message(packets.EVENT, "/", ["e", (1, data)])
        assert message.text == b'451-["e",[1,{"_placeholder":true,"num":0}]]'
        assert message.attachments == [b"x"]

    def test_what_becomes_of_it_at_a_slow_reader_can_be_said(self) -> None:
        message = packets.event_message("/chat", "e", 1, keep=Keep.GAP, key="tea")
        assert (message.keep, message.key) == (Keep.GAP, "tea")
        assert packets.data_message(packets.EVENT, "/", ["e"], keep=Keep.DROP).keep is Keep.DROP
        assert packets.ack_message("/chat", 1, None).keep is Keep.MUST

    @pytest.mark.parametrize(
        ("data", "document"),
        [
            ({"message": "no", "data": {"code": 7}}, {"message": "no", "data": {"code": 7}}),
            ("no", {"message": "no"}),
            ({"code": 7}, {"message": "{'code': 7}"}),
            (None, {"message": "None"}),
        ],
    )
    def test_a_refusal_has_a_message_for_javascript_clients(self, data: Any, document: Any) -> None:
        text = packets.connect_error_message("/chat", data).text
        assert text.startswith(b"44/chat,")
        assert orjson.loads(text.removeprefix(b"44/chat,")) == document


class TestLibraryPackets:
    """What the library itself encodes, it encodes with orjson, and nobody else in the process does."""

    def test_they_are_strict(self) -> None:
        assert LibraryPacket(sio_packet.EVENT, data=["e", math.nan], namespace="/chat").encode() == '2/chat,["e",null]'
        with pytest.raises(orjson.JSONDecodeError):
            LibraryPacket(encoded_packet='2["e",NaN]')

    @given(JSON)
    def test_they_read_back(self, value: Any) -> None:
        encoded = LibraryPacket(sio_packet.EVENT, data=["e", value], namespace="/chat", id=3).encode()
        packet = LibraryPacket(encoded_packet=encoded)
        assert (packet.data, packet.id, packet.namespace) == (["e", value], 3, "/chat")

    def test_others_keep_their_codec(self) -> None:
        assert sio_packet.Packet.json is not LibraryPacket.json
