"""How somebody is, put together from their devices."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hubbub.cluster.base import Share, Status
from hubbub.domain.presence.statuses import Face, face_of, merge
from hubbub.history.base import Person


class TestMerge:
    @pytest.mark.parametrize(
        ("live", "broken", "status"),
        [
            ([], [], "online"),
            (["away"], [], "away"),
            (["away", "online"], [], "online"),
            (["away", "busy", "online"], [], "busy"),
            (["busy", "invisible", "online"], [], "invisible"),
            (["online"], ["invisible"], "invisible"),
            (["online"], ["busy"], "busy"),
            (["away"], ["online"], "away"),
            ([], ["away"], "away"),
            ([], ["away", "online"], "online"),
        ],
    )
    def test_what_is_said_on_purpose_wins_and_then_any_online(
        self, live: Sequence[Status], broken: Sequence[Status], status: Status
    ) -> None:
        assert merge(live, broken) == status


class TestFaceOf:
    def test_nobody_has_no_face(self) -> None:
        assert face_of([]) is None

    def test_the_text_that_was_set_last_holds(self) -> None:
        one = Share("ada", "Ada", False, "away", text="old", text_at=1)
        other = Share("ada", "Countess", False, "online", text="new", text_at=2)
        assert face_of([one, other]) == face_of([other, one]) == Face(Person("ada", "Countess"), "online", "new")

    def test_a_share_in_its_grace_counts_as_broken_devices_do(self) -> None:
        live = Share("ada", "Ada", False, "away")
        broken = Share("ada", "Ada", False, "online", live=False)
        face = face_of([broken, live])
        assert face is not None
        assert face.status == "away"

    def test_who_is_invisible_anywhere_was_last_seen_when_that_began(self) -> None:
        shares = [
            Share("ada", "Ada", False, "online"),
            Share("ada", "Ada", False, "invisible", hidden_at=7),
            Share("ada", "Ada", False, "invisible", hidden_at=9),
        ]
        face = face_of(shares)
        assert face is not None
        assert (face.status, face.hidden_at, face.is_hidden) == ("invisible", 7, True)
