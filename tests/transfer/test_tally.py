"""Counts and checksums."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hubbub.history.base import Person
from hubbub.transfer.pieces import Piece
from hubbub.transfer.tally import Tally
from tests.support.archives import Whole, counted_room, lines_of

WHOLE = Whole([(Person("ann", "Ann"), 1), (Person("bob", "Bob"), 2)], [counted_room("a", 20), counted_room("b", 0)])


def tally_of(pieces: list[Piece]) -> Tally:
    tally = Tally()
    for piece in pieces:
        tally.add(piece)
    return tally


class TestTally:
    def test_everything_is_counted(self) -> None:
        totals = tally_of(WHOLE.pieces()).totals()
        assert (totals.rooms, totals.people, totals.standings) == (2, 2, 6)
        assert totals.messages == len(WHOLE.rooms[0].messages)

    async def test_a_rooms_checksum_is_that_of_its_lines(self) -> None:
        lines = await lines_of(Whole(rooms=WHOLE.rooms[:1]))
        expected = hashlib.sha256(b"".join(lines[1:-2])).hexdigest()
        assert tally_of(WHOLE.pieces()).rooms["a"].sha256 == expected

    def test_the_total_is_made_of_the_checksums(self) -> None:
        tally = tally_of(WHOLE.pieces())
        parts = [tally.people_sha256, tally.rooms["a"].sha256, tally.rooms["b"].sha256]
        assert tally.totals().sha256 == hashlib.sha256("".join(f"{part}\n" for part in parts).encode()).hexdigest()

    def test_the_size_of_the_pieces_does_not_matter(self) -> None:
        assert tally_of(WHOLE.pieces(page=1)).totals() == tally_of(WHOLE.pieces(page=100)).totals()

    def test_any_change_is_seen(self) -> None:
        before = tally_of(WHOLE.pieces()).totals().sha256
        message, revs = WHOLE.rooms[0].messages[0]
        for changed in (
            Whole(WHOLE.people[:1], WHOLE.rooms),
            Whole(WHOLE.people, WHOLE.rooms[:1]),
            Whole(
                WHOLE.people,
                [
                    replace(
                        WHOLE.rooms[0], messages=[(replace(message, body="x"), revs), *WHOLE.rooms[0].messages[1:]]
                    ),
                    WHOLE.rooms[1],
                ],
            ),
        ):
            assert tally_of(changed.pieces()).totals().sha256 != before

    def test_the_state_is_of_everything_but_the_messages(self) -> None:
        without = Whole(WHOLE.people, [replace(room, messages=[]) for room in WHOLE.rooms])
        assert tally_of(without.pieces()).state_sha256 == tally_of(WHOLE.pieces()).state_sha256
        fewer = Whole(WHOLE.people, [replace(room, standings=[]) for room in WHOLE.rooms])
        assert tally_of(fewer.pieces()).state_sha256 != tally_of(WHOLE.pieces()).state_sha256

    def test_it_knows_whom_it_counted(self) -> None:
        tally = tally_of(WHOLE.pieces())
        assert [tally.has_person(id) for id in ("bob", "ann", "zoe", "")] == [True, True, False, False]
        assert not Tally().has_person("ann")
