"""The judge of rolling restarts can find what it is there to find. And a plan is its seed's alone."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.domain.documents import message_document
from hubbub.history.base import Message, Sender
from tests.support.chaos_ledger import StoredRoom
from tests.support.rolling_judge import Judge, worst_second
from tests.support.rolling_run import make_plan

ADA = Sender("ada", "ada")


def message(seq: int) -> Message:
    return Message("uid", seq, seq, key=f"k{seq}", sender=ADA, body=f"{seq}", reply_to=None, mentions=(), created_at=1)


def document(seq: int) -> dict[str, Any]:
    return message_document("tea", message(seq))


def page(*seqs: int, head: int) -> dict[str, Any]:
    documents = [document(seq) for seq in seqs]
    return {"messages": documents, "head": head, "next": head, "outcome": "full", "room": {"epoch": "uid"}}


def stored(*seqs: int) -> list[StoredRoom]:
    return [StoredRoom("tea", len(seqs), [(rev, message(seq)) for rev, seq in enumerate(seqs, 1)])]


class Story:
    """A judge who is told the story of `ada` in `tea`, who is connected to n1 and joined."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.judge.add("ada", "javascript polling", ["tea"])
        self.tell("open", node="n1", at=1.0)
        self.tell("joined", room="tea", since=0, data=page(head=0))

    def tell(self, what: str, **more: Any) -> None:
        self.judge.take({"client": "ada", "is": what, **more})

    def write(self, seq: int, *, first: bool = True, duplicate: bool = False) -> None:
        self.tell("sending", room="tea", key=f"k{seq}", body=f"{seq}", away=False)
        self.ack(seq, first=first, duplicate=duplicate)

    def ack(self, seq: int, *, first: bool = True, duplicate: bool = False) -> None:
        data = {"message": document(seq), "duplicate": duplicate}
        self.tell("acked", room="tea", key=f"k{seq}", data=data, first=first)

    def see(self, *seqs: int) -> None:
        for seq in seqs:
            self.tell("message", data=document(seq))

    def away(self, *, back: str = "n2", at: float = 5.0) -> None:
        self.tell("lost", reason="transport close", at=at)
        self.tell("open", node=back, at=at + 1)


class TestWhatIsAsItShouldBe:
    def test_a_client_that_loses_its_connection_and_resumes_has_everything(self) -> None:
        story = Story()
        story.write(1)
        story.see(1)
        story.tell("sending", room="tea", key="k2", body="2", away=True)
        story.away()
        story.ack(2, first=False, duplicate=True)
        story.tell("joined", room="tea", since=1, data=page(2, head=2))
        story.judge.finish(stored(1, 2))
        assert story.judge.violations == []
        assert (story.judge.written_away, story.judge.outstanding, story.judge.ledger.acks) == (1, 0, 2)


class TestWhatIsFound:
    @pytest.mark.parametrize(
        ("seen", "words"), [((1, 3), "a gap"), ((1, 1), "a repeat"), ((1, 2, 1), "a repeat"), ((2, 1), "a gap")]
    )
    def test_what_is_missing_twice_or_out_of_order_on_a_connection(self, seen: tuple[int, ...], words: str) -> None:
        story = Story()
        story.see(*seen)
        assert words in story.judge.violations[0]

    def test_an_event_before_the_join_of_the_next_connection(self) -> None:
        story = Story()
        story.away()
        story.see(1)
        assert "not joined" in story.judge.violations[0]

    def test_an_acknowledged_message_that_the_store_does_not_have(self) -> None:
        story = Story()
        story.write(1)
        story.see(1)
        story.judge.finish(stored())
        assert any("lost" in violation for violation in story.judge.violations)

    def test_a_message_that_the_store_has_twice(self) -> None:
        story = Story()
        story.write(1)
        story.see(1)
        twice = Message("uid", 2, 2, key="k1", sender=ADA, body="1", reply_to=None, mentions=(), created_at=1)
        story.see(2)
        story.judge.finish([StoredRoom("tea", 2, [(1, message(1)), (2, twice)])])
        assert any("twice" in violation for violation in story.judge.violations)

    def test_sends_that_changed_places(self) -> None:
        story = Story()
        story.write(2)
        story.write(1)
        assert "behind what was sent later" in story.judge.violations[0]

    def test_a_repeat_that_is_taken_for_new(self) -> None:
        story = Story()
        story.write(1)
        story.ack(1)
        assert "a repeat of" in story.judge.violations[0]

    def test_a_client_that_has_not_everything_in_the_end(self) -> None:
        story = Story()
        story.write(1)
        story.judge.finish(stored(1))
        assert "is at {'tea': 0}" in story.judge.violations[0]

    def test_a_client_that_does_not_come_back(self) -> None:
        story = Story()
        clients = story.judge.at_node("n1")
        story.tell("lost", reason="transport close", at=5.0)
        story.judge.deployed("n1", clients, at=4.0, took_s=2.0)
        assert story.judge.violations == ["ada was at n1 and did not come back"]
        assert not story.judge.all_open

    def test_trouble(self) -> None:
        story = Story()
        story.tell("trouble", text="room:join had no ack")
        assert "room:join had no ack" in story.judge.violations[0]


class TestDeploys:
    def test_the_worst_second_is_any_span_of_one_second(self) -> None:
        assert worst_second([]) == 0
        assert worst_second([0.0, 0.9, 1.1, 1.2, 1.8, 5.0]) == 4
        assert worst_second([0.0, 1.0, 2.0]) == 1

    def test_the_first_return_of_each_client_counts(self) -> None:
        story = Story()
        clients = story.judge.at_node("n1")
        story.away(at=5.0)
        story.away(back="n3", at=9.0)
        story.judge.deployed("n1", clients, at=4.5, took_s=2.0)
        [deploy] = story.judge.deploys
        assert (list(deploy.back), deploy.clients, deploy.worst, deploy.worst_share) == ([6.0], 1, 1, 1.0)


class TestPlans:
    def test_a_seed_decides_everything(self) -> None:
        assert make_plan(7) == make_plan(7)
        assert len({str(make_plan(seed)) for seed in range(20)}) > 10

    @pytest.mark.parametrize("seed", range(20))
    def test_every_disturbance_is_in_every_plan(self, seed: int) -> None:
        plan = make_plan(seed)
        done = sorted(each for group in plan.groups for each in group)
        assert done == ["deploys", "freeze of Redis", "kill", "restart of Redis"]
        assert sorted(plan.order) == ["n1", "n2", "n3"]
