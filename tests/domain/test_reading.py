"""Joining a room and reading its history: nothing lost, nothing twice, between a page and what follows it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER
from tests.support.history import eventually
from tests.support.house import ChatHouse, chat_house, outlet_of, refusal_of
from tests.support.roommodel import Held, applied


def merged(answer: dict[str, Any], client: Client) -> dict[str, dict[str, Any]]:
    """A client's state by the contract: a document is applied if its revision is higher than the one held."""
    held: dict[str, dict[str, Any]] = {message["id"]: message for message in answer["messages"]}
    for document in outlet_of(client).of("message"):
        if document["id"] not in held or document["rev"] > held[document["id"]]["rev"]:
            held[document["id"]] = document
    return held


def check_events(answer: dict[str, Any], client: Client) -> None:
    """The ack precedes the first event, which is `head + 1`, and each further one is one more."""
    sent = outlet_of(client).sent
    ack = next(at for at, (event, _) in enumerate(sent) if event == "<ack>")
    assert not any(event == "message" for event, _ in sent[:ack])
    revs = [document["rev"] for document in outlet_of(client).of("message")]
    assert revs == list(range(answer["head"] + 1, answer["head"] + 1 + len(revs)))


async def churn(house: ChatHouse, client: Client, rng: random.Random, count: int) -> None:
    """Send, edit, delete and react, without a pause."""
    ids: list[str] = []
    for _ in range(count):
        what = rng.choice(["send", "send", "edit", "delete", "react"]) if ids else "send"
        request: dict[str, Any] = {"room": "tea", "id": rng.choice(ids) if ids else ""}
        try:
            if what == "send":
                ids.append((await house.send(client))["id"])
            elif what == "edit":
                await house.chat.posting.edit(client, request | {"body": str(rng.random())})
            elif what == "delete":
                await house.chat.posting.delete(client, request)
            else:
                await house.chat.posting.react(client, request | {"emoji": rng.choice("👍👎"), "on": True})
        except HubbubError as error:
            if error.code != "conflict":
                raise


class TestJoining:
    @pytest.mark.parametrize("seed", range(4))
    async def test_joiners_amid_changes_lose_nothing_and_get_nothing_twice(self, house: ChatHouse, seed: int) -> None:
        rng = random.Random(seed)
        writers = [await house.enter(f"writer-{n}") for n in range(4)]
        await house.room(writers[0])
        for writer in writers:
            await house.join(writer)
        busy = [asyncio.ensure_future(churn(house, each, random.Random(rng.random()), 40)) for each in writers]
        joiners: list[tuple[Client, dict[str, Any]]] = []
        while not all(each.done() for each in busy):
            joiner = await house.enter(f"joiner-{len(joiners)}")
            joiners.append((joiner, await house.join(joiner, limit=500)))
        await asyncio.gather(*busy)
        last = await house.enter("last")
        fresh = {message["id"]: message for message in (await house.join(last, limit=500))["messages"]}
        assert joiners
        for joiner, answer in joiners:
            check_events(answer, joiner)
            held = merged(answer, joiner)
            assert {id: (each["body"], each["deleted"], each["reactions"]) for id, each in held.items()} == {
                id: (each["body"], each["deleted"], each["reactions"]) for id, each in fresh.items()
            }

    @pytest.mark.parametrize("seed", range(3))
    async def test_who_comes_back_with_since_holds_the_same_as_who_comes_anew(
        self, house: ChatHouse, seed: int
    ) -> None:
        rng = random.Random(seed)
        ada = await house.enter("ada")
        epoch = (await house.chat.rooms.create(ada, {"kind": "public", "title": "T", "id": "tea"}))["room"]["epoch"]
        await house.join(ada)
        bob = await house.enter("bob")
        before = await house.join(bob, limit=500)
        await churn(house, ada, rng, 30)
        held = merged(before, bob)
        since = max(each["rev"] for each in held.values())
        house.leave(bob)
        await churn(house, ada, rng, 30)
        again = await house.enter("bob")
        busy = asyncio.ensure_future(churn(house, ada, rng, 20))
        answer = await house.join(again, since=since, epoch=epoch, limit=500)
        await busy
        check_events(answer, again)
        assert answer["outcome"] == "full"
        for message in [*answer["messages"], *outlet_of(again).of("message")]:
            if message["id"] not in held or message["rev"] > held[message["id"]]["rev"]:
                held[message["id"]] = message
        fresh = (await house.join(await house.enter("eve"), limit=500))["messages"]
        assert {id: each["body"] for id, each in held.items()} == {each["id"]: each["body"] for each in fresh}

    async def test_a_room_that_is_busy_without_subscribers_can_be_joined(self, house: ChatHouse) -> None:
        """Members may send without having joined on this connection, so nobody's feed keeps what went by."""
        ada = await house.enter("ada")
        await house.room(ada)
        for read in ("landing", "views"):
            house.store.meanwhile(read, lambda: house.send(ada))
        for number in range(2):
            joiner = await house.enter(f"joiner-{number}")
            answer = await house.join(joiner)
            check_events(answer, joiner)
            assert len(outlet_of(joiner).of("message")) == 1
            house.leave(joiner)

    async def test_a_page_that_arrives_late_is_followed_by_what_went_by(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(ada)
        await house.send(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob))
        await held.wait()
        for _ in range(10):
            await house.send(ada)
        held.release()
        answer = await joining
        assert answer["head"] == 1
        assert [each["rev"] for each in outlet_of(bob).of("message")] == list(range(2, 12))
        check_events(answer, bob)

    async def test_a_page_that_is_too_old_is_read_anew(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob, limit=500))
        await held.wait()
        await asyncio.gather(*(house.send(ada) for _ in range(1100)))
        house.store.let_go("landing")
        answer = await joining
        assert answer["head"] == 1100
        check_events(answer, bob)

    async def test_who_is_banned_while_the_page_is_read_is_not_let_in(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob))
        await held.wait()
        await house.chat.membership.ban(ada, {"room": "tea", "user": "bob"})
        held.release()
        assert await refusal_of(joining) == "banned"
        assert house.fanout.size(house.uid()) == 0
        assert bob.joined == set()

    async def test_who_left_while_the_page_is_read_is_not_subscribed_behind_it(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob))
        await held.wait()
        await house.chat.membership.kick(ada, {"room": "tea", "user": "bob"})
        held.release()
        assert await refusal_of(joining) == "conflict"
        assert house.fanout.size(house.uid()) == 0

    async def test_joining_again_repeats_nothing(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        await house.send(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob))
        await held.wait()
        for _ in range(3):
            await house.send(ada)
        held.release()
        answer = await joining
        await house.send(ada)
        revs = [message["rev"] for message in outlet_of(bob).of("message")]
        assert revs == [1, *range(answer["head"] + 1, 6)]

    async def test_nothing_is_kept_when_nobody_joins(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        await house.join(ada)
        await house.send(ada)
        room = house.chat.house.rooms.by_uid(house.uid())
        assert room is not None
        assert room.feed.backlog(0) is None

    async def test_who_vanished_meanwhile_is_not_subscribed(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob))
        await held.wait()
        house.leave(bob)
        held.release()
        await joining
        assert house.fanout.size(house.uid()) == 0

    async def test_a_room_that_was_deleted_meanwhile_is_not_there(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        held = house.store.hold("landing")
        joining = asyncio.ensure_future(house.join(bob))
        await held.wait()
        await house.chat.rooms.delete(ada, {"room": "tea"})
        house.store.let_go("landing")
        assert await refusal_of(joining) == "not_found"

    async def test_joining_makes_a_member_and_tells_the_others(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(ada)
        answer = await house.join(bob)
        assert answer["room"]["role"] == "member"
        assert {each["user"]["id"]: each["role"] for each in answer["members"]} == {"ada": "owner", "bob": "member"}
        (news,) = outlet_of(ada).of("member")
        assert (news["room"], news["user"]["id"], news["role"]) == ("tea", "bob", "member")
        await house.join(bob)
        assert len(outlet_of(ada).of("member")) == 1

    async def test_an_old_epoch_or_a_since_past_the_head_is_a_reset(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        await house.send(ada)
        for since, epoch in ((1, "another"), (2, house.uid())):
            answer = await house.join(ada, since=since, epoch=epoch)
            assert (answer["outcome"], answer["next"], len(answer["messages"])) == ("reset", 1, 1)

    async def test_what_does_not_fit_a_page_is_partial_and_next_leads_on(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        for _ in range(5):
            await house.send(ada)
        answer = await house.join(ada, since=1, epoch=house.uid(), limit=2)
        assert (answer["outcome"], answer["next"], answer["head"]) == ("partial", 3, 5)
        await house.send(ada)
        assert [each["rev"] for each in outlet_of(ada).of("message")] == [6]
        seen = [message["seq"] for message in answer["messages"]]
        while answer["next"] < answer["head"]:
            answer = await house.sync(ada, answer["next"], limit=2)
            seen += [message["seq"] for message in answer["messages"]]
        assert seen == [2, 3, 4, 5, 6]


def content(held: Held) -> dict[str, tuple[Any, ...]]:
    """What must be the same for all. A revision may be that of an event whose content is newer."""
    return {id: (each["body"], each["deleted"], each["reactions"]) for id, each in held.items()}


async def fresh(house: ChatHouse, client: Client) -> dict[str, tuple[Any, ...]]:
    """The whole room as one reads it who holds nothing."""
    held: Held = {}
    after = 0
    while True:
        page = await house.chat.reading.fetch(client, {"room": "tea", "after": after, "limit": 500})
        held = applied(held, page["messages"])
        if not page["more_after"]:
            return content(held)
        after = page["messages"][-1]["seq"]


class Returner:
    """A client by the book: it keeps what it holds while it is away, and asks for the rest when it is back."""

    def __init__(self, house: ChatHouse, user: str, rng: random.Random) -> None:
        self.house = house
        self.user = user
        self.rng = rng
        self.held: Held = {}
        self.since = 0
        self.client: Client | None = None
        self.outcomes: list[str] = []

    async def come(self) -> None:
        """Join with what is held, and page until nothing is missing."""
        self.client = client = await self.house.enter(self.user)
        limit = self.rng.choice([3, 10, 500])
        again = bool(self.held) or self.rng.random() < 0.5
        asked: dict[str, Any] = {"since": self.since, "epoch": self.house.uid()} if again else {}
        answer = await self.house.join(client, limit=limit if asked else 500, **asked)
        check_events(answer, client)
        self.outcomes.append(answer["outcome"])
        self.held = applied(self.held, answer["messages"])
        next, head = answer["next"], answer["head"]
        while next < head:
            rest = await self.house.sync(client, next, limit=limit, epoch=self.house.uid())
            assert rest["head"] >= head
            assert rest["next"] > next
            self.held = applied(self.held, rest["messages"])
            next = rest["next"]

    def go(self) -> None:
        """Take in what was pushed, and be gone."""
        assert self.client is not None
        pushed = outlet_of(self.client).of("message")
        self.held = applied(self.held, pushed)
        sent = outlet_of(self.client).of("<ack>")[0]["head"]
        self.since = pushed[-1]["rev"] if pushed else max(sent, self.since)
        self.house.leave(self.client)
        self.client = None


class TestComingBack:
    @pytest.mark.parametrize("seed", range(5))
    async def test_whoever_comes_and_goes_amid_changes_holds_the_same_as_a_fresh_fetch(
        self, house: ChatHouse, seed: int
    ) -> None:
        rng = random.Random(seed)
        writers = [await house.enter(f"writer-{n}") for n in range(3)]
        await house.room(writers[0])
        for writer in writers:
            await house.join(writer)
        returners = [Returner(house, f"user-{n}", random.Random(rng.random())) for n in range(12)]

        async def come_and_go(one: Returner) -> None:
            while not all(each.done() for each in busy):
                await one.come()
                for _ in range(one.rng.randrange(20)):
                    await asyncio.sleep(0)
                one.go()
            await one.come()

        busy = [asyncio.ensure_future(churn(house, each, random.Random(rng.random()), 80)) for each in writers]
        await asyncio.gather(*busy, *map(come_and_go, returners))
        expected = await fresh(house, writers[0])
        for one in returners:
            one.go()
            assert content(one.held) == expected
        assert {"full", "partial"} <= {outcome for one in returners for outcome in one.outcomes}

    async def test_a_crowd_after_a_restart_is_a_handful_of_reads(self, tmp_path: Path) -> None:
        async with chat_house(tmp_path) as house:
            ada = await house.enter("ada")
            await house.room(ada)
            for number in range(60):
                await house.join(await house.enter(f"user-{number}"))
            for _ in range(40):
                await house.send(ada)
            uid = house.uid()
        async with chat_house(tmp_path) as house:
            house.clock.forward(3600)
            crowd = [await house.enter(f"user-{number}") for number in range(60)]
            house.store.calls.clear()
            answers = await asyncio.gather(
                *(house.join(each, since=n % 3, epoch=uid, limit=500) for n, each in enumerate(crowd))
            )
            for number, answer in enumerate(answers):
                assert (answer["outcome"], answer["head"], answer["next"]) == ("full", 40, 40)
                assert [each["seq"] for each in answer["messages"]] == [*range(number % 3 + 1, 41)]
                assert (answer["room"]["role"], answer["room"]["unread"]) == ("member", 40)
                assert len(answer["members"]) == 61
            assert sorted(house.store.calls)[:2] == ["landing", "room"]
            assert len(house.store.calls) <= 5
            assert house.fanout.size(uid) == 60

    async def test_a_crowd_with_another_epoch_shares_the_newest_page(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        crowd = [await house.enter(f"user-{number}") for number in range(20)]
        for each in crowd:
            await house.join(each)
        for _ in range(30):
            await house.send(ada)
        house.clock.forward(3600)
        house.store.calls.clear()
        joining = [house.join(each, since=7, epoch="before", limit=10) for each in crowd]
        syncing = [house.sync(each, 7, epoch="before", limit=10) for each in crowd]
        for answer in await asyncio.gather(*joining, *syncing):
            assert (answer["outcome"], answer["next"], answer["head"]) == ("reset", 30, 30)
            assert [each["seq"] for each in answer["messages"]] == [*range(21, 31)]
        assert len(house.store.calls) <= 4

    async def test_what_is_shared_is_refused_to_whoever_may_not_have_it(self, house: ChatHouse) -> None:
        ada, bob, eve = [await house.enter(user) for user in ("ada", "bob", "eve")]
        limited = await house.enter("cy", rooms=["other*"])
        room = await house.room(ada, "plans", kind="private")
        uid = next(iter(ada.user.standings))
        await house.chat.membership.invite(ada, {"room": room, "user": "bob"})
        await house.send(ada, "secret", room)
        since = {"since": 0, "epoch": uid}
        answers = await asyncio.gather(
            *(house.join(client, room, **since) for client in (ada, bob, eve, limited)),
            *(house.sync(client, 0, room) for client in (ada, eve, limited)),
            return_exceptions=True,
        )
        assert [getattr(answer, "code", "ok") for answer in answers] == [
            *("ok", "ok", "not_found", "not_found"),
            *("ok", "not_found", "not_found"),
        ]

    async def test_who_is_removed_while_others_wait_with_them_gets_nothing(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        crowd = [await house.enter(f"user-{number}") for number in range(4)]
        for each in crowd:
            await house.join(each)
        held = house.store.hold("views")
        answers = [asyncio.ensure_future(house.join(each, since=0, epoch=house.uid())) for each in crowd]
        await held.wait()
        await house.chat.membership.ban(ada, {"room": "tea", "user": "user-2"})
        held.release()
        assert await refusal_of(answers[2]) == "banned"
        for let_in in (answers[1], answers[3]):
            assert (await let_in)["outcome"] == "full"
        assert crowd[2].joined == set()
        assert house.fanout.size(house.uid()) == 3

    async def test_who_is_banned_while_a_sync_is_read_gets_nothing(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.send(ada)
        held = house.store.hold("changes")
        syncing = asyncio.ensure_future(house.sync(bob, 0))
        await held.wait()
        await house.chat.membership.ban(ada, {"room": "tea", "user": "bob"})
        held.release()
        assert await refusal_of(syncing) == "banned"

    async def test_a_sync_sees_what_was_acknowledged_before_it(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        for number in range(1, 30):
            await house.send(ada)
            answers = await asyncio.gather(*(house.sync(client, number // 2) for client in (ada, bob)))
            assert [answer["messages"][-1]["rev"] for answer in answers] == [number, number]

    async def test_after_a_gap_the_rest_comes_with_a_join(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        await house.send(ada)
        house.fanout.unsubscribe(outlet_of(bob), house.uid())
        house.chat.suspended(bob, house.uid())
        for _ in range(3):
            await house.send(ada)
        (gap,) = outlet_of(bob).of("gap")
        assert gap == {"room": "tea", "head": 1}
        answer = await house.join(bob, since=gap["head"], epoch=house.uid())
        assert [each["rev"] for each in answer["messages"]] == [2, 3, 4]
        await house.send(ada)
        assert [each["rev"] for each in outlet_of(bob).of("message")] == [1, 5]

    async def test_what_is_unread_belongs_to_the_head_of_the_answer(self, house: ChatHouse) -> None:
        """Whoever counts on from there with the events that follow comes to the right number."""
        ada = await house.enter("ada")
        await house.room(ada)
        crowd = [await house.enter(f"user-{number}") for number in range(10)]
        for each in crowd:
            await house.join(each)
        busy = asyncio.ensure_future(churn_sends(house, ada, 60))
        counts: list[int] = []

        async def count(client: Client) -> None:
            await asyncio.sleep(0)
            outlet_of(client).sent.clear()
            answer = await house.join(client, since=0, epoch=house.uid(), limit=500)
            await busy
            counts.append(answer["room"]["unread"] + len(outlet_of(client).of("message")))

        await asyncio.gather(*map(count, crowd))
        assert counts == [60] * 10


async def churn_sends(house: ChatHouse, client: Client, count: int) -> None:
    for _ in range(count):
        await house.send(client)


class TestHistory:
    async def test_pages_go_in_both_directions(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        for _ in range(5):
            await house.send(ada)
        for request, seqs, before, after in (
            ({}, [4, 5], True, False),
            ({"before": 4}, [2, 3], True, True),
            ({"after": 0}, [1, 2], False, True),
        ):
            page = await house.chat.reading.fetch(ada, {"room": "tea", "limit": 2, **request})
            assert [message["seq"] for message in page["messages"]] == seqs
            assert (page["more_before"], page["more_after"]) == (before, after)

    async def test_a_stranger_reads_public_rooms_and_knows_nothing_of_others(self, house: ChatHouse) -> None:
        ada, eve = await house.enter("ada"), await house.enter("eve")
        await house.room(ada)
        secret = await house.room(ada, "plans", kind="private")
        assert (await house.chat.reading.fetch(eve, {"room": "tea"}))["messages"] == []
        for read in (house.chat.reading.fetch, house.chat.reading.sync):
            assert await refusal_of(read(eve, {"room": secret, "since": 0})) == "not_found"

    async def test_a_search_finds_only_where_the_caller_may_read(self, house: ChatHouse) -> None:
        ada, eve, bob = [await house.enter(user) for user in ("ada", "eve", "bob")]
        await house.room(ada)
        secret = await house.room(ada, "plans", kind="private")
        await house.send(ada, "lunch in public")
        await house.send(ada, "lunch in secret", secret)

        async def found(client: Client, **more: Any) -> list[str]:
            page = await house.chat.reading.search(client, {"query": "lunch", **more})
            return sorted(message["body"] for message in page["messages"])

        await eventually(lambda: found(ada), ["lunch in public", "lunch in secret"])
        assert await found(eve) == ["lunch in public"]
        assert await found(await house.enter("ada", rooms=["tea"])) == ["lunch in public"]
        assert await refusal_of(found(eve, room=secret)) == "not_found"
        await house.chat.membership.ban(ada, {"room": "tea", "user": "bob"})
        assert await found(bob) == []
        assert await refusal_of(house.chat.reading.search(ada, {"query": "!?"})) == "bad_request"


class TestReadMarks:
    async def test_a_token_that_does_not_reach_the_room_hears_nothing(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        await house.join(ada)
        limited = await house.enter("ada", rooms=["other*"])
        await house.send(ada)
        await house.chat.reading.mark(ada, {"room": "tea", "seq": 1})
        await house.chat.rooms.delete(ada, {"room": "tea"})
        assert outlet_of(limited).of("read") == outlet_of(limited).of("room:removed") == []

    async def test_a_mark_counts_what_is_left_and_is_told(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(ada)
        await house.join(bob)
        phone = await house.enter("bob")
        for _ in range(3):
            await house.send(ada)
        assert await house.chat.reading.mark(bob, {"room": "tea", "seq": 2}) == {"read_seq": 2, "unread": 1}
        news = {"room": "tea", "user": "bob", "seq": 2}
        assert outlet_of(ada).of("read") == outlet_of(phone).of("read") == [news]
        assert outlet_of(bob).of("read") == []
        assert (await house.chat.reading.mark(bob, {"room": "tea", "seq": FOREVER}))["read_seq"] == 3
        assert (await house.chat.reading.mark(bob, {"room": "tea", "seq": 0}))["read_seq"] == 3
