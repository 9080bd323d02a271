"""Promise 1, seen by the driver's own monitoring: every write of every method of the history is acknowledged by a
majority's journals, and every read is of what a majority has, from the primary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Ban, Beat, Entry, History, Ledger, Person, Revocation
from hubbub.history.mongo import MongoHistory
from tests.support.history import AMPLE_BYTES, deleting, draft, editing, make_room, member

WRITES: Final = frozenset({"insert", "update", "delete", "findAndModify", "createIndexes", "create", "bulkWrite"})
READS: Final = frozenset({"find", "aggregate", "count", "distinct"})
OTHERS: Final = frozenset({"hello", "ping", "endSessions", "getMore", "killCursors", "listIndexes"})
"""What neither asks for a state of the data nor changes it; a `getMore` goes on as its query began."""

SNAPSHOT: Final = {"level": "snapshot"}

CONTRARY: Final = "w=1&journal=false&readConcernLevel=local&readPreference=secondaryPreferred"
"""What an operator may have put into the address, without knowing what is promised."""


class Commands(CommandListener):
    """Keeps what was sent to the server."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append((event.command_name, dict(event.command)))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class Recorded:
    """A history that remembers which of its methods were called."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.called.add(name)
        method: Callable[..., Any] = getattr(self._history, name)
        return method


def methods() -> set[str]:
    """All that a history can be asked, without what asks no server."""
    named = {name for name, _ in inspect.getmembers(History, inspect.isfunction) if not name.startswith("_")}
    return named - {"lane"}


async def call_everything(history: Any) -> None:
    """Each method once, at least, in a way that has it read and write."""
    await history.open()
    await history.check()
    room = await history.create_room(make_room(), [member("ann", "owner"), member("bob")])
    uid = room.uid
    await history.commit(
        [draft(uid, "a", body="hello world"), draft(uid, "b"), draft(uid, "a"), editing(uid, 1, "new")]
    )
    await history.commit([deleting(uid, 2), draft(uid, "c", body="needle")])
    await history.commit([draft(uid, "c"), editing(uid, 1, "newer"), draft("nowhere", "a")])
    await history.message(uid, 1)
    await history.message_by_key(uid, "ann", "a")
    await history.page(uid, limit=1, max_bytes=AMPLE_BYTES)
    await history.page(uid, around=1, limit=3, max_bytes=AMPLE_BYTES)
    await history.changes(uid, since=0, limit=2, max_bytes=AMPLE_BYTES)
    await history.revisions(uid, after=0, upto=5)
    await history.head(uid)
    await history.heads([uid])
    await history.search(uids=[uid], public=True, phrases=["needle"], limit=2, cursor=None)
    await history.room(room.id)
    await history.update_room(uid, title="New", capacity=50)
    for mine in (True, False):
        await history.rooms(user="ann", query="new", mine=mine, everything=not mine, limit=5, cursor=None)
    await history.view(uid, "ann")
    await history.views(uid, ["ann", "bob"], members_most=10)
    await history.landing(uid, "ann", since=0, limit=5, max_bytes=AMPLE_BYTES, members_most=10)
    await history.standing(uid, "ann")
    await history.standings_of("ann")
    await history.arrival("ann")
    await history.members(uid, limit=1, cursor=None)
    await history.member_ids(uid, ["ann", "eve"])
    await history.invite(uid, Person("eve", "Eve"), at=5)
    await history.join(uid, Person("eve", "Eve"), at=6, need_invite=True)
    await history.set_role(uid, "bob", "moderator")
    await history.mark_read(uid, "bob", 1)
    await history.mute(uid, "bob", until=FOREVER)
    await history.ban(uid, "bob", until=FOREVER)
    await history.ban(uid, "bob", until=0)
    await history.leave(uid, "ann")
    await history.remember(Person("eve", "Evelyn"), at=7)
    await history.people(["eve"])
    await history.rooms_at([uid])
    await history.standings_at([(uid, "ann"), (uid, "eve")])
    await history.seqs_of(uid, "ann", below=9, limit=9)
    await call_the_ledger(history.ledger)
    await history.expire(before=None, keep=1)
    with suppress(HubbubError):
        await history.update_room("nowhere", title="x")
    await history.delete_room(uid)
    await history.close()


async def call_the_ledger(ledger: Ledger) -> None:
    """The same for its part. A ban that is older than the last runs into what is there."""
    records = await ledger.append([Entry("notice", key, 1, {"text": key}) for key in "aba"])
    assert records[0] == records[2]
    assert await ledger.read(after=0, limit=500)
    for n in (records[1], records[0]):
        await ledger.put_ban(Ban("eve", FOREVER, "spam", "ann", 1, n))
        await ledger.put_revocation(Revocation("eve", None, 5, "lost", "ann", 1, n))
    await ledger.sanctions(now=1)
    await ledger.audit_end(await ledger.audit_begin(at=1, actor="ann", action="x", target={}, reason=""), "ok")
    await ledger.audit(limit=1, cursor=None)
    await ledger.beat(Beat("n1", ledger.origin, 1))
    await ledger.beats(since=0)
    await ledger.stop_beating()
    await ledger.mend()
    assert await ledger.prune(before=FOREVER, keep=1)


def weakness(name: str, command: Mapping[str, Any]) -> str | None:
    """What is wrong with a command; None if it keeps the promise. In a transaction the first command has the read
    concern, and the commit the write concern.
    """
    if name in OTHERS:
        return None
    if command.get("$readPreference", {"mode": "primary"})["mode"] != "primary":
        return "it may go to a secondary"
    if "autocommit" in command and not name.startswith("commit"):
        return "reads a weaker state" if command.get("readConcern", SNAPSHOT) != SNAPSHOT else None
    if name in WRITES or name == "commitTransaction":
        return None if command.get("writeConcern") == {"w": "majority", "j": True} else "its concern is weaker"
    if name in READS:
        return None if command.get("readConcern") == {"level": "majority"} else "it reads what may be rolled back"
    return "nobody has said what it is"


class TestConcerns:
    @pytest.mark.parametrize("options", ["", CONTRARY], ids=["as it is", "against the address"])
    async def test_of_every_command_of_every_method(self, mongo_uri: str, options: str) -> None:
        commands = Commands()
        history = Recorded(MongoHistory(f"{mongo_uri}?{options}", listeners=[commands]))
        await call_everything(history)
        assert methods() - history.called == set()
        assert {"insert", "update", "find", "aggregate"} <= {name for name, _ in commands.sent}
        found = [(name, wrong, command) for name, command in commands.sent if (wrong := weakness(name, command))]
        assert found == []

    def test_a_weaker_command_would_be_found(self) -> None:
        strong = {"w": "majority", "j": True}
        majority = {"level": "majority"}
        assert weakness("insert", {"writeConcern": strong}) is None
        assert weakness("find", {"readConcern": majority}) is None
        for name, command in (
            ("insert", {}),
            ("insert", {"writeConcern": {"w": "majority"}}),
            ("update", {"writeConcern": {"w": 1, "j": True}}),
            ("find", {}),
            ("aggregate", {"readConcern": {"level": "local"}}),
            ("find", {"readConcern": majority, "$readPreference": {"mode": "nearest"}}),
            ("commitTransaction", {"autocommit": False}),
            ("dropDatabase", {"writeConcern": strong}),
        ):
            assert weakness(name, command), (name, command)
