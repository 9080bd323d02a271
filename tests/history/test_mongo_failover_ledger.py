"""The control log when what was written is rolled back, and when a node dies between a change and its record, through
the whole adapter. Single commands that fail are in `test_mongo_ledger.py`, single writes in `test_mongo_mending.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Person
from hubbub.history.mongo import MongoHistory
from tests.support.control_log import entry, records_after, said_after
from tests.support.failover import NO_RETRIES, behind
from tests.support.history import make_room, member
from tests.support.mongo_members import LATER_MS, NOW_MS
from tests.support.mongo_proxy import Exchange, before, concern, running_proxy

Do = Callable[[MongoHistory, str], Awaitable[object]]

CHANGES: Final[dict[str, tuple[Do, tuple[str, ...]]]] = {
    "joined": (lambda history, uid: history.join(uid, Person("zoe", "Zoe"), at=5), ("joined",)),
    "banned": (lambda history, uid: history.ban(uid, "ann", until=FOREVER, text="spam"), ("banned", "heir")),
    "room": (lambda history, uid: history.update_room(uid, title="New"), ("room",)),
    "deleted": (lambda history, uid: history.delete_room(uid), ("deleted",)),
}
"""What is done to a room, and what the log then says of it."""


@asynccontextmanager
async def node_at_the_time(uri: str, now: int) -> AsyncIterator[MongoHistory]:
    history = MongoHistory(uri, clock=lambda: now)
    await history.open()
    try:
        yield history
    finally:
        await history.close()


@pytest.fixture
async def truth(mongo_uri: str) -> AsyncIterator[MongoHistory]:
    """The store, past the proxy, long after."""
    async with node_at_the_time(mongo_uri, LATER_MS) as history:
        yield history


class TestRollingBack:
    async def test_what_stood_before_a_refusal_stands_only_with_its_write_concern(
        self, mongo_uri: str, truth: MongoHistory
    ) -> None:
        """One insert has both: a key that is taken refuses its second record, and its first is rolled back."""
        await truth.ledger.append([entry("old")])

        async def is_rolled_back(exchange: Exchange) -> Mapping[str, Any] | None:
            reply = await concern(64)(exchange)
            log = truth._open_parts.server.database["log"]
            first = exchange.body["documents"][0]["_id"]
            assert (await log.delete_one({"_id": first})).deleted_count == 1
            return reply

        async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri, NO_RETRIES) as history:
            rule = proxy.rule(is_rolled_back, "insert", where=lambda body: bool(body["insert"] == "log"))
            with pytest.raises(HubbubError, match="unavailable"):
                await history.ledger.append([entry("new"), entry("old")])
            assert rule.hits == 1
            await truth.ledger.append([entry("other")])
            assert await history.ledger.append([entry("new"), entry("old")]) == [3, 1]
        assert [record.key for record in await records_after(truth.ledger, 0)] == ["old", "other", "new"]


class TestDying:
    @pytest.mark.parametrize("change", CHANGES)
    async def test_another_node_says_what_was_not_said(self, mongo_uri: str, truth: MongoHistory, change: str) -> None:
        do, said = CHANGES[change]
        room = await truth.create_room(make_room(), [member("ann", "owner", at=1), member("bob", at=2)])
        head = await truth.ledger.head()
        async with running_proxy(mongo_uri) as proxy:
            uri = f"{proxy.uri}{mongo_uri.partition('?')[0].rpartition('/')[2]}?{NO_RETRIES}"
            async with node_at_the_time(uri, NOW_MS) as dying:
                # The log is never reached again from there; all else is.
                rule = proxy.rule(before, "insert", times=99, where=lambda body: bool(body["insert"] == "log"))
                with pytest.raises(HubbubError, match="unavailable"):
                    await do(dying, room.uid)
                await dying.ledger.mend()  # It has just been left, by this node's clock: that is too early.
                assert rule.hits == 1
                assert await truth.ledger.read(after=head, limit=9) == []
                origin = dying.ledger.origin
        await truth.ledger.mend()
        told = await said_after(truth, head)
        assert {one.get("why", one["kind"]) for one in told} == set(said)
        assert {record.origin for record in await truth.ledger.read(after=head, limit=9)} == {origin}
        await truth.ledger.mend()
        assert await said_after(truth, head) == told
