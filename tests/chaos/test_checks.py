"""The checks of chaos can fail: each is shown what it is there to find. And a plan is its seed's alone."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.domain.documents import message_document
from hubbub.history.base import Message, Sender
from tests.support.chaos_ledger import Ledger, StoredRoom
from tests.support.chaos_plan import Kind, StoreName, make_plan
from tests.support.chaos_replica import Replica, Violation

ADA = Sender("ada", "Ada")


def message(seq: int, rev: int | None = None, **changes: Any) -> Message:
    values: dict[str, Any] = {"key": f"key-{seq}", "sender": ADA, "body": f"body {seq}", **changes}
    return Message("uid", seq, rev or seq, reply_to=None, mentions=(), created_at=1, **values)


def document(seq: int, rev: int | None = None, **changes: Any) -> dict[str, Any]:
    return message_document("lobby", message(seq, rev, **changes))


def page(*documents: dict[str, Any], head: int, outcome: str = "full") -> dict[str, Any]:
    following = documents[-1]["rev"] if outcome == "partial" else head
    return {"messages": list(documents), "head": head, "next": following, "outcome": outcome, "room": {"epoch": "uid"}}


def joined(*documents: dict[str, Any], head: int | None = None) -> Replica:
    replica = Replica("bob", "lobby")
    replica.joined(page(*documents, head=len(documents) if head is None else head), since=0)
    return replica


class TestPlan:
    def test_a_seed_decides_everything(self) -> None:
        plans = [str(make_plan(7, StoreName.MONGO, clients=60, acks=1500, faults=9)) for _ in range(2)]
        assert plans[0] == plans[1]
        assert str(make_plan(8, StoreName.MONGO, clients=60, acks=1500, faults=9)) not in plans

    @pytest.mark.parametrize("number", range(50))
    def test_every_seed_has_every_fault_that_it_must_have(self, number: int) -> None:
        plan = make_plan(number, StoreName.SQLITE, clients=60, acks=1500, faults=7)
        kinds = [fault.kind for fault in plan.faults]
        assert {Kind.KILL_SERVICE, Kind.FREEZE_STORE, Kind.SLOW_STORE, Kind.CUT_CLIENTS} < set(kinds)
        assert Kind.KILL_STORE not in kinds
        assert Kind.KILL_STORE in {fault.kind for fault in make_plan(number, StoreName.MONGO, **SIZE).faults}
        assert all(0 < fault.after < plan.acks for fault in plan.faults)
        assert len(plan.faults) == 7


SIZE: dict[str, int] = {"clients": 60, "acks": 1500, "faults": 7}


class TestOrder:
    def test_one_revision_after_the_other_is_taken(self) -> None:
        replica = joined(document(1), document(2))
        replica.event(document(3))
        replica.event(document(1, 4))
        assert (replica.synced, replica.expected, replica.events) == (4, 5, 2)

    @pytest.mark.parametrize(("rev", "words"), [(4, "a gap"), (2, "a repeat"), (1, "a repeat")])
    def test_a_gap_and_a_repeat_are_found(self, rev: int, words: str) -> None:
        replica = joined(document(1), document(2))
        with pytest.raises(Violation, match=words):
            replica.event(document(rev))

    def test_an_event_without_a_join_is_found(self) -> None:
        replica = joined(document(1))
        replica.gap(1)
        with pytest.raises(Violation, match="not joined"):
            replica.event(document(2))

    def test_an_event_on_the_next_connection_before_its_join_is_found(self) -> None:
        replica = joined(document(1))
        replica.lost()
        with pytest.raises(Violation, match="not joined"):
            replica.event(document(2))

    def test_a_gap_whose_head_was_delivered_long_ago_is_found(self) -> None:
        replica = joined(document(1), document(2))
        with pytest.raises(Violation, match="gap says"):
            replica.gap(1)

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (page(head=3, outcome="reset"), "reset"),
            (page(head=1), "behind 2"),
            (page(document(2), head=3), "has the revisions"),
            (page(document(4), document(3), head=4), "has the revisions"),
            (page(document(3), head=4) | {"next": 3}, "says next"),
            (page(document(3), head=4, outcome="partial") | {"next": 2}, "says next"),
            (page(document(3), head=4, outcome="partial") | {"next": 4}, "says next"),
            (page(document(3), head=3) | {"room": {"epoch": "other"}}, "epoch changed"),
        ],
    )
    def test_a_resume_that_cannot_be_right_is_found(self, data: dict[str, Any], words: str) -> None:
        replica = joined(document(1), document(2))
        replica.lost()
        with pytest.raises(Violation, match=words):
            replica.joined(data, since=2)

    def test_while_pages_are_missing_events_do_not_count_as_all_there_is(self) -> None:
        replica = Replica("bob", "lobby")
        replica.joined(page(document(1), head=3, outcome="partial"), since=0)
        replica.event(document(4))
        assert (replica.is_paging, replica.synced) == (True, 1)
        replica.paged(page(document(2), document(3), document(4), head=4), since=1)
        assert (replica.is_paging, replica.synced) == (False, 4)


class TestCuts:
    def test_what_came_behind_the_fetch_is_taken_back(self) -> None:
        replica = joined(document(1), document(2))
        replica.begin_cut()
        replica.event(document(1, 3, body="new"))
        replica.event(document(2, 4, body="newer"))
        replica.event(document(5))
        fresh = {each["id"]: each for each in (document(1, 3, body="new"), document(2))}
        assert (replica.end_cut(fresh, 3).documents, replica.synced) == (2, 5)

    @pytest.mark.parametrize(
        "fresh",
        [
            [document(1)],
            [document(1), document(2), document(3)],
            [document(1), document(2, body="other")],
            [document(1), document(2, 3)],
        ],
    )
    def test_what_is_missing_too_much_or_different_is_owed_a_later_change(self, fresh: list[dict[str, Any]]) -> None:
        replica = joined(document(1), document(2))
        replica.begin_cut()
        owed = replica.end_cut({each["id"]: each for each in fresh}, 2).owed
        assert list(owed) in (["uid.2"], ["uid.3"])

    @pytest.mark.parametrize(
        "changes", [{"key": "other"}, {"sender": {"id": "eve", "name": "Eve", "guest": False}}, {"created_at": 2}]
    )
    def test_another_identity_is_found(self, changes: dict[str, Any]) -> None:
        replica = joined(document(1), document(1, 2, body="new"), head=2)
        replica.begin_cut()
        other = {**document(1, 2, body="new"), **changes}
        with pytest.raises(Violation, match="is held"):
            replica.end_cut({other["id"]: other}, 2)


def told(*sends: Message) -> Ledger:
    """A ledger in which these sends were acknowledged as they are."""
    ledger = Ledger()
    for each in sends:
        ledger.sending("lobby", each.sender.id, each.key, each.body)
        ledger.sent("lobby", each.sender.id, each.key, message_document("lobby", each), duplicate=False, first_try=True)
    return ledger


def stored(*revisions: tuple[int, Message], head: int | None = None) -> list[StoredRoom]:
    return [StoredRoom("lobby", len(revisions) if head is None else head, revisions)]


class TestLedger:
    def test_a_store_that_has_what_was_acknowledged_is_as_it_should_be(self) -> None:
        ledger = told(message(1), message(2))
        changed = message(1, 3, body="new", reactions={"👍": ("bob",)})
        ledger.reacted(message_document("lobby", changed), "bob", "👍", on=True)
        ledger.edited(message_document("lobby", changed), "new")
        ledger.check(stored((1, changed), (2, message(2)), (3, changed)))

    @pytest.mark.parametrize(
        ("rooms", "words"),
        [
            (stored((1, message(1)), head=2), "are not 1 to 2"),
            (stored((1, message(1)), (1, message(1)), (2, message(2))), "are not 1 to"),
            (stored((1, message(1))), "lost"),
            (stored((1, message(1)), (2, message(2)), (3, message(3, key="key-1"))), "twice"),
            (stored((1, message(1)), (2, message(2)), (3, message(3))), "nobody was told"),
            (stored((1, message(1)), (2, message(2, 3))), "claimed"),
            (stored((1, message(1)), (2, message(2, body="other"))), "two documents"),
            (stored((1, message(1)), (2, message(2, 3, body="other")), (3, message(2, 3, body="other"))), "last"),
            (stored((1, message(1)), (2, message(2, 3, deleted=True)), (3, message(2, 3, deleted=True))), "last"),
        ],
    )
    def test_a_store_that_does_not_is_found(self, rooms: list[StoredRoom], words: str) -> None:
        with pytest.raises(Violation, match=words):
            told(message(1), message(2)).check(rooms)

    def test_a_change_that_was_shown_and_is_gone_is_found(self) -> None:
        ledger = told(message(1))
        ledger.fact(document(1, 2, reactions={"👍": ("bob",)}))
        with pytest.raises(Violation, match="lost: a change"):
            ledger.check(stored((1, message(1))))

    def test_a_deletion_and_a_reaction_that_are_gone_are_found(self) -> None:
        ledger = told(message(1))
        now = message(1, 2)
        ledger.gone("uid.1")
        with pytest.raises(Violation, match="lost: the deletion"):
            ledger.check(stored((1, now), (2, now)))
        ledger = told(message(1))
        ledger.reacted(document(1, 2), "bob", "👍", on=True)
        with pytest.raises(Violation, match="lost: the reaction"):
            ledger.check(stored((1, now), (2, now)))

    def test_a_send_without_an_ack_and_a_debt_that_is_not_paid_are_found(self) -> None:
        ledger = told(message(1))
        ledger.sending("lobby", "ada", "key-2", "body 2")
        with pytest.raises(Violation, match="never had an ack"):
            ledger.check(stored((1, message(1))))
        ledger = told(message(1))
        ledger.owed.append(("lobby", "uid.1", 1))
        with pytest.raises(Violation, match="was not shown as it is"):
            ledger.check(stored((1, message(1))))

    @pytest.mark.parametrize(
        ("answer", "duplicate", "words"),
        [
            (document(2, key="key-1"), True, "a repeat of"),
            (document(1), False, "a repeat of"),
            (document(1, key="other"), True, "was answered with"),
        ],
    )
    def test_a_repeat_that_is_not_answered_with_the_first_message_is_found(
        self, answer: dict[str, Any], duplicate: bool, words: str
    ) -> None:
        with pytest.raises(Violation, match=words):
            told(message(1)).sent("lobby", "ada", "key-1", answer, duplicate=duplicate, first_try=False)

    def test_a_first_send_that_is_called_a_duplicate_is_found(self) -> None:
        ledger = Ledger()
        ledger.sending("lobby", "ada", "key-1", "body 1")
        with pytest.raises(Violation, match="first send"):
            ledger.sent("lobby", "ada", "key-1", document(1), duplicate=True, first_try=True)

    def test_two_truths_about_one_revision_are_found(self) -> None:
        ledger = told(message(1))
        with pytest.raises(Violation, match="two documents"):
            ledger.fact(document(1, body="other"))
