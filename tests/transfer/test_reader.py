"""An export that is not right is refused, with the number of the line."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.base import Person
from hubbub.transfer import reader as module
from hubbub.transfer.pieces import MessagesPiece, PeoplePiece, Piece, StandingsPiece
from hubbub.transfer.reader import Reader
from tests.support.archives import Whole, counted_room, histories, lines_of

WHOLE: Final = Whole(
    [(Person("ann", "Ann"), 1), (Person("bob", "Bob"), 2)], [counted_room("a", 8), counted_room("b", 3)]
)
LINES: Final = asyncio.run(lines_of(WHOLE))
"""header, two people, room a with three standings and its messages and its end, room b the same, end."""

KINDS: Final = [json.loads(line).get("type", "header") for line in LINES]
ROOM: Final = KINDS.index("room")
STANDING: Final = KINDS.index("standing")
MESSAGE: Final = KINDS.index("message")
ROOM_END: Final = KINDS.index("room_end")


def read(data: bytes) -> list[Piece]:
    return [*Reader(io.BytesIO(data)).pieces()]


def refusal(lines: list[bytes]) -> str:
    with pytest.raises(HubbubError) as caught:
        read(b"".join(lines))
    assert caught.value.code == "bad_request"
    return caught.value.message


def with_line(number: int, change: Callable[[dict[str, Any]], None]) -> list[bytes]:
    """The lines, with this one changed."""
    document = json.loads(LINES[number])
    change(document)
    return [*LINES[:number], json.dumps(document).encode() + b"\n", *LINES[number + 1 :]]


def joined(pieces: list[Piece]) -> Whole:
    whole = Whole()
    for piece in pieces:
        match piece:
            case PeoplePiece(people=people):
                whole.people += people
            case StandingsPiece(standings=standings):
                whole.rooms[-1].standings += standings
            case MessagesPiece(messages=messages):
                whole.rooms[-1].messages += messages
            case _:
                if not whole.rooms or whole.rooms[-1].room != piece.room:
                    whole.rooms.append(counted_room("x", 0))
                    whole.rooms[-1].room, whole.rooms[-1].standings = piece.room, []
    return whole


class TestReading:
    @given(whole=histories())
    def test_what_was_written_is_read(self, whole: Whole) -> None:
        data = b"".join(asyncio.run(lines_of(whole)))
        assert joined(read(data)) == whole

    def test_spaces_and_the_order_of_fields_are_free(self) -> None:
        lines = [json.dumps(json.loads(line), sort_keys=True, indent=None).encode() + b"\n" for line in LINES]
        assert joined(read(b"".join(lines))) == WHOLE

    def test_pages_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PAGE_ROWS", 2)
        assert joined(read(b"".join(LINES))) == WHOLE
        assert all(len(piece.messages) <= 2 for piece in read(b"".join(LINES)) if isinstance(piece, MessagesPiece))
        monkeypatch.setattr(module, "PAGE_BYTES", 0)
        assert all(len(piece.messages) == 1 for piece in read(b"".join(LINES)) if isinstance(piece, MessagesPiece))


class TestDamage:
    @pytest.mark.parametrize("kept", range(len(LINES)))
    def test_a_file_that_ends_early_is_cut_off(self, kept: int) -> None:
        assert refusal(LINES[:kept]) == f"The export is cut off: it ends after line {kept} without an end."

    @given(cut=st.integers(1, len(b"".join(LINES)) - 1))
    def test_it_may_end_in_the_middle_of_a_line(self, cut: int) -> None:
        assert "is cut off" in refusal([b"".join(LINES)[:cut]])

    @given(at=st.integers(0, len(b"".join(LINES)) - 1), bit=st.integers(0, 7))
    def test_any_flipped_bit_is_found_but_for_those_of_the_header(self, at: int, bit: int) -> None:
        data = bytearray(b"".join(LINES))
        at = max(at, len(LINES[0]))
        data[at] ^= 1 << bit
        assert "ine " in refusal([bytes(data)])

    @pytest.mark.parametrize("number", range(1, len(LINES) - 1))
    def test_a_line_that_is_missing_is_found(self, number: int) -> None:
        assert refusal([*LINES[:number], *LINES[number + 1 :]])

    @pytest.mark.parametrize("number", range(1, len(LINES) - 1))
    def test_a_line_that_is_there_twice_is_found(self, number: int) -> None:
        assert refusal([*LINES[: number + 1], *LINES[number:]])

    def test_nothing_may_follow(self) -> None:
        assert refusal([*LINES, b"\n"]) == f"Line {len(LINES) + 1} of the export: nothing may follow the end."

    @pytest.mark.parametrize(
        "first", [b"hello\n", b"{}\n", b"[]\n", b'{"hubbub": "secrets"}\n', b"\xff\xfe\n", b'{"type": "end"}\n']
    )
    def test_another_file_is_refused_by_its_first_line(self, first: bytes) -> None:
        assert refusal([first, *LINES[1:]]).startswith("Line 1 of the export: ")

    def test_another_format_is_refused(self) -> None:
        assert "Not the format" in refusal(with_line(0, lambda line: line.update(format=2)))

    def test_a_line_without_end_does_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LINE_MOST", 200)
        assert "longer than 200 bytes" in refusal([*LINES[:2], b"x" * 300])


class TestLines:
    def test_a_wrong_field_is_named_with_its_line(self) -> None:
        with pytest.raises(HubbubError) as caught:
            read(b"".join(with_line(MESSAGE, lambda line: line.update(body=3, key=""))))
        assert caught.value.message == (
            f"Line {MESSAGE + 1} of the export: body: Not a string., key: Is empty, or holds a NUL."
        )
        assert caught.value.fields is not None
        assert {*caught.value.fields} == {"body", "key"}

    @pytest.mark.parametrize(
        ("number", "change", "what"),
        [
            (2, {"id": "aaa"}, "the people are not in the order of their ids"),
            (ROOM_END + 1, {"uid": "a"}, "the rooms are not in the order of their uids"),
            (STANDING + 1, {"user": "user0"}, "the standings are not in the order of their users"),
            (STANDING, {"room": "b"}, "it is of another room than a"),
            (MESSAGE + 1, {"seq": 1}, "the messages are not in the order of their seq"),
            (MESSAGE, {"room": "b"}, "it is of another room than a"),
            (MESSAGE, {"revs": [2]}, "the first of the revisions is not the seq"),
            (MESSAGE, {"revs": [1, 99]}, "the revision 99 is above the room's head, 8"),
            (MESSAGE, {"revs": [1]}, None),
            (ROOM, {"head": 9}, "the revision 9 was claimed by no message"),
            (ROOM, {"title": "Other"}, "the counts or the checksum of the room"),
            (ROOM_END, {"messages": 99}, "the counts or the checksum of the room"),
            (ROOM_END, {"sha256": "0" * 64}, "the counts or the checksum of the room"),
            (1, {"name": "Other"}, "the counts or the checksum are not"),
            (len(LINES) - 1, {"people": 3}, "the counts or the checksum are not"),
            (STANDING, {"type": "house"}, "it has no type that is known here"),
            (STANDING, {"type": None}, "it has no type that is known here"),
            (STANDING, {"type": "header"}, "it has no type that is known here"),
        ],
    )
    def test_what_does_not_fit_is_told(self, number: int, change: dict[str, Any], what: str | None) -> None:
        lines = with_line(number, lambda line: line.update(change))
        if what is None:
            assert refusal(lines)
        else:
            assert what in refusal(lines)

    @pytest.mark.parametrize(
        ("moved", "to"), [(1, ROOM + 1), (STANDING, MESSAGE + 1), (ROOM_END, ROOM + 1), (ROOM, ROOM_END)]
    )
    def test_a_line_out_of_place_is_told(self, moved: int, to: int) -> None:
        lines = [*LINES]
        line = lines.pop(moved)
        lines.insert(to if to < moved else to - 1, line)
        assert refusal(lines)

    def test_a_stream_that_cannot_be_read_is_no_damage(self) -> None:
        class Broken(io.BytesIO):
            def readline(self, size: int | None = -1, /) -> bytes:
                raise OSError(5, "Input/output error")

        with pytest.raises(HubbubError, match="cannot be read: Input/output error") as caught:
            Reader(Broken())
        assert caught.value.code == "unavailable"
