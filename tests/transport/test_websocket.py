"""What a client may send as a frame; what becomes of a peer that sends another is in `test_server`."""

from __future__ import annotations

import pytest

from hubbub.transport.websocket import is_frame


class TestFrames:
    @pytest.mark.parametrize(
        "frame", ["1", "2", "2probe", "3", "3probe", "5", "6", "40", '42/chat,["e"]', "40/chat,{}"]
    )
    def test_what_stock_clients_send_is_one(self, frame: str) -> None:
        assert is_frame(frame)

    @pytest.mark.parametrize(
        "frame", ["", "x", "0{}", "9", "é", "٤", "4", "4x", "4[", "4{}", '4"', "47", "2[[[[[[", "bAA=="]
    )
    def test_anything_else_is_none(self, frame: str) -> None:
        assert not is_frame(frame)

    def test_bytes_are_left_to_socket_io(self) -> None:
        assert is_frame(b"\x00")
