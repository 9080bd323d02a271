"""What a message is and how it changes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.identity import Person
from hubbub.domain.limits import Limits
from hubbub.domain.messages import (
    deleting,
    draft,
    editing,
    mention_candidates,
    mentioned,
    parse_message_id,
    reacting,
)
from hubbub.errors import HubbubError
from hubbub.history.base import Edit, Message, Sender
from tests.support.domain import message_of

UID = "abcdefghijklmnop"


def code_of(run: Callable[[], object]) -> str:
    with pytest.raises(HubbubError) as caught:
        run()
    return caught.value.code


class TestDrafts:
    def test_a_draft_has_no_place_yet_and_knows_its_sender(self) -> None:
        message = draft(
            uid=UID, person=Person("g1", "Guest", True), key="k", body="hi", reply_to="x.1", mentions=("bob",), now=7
        )
        assert message == Message(
            uid=UID,
            seq=0,
            rev=0,
            key="k",
            sender=Sender("g1", "Guest", True),
            body="hi",
            reply_to="x.1",
            mentions=("bob",),
            created_at=7,
        )


class TestIds:
    @given(st.integers(1, 10**15 - 1))
    def test_the_id_of_a_message_leads_back_to_its_place(self, seq: int) -> None:
        assert parse_message_id(UID, message_of(UID, seq).id) == seq

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ".",
            UID,
            f"{UID}.",
            f"{UID}.0",
            f"{UID}.01",
            f"{UID}.-1",
            f"{UID}.+1",
            f"{UID}. 1",
            f"{UID}.1 ",
            f"{UID}.1\n",
            f"{UID}.1.5",
            f"{UID}.1e3",
            f"{UID}.1_0",
            f"{UID}.0x1",
            f"{UID}.١",
            f"{UID}.²",
            f"{UID}.{'9' * 16}",
            f"{UID}.{'9' * 5000}",
            f"other.{UID}.1",
            "other.1",
            f"{UID.upper()}.1",
            "1",
        ],
    )
    def test_what_is_no_id_of_this_room_is_none(self, text: str) -> None:
        assert parse_message_id(UID, text) is None

    @given(st.text(max_size=40))
    def test_nothing_but_the_exact_id_leads_anywhere(self, text: str) -> None:
        seq = parse_message_id(UID, f"{UID}.{text}")
        assert seq is None or str(seq) == text


class TestMentions:
    @pytest.mark.parametrize(
        ("body", "members", "expected"),
        [
            ("@bob", {"bob"}, ("bob",)),
            ("hi @bob!", {"bob"}, ("bob",)),
            ("(@bob)", {"bob"}, ("bob",)),
            ("@bob: look", {"bob"}, ("bob",)),
            ("**@bob**", {"bob"}, ("bob",)),
            ("@bob...", {"bob"}, ("bob",)),
            ("@bob.", {"bob.", "bob"}, ("bob.",)),
            ("@ada@example.org says", {"ada@example.org"}, ("ada@example.org",)),
            ("@ada@example.org.", {"ada@example.org"}, ("ada@example.org",)),
            ("@j.doe, hello", {"j.doe"}, ("j.doe",)),
            ("@j.doe", {"j"}, ()),
            ("@j.doe's and @j/x @j…", {"j", "j.doe"}, ("j.doe", "j")),
            ("@日本。", {"日本"}, ("日本",)),
            ("@auth0|5f7c8", {"auth0|5f7c8"}, ("auth0|5f7c8",)),
            ("@Žofie a @日本", {"Žofie", "日本"}, ("Žofie", "日本")),
            ("mail bob@example.org", {"example.org"}, ()),
            ("Ünal@bob", {"bob"}, ()),
            ("@bob @eve @bob", {"bob", "eve"}, ("bob", "eve")),
            ("@eve @bob", {"bob", "eve"}, ("eve", "bob")),
            ("@nobody", {"bob"}, ()),
            ("@", {"", "@"}, ()),
            ("@@bob", {"bob"}, ("bob",)),
            ("@\u2028bob", {"bob"}, ()),
            ("line\n@bob\n", {"bob"}, ("bob",)),
            ("no one", {"bob"}, ()),
        ],
    )
    def test_members_are_found_in_the_body(self, body: str, members: set[str], expected: tuple[str, ...]) -> None:
        assert mentioned(mention_candidates(body, most=20), members) == expected

    def test_only_the_first_few_are_looked_at(self) -> None:
        body = " ".join(f"@user{n}" for n in range(30))
        assert len(mention_candidates(body, most=20)) == 20

    @given(st.text(st.sampled_from("@ab.!) é_\n"), max_size=200))
    def test_candidates_are_bounded_and_stand_in_the_body(self, body: str) -> None:
        found = mention_candidates(body, most=5)
        assert len(found) <= 5
        for options in found:
            assert 1 <= len(options) <= 9
            assert all("@" + option in body for option in options)
            assert [len(option) for option in options] == sorted({len(o) for o in options}, reverse=True)

    def test_an_id_of_full_length_is_found(self) -> None:
        user = "u" * 128
        assert mentioned(mention_candidates(f"@{user}!", most=1), {user}) == (user,)

    def test_a_hostile_body_is_read_in_time_that_grows_with_its_length(self) -> None:
        """Steps are counted and not seconds: every character is looked at by few candidates."""
        found = mention_candidates("@" * 8192 + "." * 100, most=20)
        assert sum(len(option) for options in found for option in options) < 20 * 9 * 129


MESSAGES = st.builds(
    lambda author, deleted, reactions: message_of(
        UID,
        3,
        rev=5,
        sender=author,
        body="" if deleted else "before",
        deleted=deleted,
        reactions={} if deleted else reactions,
        mentions=() if deleted else ("eve",),
    ),
    st.sampled_from(["ada", "bob"]),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(["👍", "👎", "🎉"]),
        st.lists(st.sampled_from(["ada", "bob", "eve"]), min_size=1, unique=True).map(tuple),
    ),
)
EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.builds(
        lambda body, rev: editing(author="ada", body=body, mentions=("bob",), expected_rev=rev, now=9),
        st.sampled_from(["before", "after"]),
        st.sampled_from([None, 4, 5]),
    ),
    st.builds(
        lambda own, others: deleting(user="ada", own=own, others=others),
        st.sampled_from([None, "banned"]),
        st.sampled_from([None, "forbidden"]),
    ),
    st.builds(
        lambda emoji, on: reacting(user="ada", emoji=emoji, on=on, limits=Limits(reactions=2, reactors=2)),
        st.sampled_from(["👍", "👎", "🎉"]),
        st.booleans(),
    ),
)


class TestEdits:
    @given(MESSAGES, EDITS)
    def test_an_edit_leaves_what_it_is_given_and_gives_the_same_each_time(self, message: Message, edit: Edit) -> None:
        before = copy.deepcopy(message)

        def run() -> object:
            try:
                return edit(message)
            except HubbubError as error:
                return error.document()

        first = run()
        assert message == before
        assert run() == first
        if isinstance(first, Message):
            assert (first.uid, first.seq, first.key, first.sender, first.created_at) == (
                before.uid,
                before.seq,
                before.key,
                before.sender,
                before.created_at,
            )
            assert first != before

    @given(MESSAGES, EDITS)
    def test_a_deleted_message_never_says_anything_again(self, message: Message, edit: Edit) -> None:
        if message.deleted:
            with contextlib.suppress(HubbubError):
                assert edit(message) is None


class TestEditing:
    @staticmethod
    def edit(message: Message, *, author: str = "ada", body: str = "after", rev: int | None = None) -> Message | None:
        return editing(author=author, body=body, mentions=("bob",), expected_rev=rev, now=9)(message)

    def test_the_author_changes_body_mentions_and_time(self) -> None:
        changed = self.edit(message_of(UID, 1))
        assert changed is not None
        assert (changed.body, changed.mentions, changed.edited_at) == ("after", ("bob",), 9)

    def test_nobody_else_may(self) -> None:
        assert code_of(lambda: self.edit(message_of(UID, 1, sender="bob"))) == "forbidden"

    def test_the_same_body_changes_nothing(self) -> None:
        assert self.edit(message_of(UID, 1, body="after")) is None

    def test_another_revision_than_the_client_saw_is_a_conflict(self) -> None:
        assert code_of(lambda: self.edit(message_of(UID, 1, rev=5), rev=4)) == "conflict"
        assert self.edit(message_of(UID, 1, rev=5), rev=5) is not None

    def test_a_deleted_message_is_a_conflict(self) -> None:
        assert code_of(lambda: self.edit(message_of(UID, 1, body="", deleted=True))) == "conflict"


class TestDeleting:
    def test_what_is_deleted_keeps_its_place_and_nothing_else(self) -> None:
        gone = deleting(user="ada", own=None, others="forbidden")(
            message_of(UID, 1, mentions=("bob",), reactions={"👍": ("bob",)}, reply_to=f"{UID}.9")
        )
        assert gone is not None
        assert gone.deleted
        assert (gone.body, gone.mentions, gone.reactions, gone.seq) == ("", (), {}, 1)

    def test_deleting_twice_changes_nothing(self) -> None:
        assert deleting(user="ada", own=None, others=None)(message_of(UID, 1, body="", deleted=True)) is None

    def test_ones_own_and_those_of_others_have_their_own_refusals(self) -> None:
        edit = deleting(user="ada", own="banned", others="forbidden")
        assert code_of(lambda: edit(message_of(UID, 1, sender="ada"))) == "banned"
        assert code_of(lambda: edit(message_of(UID, 1, sender="bob"))) == "forbidden"


class TestReacting:
    LIMITS = Limits(reactions=2, reactors=2)

    def react(self, message: Message, user: str, emoji: str, on: bool = True) -> Message | None:
        return reacting(user=user, emoji=emoji, on=on, limits=self.LIMITS)(message)

    def test_reactions_keep_the_order_in_which_they_were_given(self) -> None:
        message: Message | None = message_of(UID, 1)
        for user, emoji in (("bob", "👍"), ("ada", "🎉"), ("ada", "👍")):
            assert message is not None
            message = self.react(message, user, emoji)
        assert message is not None
        assert list(message.reactions.items()) == [("👍", ("bob", "ada")), ("🎉", ("ada",))]

    def test_giving_twice_and_taking_what_was_not_given_change_nothing(self) -> None:
        message = message_of(UID, 1, reactions={"👍": ("ada",)})
        assert self.react(message, "ada", "👍") is None
        assert self.react(message, "bob", "👍", on=False) is None
        assert self.react(message, "ada", "🎉", on=False) is None

    def test_the_last_one_taken_back_takes_the_emoji_along(self) -> None:
        changed = self.react(message_of(UID, 1, reactions={"👍": ("ada",)}), "ada", "👍", on=False)
        assert changed is not None
        assert changed.reactions == {}

    def test_different_emoji_and_users_of_each_are_bounded(self) -> None:
        message = message_of(UID, 1, reactions={"👍": ("ada", "bob"), "👎": ("ada",)})
        assert code_of(lambda: self.react(message, "eve", "🎉")) == "conflict"
        assert code_of(lambda: self.react(message, "eve", "👍")) == "conflict"
        assert self.react(message, "eve", "👎") is not None

    def test_what_is_full_can_be_taken_back(self) -> None:
        message = message_of(UID, 1, reactions={"👍": ("ada", "bob"), "👎": ("ada",)})
        assert self.react(message, "bob", "👍", on=False) is not None

    def test_a_deleted_message_takes_none(self) -> None:
        assert code_of(lambda: self.react(message_of(UID, 1, body="", deleted=True), "ada", "👍")) == "conflict"
