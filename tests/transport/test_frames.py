"""WebSocket frames, against RFC 6455 (section 5) and RFC 7692: what a server must take, must refuse, and must send."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport import frames
from hubbub.transport.frames import FrameError, read_frame

LIMIT = 100_000


def client_frame(
    payload: bytes = b"",
    *,
    opcode: int = frames.TEXT,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    width: int | None = None,
) -> bytes:
    """A frame as a client sends it, written out from section 5.2. `width` is that of the length, in bytes."""
    size = len(payload)
    if width is None:
        width = 1 if size < 126 else 2 if size < 65536 else 8
    head = bytes((fin << 7 | reserved << 4 | opcode,))
    flag = 0x80 if mask is not None else 0
    if width == 1:
        head += bytes((flag | size,))
    elif width == 2:
        head += bytes((flag | 126,)) + struct.pack("!H", size)
    else:
        head += bytes((flag | 127,)) + struct.pack("!Q", size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def parse(data: bytes, *, limit: int = LIMIT, deflate: bool = False) -> frames.Frame:
    """The one whole frame that this is."""
    frame = read_frame(data, 0, limit=limit, deflate=deflate)
    assert isinstance(frame, frames.Frame)
    assert frame.end == len(data)
    return frame


def refusal(data: bytes, *, limit: int = LIMIT, deflate: bool = False) -> int:
    """The close code that this is refused with."""
    with pytest.raises(FrameError) as caught:
        read_frame(data, 0, limit=limit, deflate=deflate)
    return caught.value.code


def read_all(pieces: list[bytes], *, deflate: bool = False) -> list[tuple[int, bool, bool, bytes]]:
    """The frames in a stream that arrives in pieces; what is missing of one is at most what is said to be missing."""
    found: list[tuple[int, bool, bool, bytes]] = []
    buffer, missing = b"", 1
    for piece in pieces:
        buffer += piece
        at = 0
        while at < len(buffer):
            frame = read_frame(buffer, at, limit=LIMIT, deflate=deflate)
            if isinstance(frame, int):
                missing = frame
                assert missing > 0
                break
            found.append((frame.opcode, frame.fin, frame.compressed, frame.payload))
            at = frame.end
        buffer = buffer[at:]
    assert buffer == b""
    return found


DATA_FRAMES = st.tuples(
    st.sampled_from([frames.CONTINUATION, frames.TEXT, frames.BINARY]),
    st.booleans(),
    st.binary(max_size=40) | st.integers(120, 135).map(bytes) | st.sampled_from([bytes(65_535), bytes(65_536)]),
)
CONTROL_FRAMES = st.tuples(
    st.sampled_from([frames.CLOSE, frames.PING, frames.PONG]), st.just(True), st.binary(max_size=125)
)
MASKS = st.binary(min_size=4, max_size=4)


class TestReading:
    @given(
        sent=st.lists(st.tuples(DATA_FRAMES | CONTROL_FRAMES, MASKS), min_size=1, max_size=6),
        cuts=st.lists(st.integers(0, 1_000), max_size=12),
        data=st.data(),
    )
    def test_any_split_of_any_frames_gives_the_same_frames(
        self, sent: list[tuple[tuple[int, bool, bytes], bytes]], cuts: list[int], data: st.DataObject
    ) -> None:
        stream = b"".join(
            client_frame(payload, opcode=opcode, fin=fin, mask=mask) for (opcode, fin, payload), mask in sent
        )
        places = sorted({min(cut, len(stream)) for cut in cuts} | {data.draw(st.integers(0, len(stream)))})
        pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
        assert read_all(pieces) == [(opcode, fin, False, payload) for (opcode, fin, payload), _ in sent]

    @given(st.lists(DATA_FRAMES | CONTROL_FRAMES, min_size=1, max_size=3))
    def test_byte_by_byte_as_well(self, sent: list[tuple[int, bool, bytes]]) -> None:
        short = [(opcode, fin, payload[:150]) for opcode, fin, payload in sent]
        stream = b"".join(client_frame(payload, opcode=opcode, fin=fin) for opcode, fin, payload in short)
        pieces = [bytes((byte,)) for byte in stream]
        assert read_all(pieces) == [(opcode, fin, False, payload) for opcode, fin, payload in short]

    @given(st.binary(max_size=300), MASKS, st.integers(0, 400))
    def test_what_is_missing_is_never_said_to_be_more_than_it_is(self, payload: bytes, mask: bytes, cut: int) -> None:
        whole = client_frame(payload, mask=mask)
        have = whole[: min(cut, len(whole) - 1)]
        missing = read_frame(have, 0, limit=LIMIT, deflate=False)
        assert isinstance(missing, int)
        assert 0 < missing <= len(whole) - len(have)

    @given(st.binary(max_size=200), MASKS)
    def test_any_mask_is_taken_off(self, payload: bytes, mask: bytes) -> None:
        assert parse(client_frame(payload, mask=mask)).payload == payload

    def test_the_example_of_the_specification_is_read(self) -> None:
        frame = parse(bytes.fromhex("818537fa213d7f9f4d5158"))
        assert (frame.opcode, frame.fin, frame.payload) == (frames.TEXT, True, b"Hello")

    def test_a_frame_in_the_middle_of_the_buffer_is_found(self) -> None:
        first, second = client_frame(b"one"), client_frame(b"two")
        frame = read_frame(first + second, len(first), limit=LIMIT, deflate=False)
        assert isinstance(frame, frames.Frame)
        assert (frame.payload, frame.end) == (b"two", len(first + second))


class TestRefusing:
    """Each MUST of section 5 that is about what a client sends."""

    @pytest.mark.parametrize("opcode", [frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING])
    def test_a_frame_without_a_mask_is_refused(self, opcode: int) -> None:
        assert refusal(client_frame(b"Hello", opcode=opcode, mask=None)) == 1002

    def test_it_is_refused_as_soon_as_that_can_be_seen(self) -> None:
        assert refusal(client_frame(b"", mask=None)) == 1002

    @pytest.mark.parametrize("reserved", [1, 2, 3, 4, 5, 6, 7])
    def test_reserved_bits_are_refused_where_no_extension_was_agreed_on(self, reserved: int) -> None:
        assert refusal(client_frame(b"x" * 8, reserved=reserved)) == 1002

    @pytest.mark.parametrize("reserved", [1, 2, 3, 5, 6, 7])
    def test_compression_gives_a_meaning_to_the_first_of_them_alone(self, reserved: int) -> None:
        assert refusal(client_frame(b"x" * 8, reserved=reserved), deflate=True) == 1002

    @pytest.mark.parametrize("opcode", [frames.TEXT, frames.BINARY])
    def test_that_says_a_message_is_compressed(self, opcode: int) -> None:
        assert parse(client_frame(b"x" * 8, opcode=opcode, reserved=4), deflate=True).compressed is True
        assert parse(client_frame(b"x" * 8, opcode=opcode), deflate=True).compressed is False

    @pytest.mark.parametrize("opcode", [frames.CONTINUATION, frames.CLOSE, frames.PING, frames.PONG])
    def test_only_the_first_frame_of_a_message_says_so(self, opcode: int) -> None:
        assert refusal(client_frame(b"x" * 8, opcode=opcode, reserved=4), deflate=True) == 1002

    @pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
    def test_an_unknown_opcode_is_refused(self, opcode: int) -> None:
        assert refusal(client_frame(b"x" * 8, opcode=opcode)) == 1002

    @pytest.mark.parametrize("opcode", [frames.CLOSE, frames.PING, frames.PONG])
    def test_a_control_frame_is_short_and_whole(self, opcode: int) -> None:
        assert parse(client_frame(bytes(125), opcode=opcode)).payload == bytes(125)
        assert refusal(client_frame(bytes(126), opcode=opcode)) == 1002
        assert refusal(client_frame(bytes(70_000), opcode=opcode)) == 1002
        assert refusal(client_frame(b"x" * 8, opcode=opcode, fin=False)) == 1002

    @pytest.mark.parametrize(("size", "width"), [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)])
    def test_a_length_is_written_in_the_shortest_way(self, size: int, width: int) -> None:
        assert refusal(client_frame(bytes(size), width=width)) == 1002

    @pytest.mark.parametrize(("size", "width"), [(125, 1), (126, 2), (65_535, 2), (65_536, 8)])
    def test_that_is_the_only_one(self, size: int, width: int) -> None:
        assert len(parse(client_frame(bytes(size), width=width)).payload) == size

    @pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
    def test_a_payload_beyond_the_limit_is_refused_before_it_has_come(self, length: int) -> None:
        head = bytes((0x82, 0x80 | 127)) + struct.pack("!Q", length) + b"mask"
        assert refusal(head) == 1009

    @pytest.mark.parametrize("limit", [1, 125, 126, 65_535, 65_536])
    def test_the_limit_itself_is_taken(self, limit: int) -> None:
        assert len(parse(client_frame(bytes(limit)), limit=limit).payload) == limit
        assert refusal(client_frame(bytes(limit + 1)), limit=limit) == 1009

    @given(st.binary(min_size=14, max_size=200), st.booleans())
    def test_bytes_of_any_kind_are_a_frame_or_refused_or_not_enough(self, data: bytes, deflate: bool) -> None:
        try:
            frame = read_frame(data, 0, limit=LIMIT, deflate=deflate)
        except FrameError as error:
            refused = error
        else:
            assert isinstance(frame, int) or frame.end <= len(data)
            return
        assert refused.code in (1002, 1009)
        assert refused.reason == str(refused)


def server_frame(data: bytes) -> tuple[int, bytes]:
    """The first byte and the payload of the one frame that this is, read as a client must (section 5.1)."""
    first, size, at = data[0], data[1], 2
    if size == 126:
        size, at = struct.unpack("!H", data[2:4])[0], 4
        assert size > 125
    elif size == 127:
        size, at = struct.unpack("!Q", data[2:10])[0], 10
        assert size > 65_535
    assert size < 2**63, "the mask bit is part of the size here: a server masks nothing"
    assert len(data) == at + size
    return first, data[at:]


class TestWriting:
    @given(st.binary(max_size=300) | st.sampled_from([bytes(65_535), bytes(65_536), bytes(70_000)]))
    def test_frames_are_whole_and_not_masked(self, payload: bytes) -> None:
        assert server_frame(frames.text_frame(payload)) == (0x81, payload)
        assert frames.text_head(len(payload)) + payload == frames.text_frame(payload)
        assert server_frame(frames.text_frame(payload, compressed=True)) == (0xC1, payload)
        assert server_frame(frames.binary_frame(payload)) == (0x82, payload)

    def test_the_example_of_the_specification_is_written(self) -> None:
        assert frames.text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
        assert frames.pong_frame(b"Hello") == bytes.fromhex("8a0548656c6c6f")

    @given(st.integers(1000, 4999), st.text(max_size=200))
    def test_a_close_frame_fits_and_its_reason_is_cut_between_characters(self, code: int, reason: str) -> None:
        first, payload = server_frame(frames.close_frame(code, reason))
        assert first == 0x88
        assert len(payload) <= 125
        assert int.from_bytes(payload[:2], "big") == code
        said = payload[2:].decode()
        assert reason.startswith(said)
        assert said == reason or len(said.encode()) > 123 - 4

    def test_the_accept_key_is_that_of_the_specification(self) -> None:
        assert frames.accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class TestClosing:
    """Section 5.5.1 and 7.4."""

    def test_a_close_without_a_body_has_no_code(self) -> None:
        assert frames.read_close(b"") == 1005

    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]
    )
    @pytest.mark.parametrize("reason", ["", "bye", "ü"])
    def test_a_code_that_may_be_sent_is_taken(self, code: int, reason: str) -> None:
        assert frames.read_close(code.to_bytes(2, "big") + reason.encode()) == code

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
    def test_any_other_is_refused(self, code: int) -> None:
        with pytest.raises(FrameError) as caught:
            frames.read_close(code.to_bytes(2, "big"))
        assert caught.value.code == 1002

    def test_half_a_code_is_refused(self) -> None:
        with pytest.raises(FrameError) as caught:
            frames.read_close(b"\x03")
        assert caught.value.code == 1002

    def test_a_reason_that_is_not_utf_8_is_refused(self) -> None:
        with pytest.raises(FrameError) as caught:
            frames.read_close(b"\x03\xe8\xff")
        assert caught.value.code == 1007


class TestCompression:
    @given(st.binary(max_size=2_000) | st.text("ab", max_size=2_000).map(str.encode))
    def test_a_message_comes_back_as_it_was(self, message: bytes) -> None:
        assert frames.inflate(frames.deflate(message), limit=2_000) == message

    def test_every_peer_gets_the_same_bytes(self) -> None:
        assert frames.deflate(b"to everybody " * 9) == frames.deflate(b"to everybody " * 9)

    def test_what_is_written_ends_without_the_tail(self) -> None:
        assert not frames.deflate(b"x" * 100).endswith(b"\x00\x00\xff\xff")

    @pytest.mark.parametrize(
        "hexadecimal", ["f248cdc9c90700", "000500faff48656c6c6f00", "f348cdc9c90700", "f24805000000ffffcac9c90700"]
    )
    def test_the_examples_of_the_specification_are_read(self, hexadecimal: str) -> None:
        assert frames.inflate(bytes.fromhex(hexadecimal), limit=5) == b"Hello"

    @pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED])
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_however_it_was_compressed(self, level: int, strategy: int) -> None:
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
        message = b"All men are created equal. " * 100
        packed = packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert frames.inflate(packed.removesuffix(b"\x00\x00\xff\xff"), limit=LIMIT) == message

    @pytest.mark.parametrize("size", [0, 1, 999, 1_000])
    def test_up_to_the_limit_it_is_read(self, size: int) -> None:
        assert frames.inflate(frames.deflate(bytes(size)), limit=1_000) == bytes(size)

    @pytest.mark.parametrize("size", [1_001, 100_000, 50_000_000])
    def test_beyond_it_is_refused(self, size: int) -> None:
        packer: Any = zlib.compressobj(9, wbits=-15)
        packed = packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH)
        with pytest.raises(FrameError) as caught:
            frames.inflate(packed, limit=1_000)
        assert caught.value.code == 1009

    @pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x07", b"not compressed at all"])
    def test_what_cannot_be_read_is_refused(self, garbage: bytes) -> None:
        with pytest.raises(FrameError) as caught:
            frames.inflate(garbage, limit=1_000)
        assert caught.value.code == 1007
