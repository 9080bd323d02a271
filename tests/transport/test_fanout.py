"""Groups of connections, and one packet to all of a group."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hubbub.transport.fanout import Fanout
from tests.support.domain import RecordingOutlet

RECIPIENTS = st.integers(0, 4)
GROUPS = st.sampled_from(["red", "green", "blue"])


class Subscriptions(RuleBasedStateMachine):
    """Against a set of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.fanout = Fanout("/chat")
        self.recipients = [RecordingOutlet() for _ in range(5)]
        self.pairs: set[tuple[int, str]] = set()
        self.published = 0

    @rule(who=RECIPIENTS, group=GROUPS)
    def subscribe(self, who: int, group: str) -> None:
        self.fanout.subscribe(self.recipients[who], group)
        self.pairs.add((who, group))

    @rule(who=RECIPIENTS, group=GROUPS)
    def unsubscribe(self, who: int, group: str) -> None:
        self.fanout.unsubscribe(self.recipients[who], group)
        self.pairs.discard((who, group))

    @rule(who=RECIPIENTS)
    def forget(self, who: int) -> None:
        self.fanout.forget(self.recipients[who])
        self.pairs = {pair for pair in self.pairs if pair[0] != who}

    @rule(group=GROUPS)
    def close(self, group: str) -> None:
        self.fanout.close(group)
        self.pairs = {pair for pair in self.pairs if pair[1] != group}

    @rule(group=GROUPS, skip=st.none() | RECIPIENTS)
    def publish(self, group: str, skip: int | None) -> None:
        self.published += 1
        skipped = self.recipients[skip] if skip is not None else None
        count = self.fanout.publish(group, "e", self.published, skip=skipped)
        reached = {who for who, each in enumerate(self.recipients) if ("e", self.published) in each.sent}
        assert reached == {who for who, in_group in self.pairs if in_group == group and who != skip}
        assert count == len(reached)
        assert all(each.of("e").count(self.published) <= 1 for each in self.recipients)

    @invariant()
    def sizes_are_right(self) -> None:
        for group in ("red", "green", "blue"):
            assert self.fanout.size(group) == sum(1 for _, each in self.pairs if each == group)

    @invariant()
    def nothing_is_kept_of_what_is_over(self) -> None:
        assert set(self.fanout._groups) == {group for _, group in self.pairs}
        assert len(self.fanout._of) == len({who for who, _ in self.pairs})


TestSubscriptions = Subscriptions.TestCase


class TestSending:
    def test_a_packet_is_encoded_once_for_all(self) -> None:
        fanout = Fanout("/chat")
        recipients = [RecordingOutlet() for _ in range(3)]
        for each in recipients:
            fanout.subscribe(each, "tea")
        fanout.publish("tea", "message", {"body": "hi"})
        first = recipients[0].packets[0]
        assert all(each.packets == [first] and each.packets[0] is first for each in recipients)
        assert first.encode() == '42/chat,["message",{"body":"hi"}]'

    def test_nothing_is_encoded_for_nobody(self) -> None:
        assert Fanout("/chat").publish("tea", "message", object()) == 0
        assert Fanout("/chat").send_many([], "message", object()) == 0

    def test_nothing_is_encoded_where_only_the_skipped_one_listens(self) -> None:
        fanout = Fanout("/chat")
        alone = RecordingOutlet()
        fanout.subscribe(alone, "tea")
        assert fanout.publish("tea", "message", object(), skip=alone) == 0

    def test_what_cannot_be_encoded_reaches_nobody(self) -> None:
        recipients = [RecordingOutlet(), RecordingOutlet()]
        with pytest.raises(orjson.JSONEncodeError):
            Fanout("/chat").send_many(recipients, "message", object())
        assert not any(each.sent for each in recipients)

    def test_a_group_may_change_from_within_a_loop_over_many(self) -> None:
        fanout = Fanout("/chat")
        one, other = RecordingOutlet(), RecordingOutlet()
        fanout.subscribe(one, "tea")
        assert fanout.send_many([one, other], "e", 1) == 2
        assert fanout.size("tea") == 1


class _CountedGroups(dict[str, Any]):
    """Groups that count how often they are looked at."""

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


class TestCosts:
    def test_forgetting_costs_what_it_was_in_and_not_what_the_server_holds(self) -> None:
        fanout = Fanout("/chat")
        fanout._groups = groups = _CountedGroups()
        for number in range(1000):
            fanout.subscribe(RecordingOutlet(), f"room-{number}")
        leaver = RecordingOutlet()
        for number in range(3):
            fanout.subscribe(leaver, f"room-{number}")
        groups.looks = 0
        fanout.forget(leaver)
        assert groups.looks == 3


class TestCounting:
    def test_how_many_got_an_event_is_told(self) -> None:
        sent: list[int] = []
        fanout = Fanout("/chat", on_sent=sent.append)
        recipients = [RecordingOutlet() for _ in range(3)]
        for recipient in recipients:
            fanout.subscribe(recipient, "tea")
        fanout.publish("tea", "message", {}, skip=recipients[0])
        fanout.publish("nowhere", "message", {})
        assert sent == [2]
