"""What every ledger promises of sanctions, of the audit log, and of signs of life (`hubbub.history.ledger`)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Audited, Ban, Beat, History, Ledger, Revocation
from tests.support.history import member, new_room
from tests.support.stores import SQLITE, Stores

Reopen = Callable[[], Awaitable[History]]


def refusal(code: str) -> pytest.RaisesExc[HubbubError]:
    return pytest.RaisesExc(HubbubError, check=lambda error: error.code == code)


@pytest.fixture
def ledger(history: History) -> Ledger:
    return history.ledger


def ban(n: int, *, user: str = "bob", until: int = FOREVER) -> Ban:
    return Ban(user, until, f"reason {n}", "ann", 100 + n, n)


def revocation(n: int, *, user: str | None = None, jti: str | None = None, before: int = 50) -> Revocation:
    return Revocation(user, jti, before, f"reason {n}", "ann", 100 + n, n)


async def bans(ledger: Ledger, *, now: int = 1000) -> list[Ban]:
    return sorted((await ledger.sanctions(now=now)).bans, key=lambda one: one.user)


async def revocations(ledger: Ledger) -> list[Revocation]:
    return sorted((await ledger.sanctions(now=1000)).revocations, key=lambda one: one.n)


class TestBans:
    async def test_none_are_kept_at_first(self, ledger: Ledger) -> None:
        assert await bans(ledger) == []
        assert await revocations(ledger) == []

    async def test_a_ban_comes_back_as_it_was_put(self, ledger: Ledger, reopen: Reopen) -> None:
        one, two = Ban("bob", FOREVER, "Späm\n", "ann", 7, 3), Ban("zoe", 2000, "", "ann", 9, 2)
        for each in (two, one):
            await ledger.put_ban(each)
        assert await bans(ledger) == [one, two]
        assert await bans((await reopen()).ledger) == [one, two]

    @pytest.mark.parametrize("order", [*itertools.permutations((1, 2, 3))])
    async def test_the_highest_number_stays_in_whatever_order_they_come(
        self, stores: Stores, history: History, order: tuple[int, ...]
    ) -> None:
        async with stores.another() as other:
            for node, n in zip((history, other, history), order, strict=True):
                await node.ledger.put_ban(ban(n))
            assert await bans(history.ledger) == await bans(other.ledger) == [ban(3)]

    async def test_all_at_once_come_to_the_same(self, stores: Stores, history: History) -> None:
        async with stores.another() as other:
            nodes = itertools.cycle((history, other))
            await asyncio.gather(*(next(nodes).ledger.put_ban(ban(n)) for n in (5, 2, 9, 1, 7, 9, 3)))
        assert await bans(history.ledger) == [ban(9)]

    async def test_putting_it_again_changes_nothing(self, ledger: Ledger) -> None:
        for _ in range(2):
            await ledger.put_ban(ban(4))
        assert await bans(ledger) == [ban(4)]

    async def test_one_that_was_lifted_does_not_come_back_by_an_older_record(self, ledger: Ledger) -> None:
        await ledger.put_ban(ban(2, until=0))
        await ledger.put_ban(ban(1))
        assert await bans(ledger) == []
        assert await bans(ledger, now=0) == []
        await ledger.put_ban(ban(3))
        assert await bans(ledger) == [ban(3)]
        await ledger.put_ban(ban(4, until=0))
        assert await bans(ledger) == []

    async def test_its_time_is_over_at_its_end(self, ledger: Ledger) -> None:
        await ledger.put_ban(ban(1, until=500))
        assert await bans(ledger, now=499) == [ban(1, until=500)]
        assert await bans(ledger, now=500) == []
        assert await bans(ledger, now=501) == []

    async def test_one_that_is_over_still_says_what_is_older(self, ledger: Ledger) -> None:
        await ledger.put_ban(ban(6, until=500))
        assert await bans(ledger, now=900) == []
        await ledger.put_ban(ban(5))
        assert await bans(ledger, now=900) == []

    async def test_users_are_told_apart(self, ledger: Ledger) -> None:
        users = ["Bob", "bob", "bob ", "böb", "$bob", "b.o.b"]
        for n, user in enumerate(users):
            await ledger.put_ban(ban(n + 1, user=user))
        assert {one.user: one.n for one in await bans(ledger)} == {user: n + 1 for n, user in enumerate(users)}

    async def test_text_that_is_not_unicode_is_refused(self, ledger: Ledger) -> None:
        for bad in (Ban("\ud800", 9, "", "ann", 1, 1), Ban("bob", 9, "\ud800", "ann", 1, 1)):
            with refusal("bad_request"):
                await ledger.put_ban(bad)
        assert await bans(ledger, now=1) == []


class TestRevocations:
    async def test_they_come_back_as_they_were_put(self, ledger: Ledger, reopen: Reopen) -> None:
        put = [revocation(1, user="bob"), revocation(2, jti="bob"), revocation(3, user="zoe"), revocation(4, jti="j2")]
        for each in reversed(put):
            await ledger.put_revocation(each)
        assert await revocations(ledger) == put
        assert await revocations((await reopen()).ledger) == put

    @pytest.mark.parametrize("order", [*itertools.permutations((1, 2, 3))])
    async def test_the_highest_number_of_a_user_or_a_token_stays(
        self, stores: Stores, history: History, order: tuple[int, ...]
    ) -> None:
        async with stores.another() as other:
            for node, n in zip((history, other, history), order, strict=True):
                await node.ledger.put_revocation(revocation(n, user="bob", before=n * 10))
                await node.ledger.put_revocation(revocation(n + 10, jti="bob", before=n * 10))
            expected = [revocation(3, user="bob", before=30), revocation(13, jti="bob", before=30)]
            assert await revocations(history.ledger) == await revocations(other.ledger) == expected

    async def test_all_at_once_come_to_the_same(self, stores: Stores, history: History) -> None:
        async with stores.another() as other:
            nodes = itertools.cycle((history, other))
            puts = [revocation(n, **{kind: "bob"}) for n in (5, 2, 9, 9, 3) for kind in ("user", "jti")]  # type: ignore[arg-type] # The names are those of its arguments.
            await asyncio.gather(*(next(nodes).ledger.put_revocation(each) for each in puts))
        found = await revocations(history.ledger)
        assert sorted(found, key=lambda one: one.user is None) == [revocation(9, user="bob"), revocation(9, jti="bob")]

    async def test_text_that_is_not_unicode_is_refused(self, ledger: Ledger) -> None:
        for bad in (Revocation("\ud800", None, 9, "", "ann", 1, 1), Revocation(None, "j", 9, "\ud800", "ann", 1, 1)):
            with refusal("bad_request"):
                await ledger.put_revocation(bad)
        assert await revocations(ledger) == []


class TestAudit:
    async def begin(self, ledger: Ledger, at: int, action: str = "") -> str:
        return await ledger.audit_begin(
            at=at, actor="ann", action=action or f"a{at}", target={"user": "bob"}, reason="why"
        )

    async def test_an_entry_is_there_before_anything_was_done(self, ledger: Ledger, reopen: Reopen) -> None:
        id = await ledger.audit_begin(
            at=5, actor="Änn", action="user:ban", target={"user": "böb", "room": "r"}, reason="Spam"
        )
        expected = Audited(id, 5, "Änn", "user:ban", {"user": "böb", "room": "r"}, "Spam", "unknown")
        ledger = (await reopen()).ledger
        page = await ledger.audit(limit=5, cursor=None)
        assert (list(page.entries), page.cursor) == ([expected], None)

    async def test_what_came_of_it_is_said_once(self, ledger: Ledger) -> None:
        first, second, third = [await self.begin(ledger, at) for at in (1, 2, 3)]
        await ledger.audit_end(first, "ok")
        await ledger.audit_end(second, "forbidden")
        await ledger.audit_end(first, "internal")
        await ledger.audit_end(second, "ok")
        await ledger.audit_end("nobody", "ok")
        await ledger.audit_end("", "ok")
        found = (await ledger.audit(limit=5, cursor=None)).entries
        assert [(entry.id, entry.outcome) for entry in found] == [
            (third, "unknown"),
            (second, "forbidden"),
            (first, "ok"),
        ]

    async def test_pages_go_from_the_newest_back(self, ledger: Ledger) -> None:
        for at in (50, 30, 10, 20, 40):
            await self.begin(ledger, at)
        seen: list[list[int]] = []
        cursor: str | None = None
        while True:
            page = await ledger.audit(limit=2, cursor=cursor)
            seen.append([entry.at for entry in page.entries])
            if (cursor := page.cursor) is None:
                break
        assert seen == [[50, 40], [30, 20], [10]]
        whole = await ledger.audit(limit=5, cursor=None)
        assert (len(whole.entries), whole.cursor) == (5, None)

    async def test_those_of_one_moment_are_each_on_one_page(self, ledger: Ledger) -> None:
        ids = [await self.begin(ledger, 7, f"n{number}") for number in range(7)]
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await ledger.audit(limit=3, cursor=cursor)
            seen += [entry.id for entry in page.entries]
            if (cursor := page.cursor) is None:
                break
        assert len(seen) == len(set(seen)) == 7
        assert set(seen) == set(ids)

    async def test_what_is_new_moves_no_page_that_is_read_on(self, ledger: Ledger) -> None:
        ids = [await self.begin(ledger, at) for at in (1, 2, 3, 4)]
        first = await ledger.audit(limit=2, cursor=None)
        for at in (4, 5, 6):  # One in the moment of the newest, too.
            await self.begin(ledger, at, "new")
        await ledger.audit_end(ids[0], "ok")
        second = await ledger.audit(limit=2, cursor=first.cursor)
        assert [entry.id for entry in (*first.entries, *second.entries)] == [*reversed(ids)]
        assert second.entries[-1].outcome == "ok"
        assert second.cursor is None

    async def test_entries_of_two_stores_at_once_are_all_kept(self, stores: Stores, history: History) -> None:
        async with stores.another() as other:
            ids = await asyncio.gather(*(self.begin(node.ledger, 9) for _ in range(10) for node in (history, other)))
            page = await other.ledger.audit(limit=50, cursor=None)
        assert len(set(ids)) == 20
        assert {entry.id for entry in page.entries} == set(ids)

    async def test_a_cursor_that_was_not_made_here_is_refused(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        foreign = (await history.members(room.uid, limit=1, cursor=None)).cursor
        assert foreign is not None
        for cursor in ("", "x", "W10", foreign):
            with refusal("bad_request"):
                await history.ledger.audit(limit=1, cursor=cursor)

    async def test_text_that_is_not_unicode_is_refused(self, ledger: Ledger) -> None:
        bad = "\ud800"
        for actor, action, target, reason in (
            (bad, "a", {}, ""),
            ("ann", bad, {}, ""),
            ("ann", "a", {"user": bad}, ""),
            ("ann", "a", {}, bad),
        ):
            with refusal("bad_request"):
                await ledger.audit_begin(at=1, actor=actor, action=action, target=target, reason=reason)
        id = await self.begin(ledger, 1)
        with refusal("bad_request"):
            await ledger.audit_end(id, bad)
        assert [entry.id for entry in (await ledger.audit(limit=5, cursor=None)).entries] == [id]


class TestBeats:
    async def test_the_last_one_of_each_process_stands(self, ledger: Ledger, reopen: Reopen) -> None:
        last = Beat("n1", "b", 30, {"connections": 7, "draining": False, "names": ["x"]})
        for beat in (Beat("n2", "c", 20), Beat("n1", "b", 10, {"old": 1}), Beat("n1", "a", 15), last):
            await ledger.beat(beat)
        expected = [Beat("n1", "a", 15), last, Beat("n2", "c", 20)]
        assert list(await ledger.beats(since=0)) == expected
        assert list(await (await reopen()).ledger.beats(since=0)) == expected

    async def test_those_that_are_older_are_left_out(self, ledger: Ledger) -> None:
        for at in (10, 20, 30):
            await ledger.beat(Beat("n", f"o{at}", at))
        assert [beat.at for beat in await ledger.beats(since=20)] == [20, 30]
        assert list(await ledger.beats(since=31)) == []

    async def test_those_of_an_hour_ago_are_removed(self, ledger: Ledger) -> None:
        hour = 3_600_000
        await ledger.beat(Beat("n1", "a", 1))
        await ledger.beat(Beat("n2", "b", 5))
        await ledger.beat(Beat("n3", "c", hour + 3))
        assert [beat.name for beat in await ledger.beats(since=0)] == ["n2", "n3"]

    async def test_who_ends_has_none_any_more(self, stores: Stores, history: History) -> None:
        ledger = history.ledger
        await ledger.beat(Beat("n1", ledger.origin, 10))
        await ledger.beat(Beat("n2", "another", 10))
        await ledger.stop_beating()
        await ledger.stop_beating()
        assert [beat.name for beat in await ledger.beats(since=0)] == ["n2"]
        if not stores.address.startswith(SQLITE):
            async with stores.another() as other:
                await other.ledger.beat(Beat("n3", other.ledger.origin, 10))
                await ledger.stop_beating()
                assert [beat.name for beat in await ledger.beats(since=0)] == ["n2", "n3"]

    async def test_text_that_is_not_unicode_is_refused(self, ledger: Ledger) -> None:
        for bad in (Beat("\ud800", "o", 1), Beat("n", "o", 1, {"a": "\ud800"})):
            with refusal("bad_request"):
                await ledger.beat(bad)
        assert list(await ledger.beats(since=0)) == []
