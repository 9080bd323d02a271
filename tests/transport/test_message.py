"""A packet on its way out: encoded once, and the same bytes for everybody."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport import frames
from hubbub.transport.message import CONTROL_OVERHEAD_BYTES, Keep, Message

PARTS = st.lists(st.binary(max_size=20), max_size=3)


class TestFrames:
    @given(st.binary(min_size=1, max_size=200), PARTS)
    def test_a_text_comes_first_and_its_attachments_behind_it(self, text: bytes, parts: list[bytes]) -> None:
        assert Message(text, parts).frame == frames.text_frame(text) + b"".join(map(frames.binary_frame, parts))

    @given(st.lists(st.binary(max_size=20), min_size=1, max_size=3))
    def test_without_a_text_there_are_only_attachments(self, parts: list[bytes]) -> None:
        assert Message(b"", parts).frame == b"".join(map(frames.binary_frame, parts))

    @given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
    def test_a_text_in_pieces_is_as_the_whole_would_be(self, pieces: list[bytes]) -> None:
        whole, message = Message(b"".join(pieces)), Message(b"", pieces=[memoryview(piece) for piece in pieces])
        assert b"".join(message.frame_pieces()) == whole.frame == message.frame
        assert (message.text, message.size, message.payloads()) == (whole.text, whole.size, whole.payloads())
        assert message.deflated(0) == whole.deflated(0)
        assert whole.frame_pieces() == [whole.frame]

    def test_they_are_made_once(self) -> None:
        message = Message(b"4x", [b"abc"])
        assert message.frame is message.frame

    def test_a_message_that_nobody_gets_is_not_framed(self) -> None:
        assert Message(b"4x")._frame is None


class TestCompression:
    def test_what_compresses_well_goes_out_compressed(self) -> None:
        message = Message(b"4" + b"tea " * 100)
        packed = message.deflated(10)
        assert packed == frames.text_frame(frames.deflate(message.text), compressed=True)
        assert message.deflated(10) is packed

    @pytest.mark.parametrize("size", [1, 99])
    def test_what_is_below_the_threshold_stays_as_it_is(self, size: int) -> None:
        message = Message(b"4" * size)
        assert message.deflated(100) is message.frame

    def test_what_would_grow_stays_as_it_is(self) -> None:
        message = Message(b"4x")
        assert message.deflated(1) == message.frame

    def test_attachments_are_not_compressed(self) -> None:
        message = Message(b"4" + b"tea " * 100, [b"tea " * 100])
        assert message.deflated(1).endswith(frames.binary_frame(b"tea " * 100))


class TestPayloads:
    @given(st.binary(max_size=20), PARTS)
    def test_attachments_are_base64_behind_a_letter(self, text: bytes, parts: list[bytes]) -> None:
        payloads = Message(text, parts).payloads()
        texts = [text] if text else []
        assert payloads[: len(texts)] == texts
        assert [base64.b64decode(each[1:], validate=True) for each in payloads[len(texts) :]] == parts
        assert all(each[:1] == b"b" for each in payloads[len(texts) :])


class TestSizes:
    @given(st.binary(max_size=50), PARTS)
    def test_all_that_waits_is_counted(self, text: bytes, parts: list[bytes]) -> None:
        assert Message(text, parts).size == len(text) + sum(map(len, parts)) + CONTROL_OVERHEAD_BYTES

    def test_a_message_has_to_arrive_unless_it_says_otherwise(self) -> None:
        assert Message(b"4x").keep is Keep.MUST
