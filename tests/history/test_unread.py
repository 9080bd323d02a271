"""What many users have not read, counted together: each number is what counting alone would give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.history import unread
from hubbub.history.unread import unread_counts

USERS = "abcd"


@given(
    st.lists(st.sampled_from(USERS + "xyz"), max_size=60),
    st.dictionaries(st.sampled_from(USERS), st.integers(0, 70), min_size=1),
    st.integers(2, 40),
)
def test_each_number_is_right_or_not_told(senders: list[str], marks: dict[str, int], walked: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unread, "WALKED", walked)
        patch.setattr(unread, "UNREAD_MOST", walked // 2)
        messages = [*enumerate(senders, 1)]
        newest = [each for each in reversed(messages) if each[0] > min(marks.values())][:walked]
        for user, count in unread_counts(newest, marks).items():
            exact = sum(1 for seq, sender in messages if seq > marks[user] and sender != user)
            if count is None:
                # The walk ended too early for somebody who wrote most of it.
                assert len(newest) == walked
                assert sum(1 for _, sender in newest if sender == user) > walked // 2 - 1
            else:
                assert count == min(exact, walked // 2)


def test_who_wrote_nothing_is_always_told() -> None:
    newest = [(seq, "ann") for seq in range(5000, 5000 - unread.WALKED, -1)]
    assert unread_counts(newest, {"bob": 0, "eve": 4999, "ann": 0}) == {"bob": 1000, "eve": 1, "ann": None}
