"""What a client was told about a room, to be compared with what the store has in the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History, Insert, Message, Outcome, Written
from tests.support.history import AMPLE_BYTES, Op, all_messages, deleting, draft, editing

__all__ = ["Ledger", "insist", "random_op", "reacting"]

EMOJI: Final = ("👍", "🎉", "🙈")
SLICE: Final = 500
"""How many revisions are read at once, about as a feed does that fills a hole."""

TRIES_MOST: Final = 100
EXPECTED_ERRORS: Final = frozenset({"not_found", "conflict"})


def reacting(uid: str, seq: int, user: str, emoji: str) -> Change:
    """A user gives a reaction, unless they have, or the message is deleted."""

    def react(message: Message) -> Message | None:
        users = message.reactions.get(emoji, ())
        if message.deleted or user in users:
            return None
        return replace(message, reactions={**message.reactions, emoji: (*users, user)})

    return Change(uid, seq, react)


def random_op(uid: str, chance: random.Random, user: str, head: int) -> Op:
    """A send, edit, delete or reaction by a user. Of eight sends one has a key that may have been there."""
    what = chance.random()
    if what < 0.5 or head == 0:
        key = f"r{chance.randrange(20)}" if chance.random() < 0.12 else f"k{chance.getrandbits(64):x}"
        return draft(uid, key, sender=user, body=f"{user} {what}")
    seq = chance.randint(1, head)
    if what < 0.75:
        return editing(uid, seq, f"edited by {user} {what}")
    if what < 0.8:
        return deleting(uid, seq)
    return reacting(uid, seq, user, chance.choice(EMOJI))


@dataclass
class Ledger:
    """The acknowledged outcomes of one room, whoever got them."""

    uid: str
    claims: dict[int, int] = field(default_factory=dict)
    """Which message an acknowledged revision belongs to, by the revision."""
    keys: dict[tuple[str, str], int] = field(default_factory=dict)
    """Which message an acknowledged key belongs to, by sender and key."""
    newest: dict[int, int] = field(default_factory=dict)
    """The highest revision at which a message was shown, by its seq."""
    unavailable: int = 0

    def note(self, message: Message, claimed: int, *, was_sent: bool) -> None:
        """An outcome that was acknowledged. No two may contradict each other."""
        if claimed:
            assert self.claims.setdefault(claimed, message.seq) == message.seq, f"revision {claimed} was claimed twice"
        if was_sent:
            key = (message.sender.id, message.key)
            assert self.keys.setdefault(key, message.seq) == message.seq, f"the key {key} has two messages"
        self.newest[message.seq] = max(message.rev, self.newest.get(message.seq, 0))

    def take(self, ops: Sequence[Op], outcomes: Sequence[Outcome]) -> list[Op]:
        """The outcomes of a batch; returns what has to be sent again."""
        again: list[Op] = []
        for op, outcome in zip(ops, outcomes, strict=True):
            if isinstance(outcome, Written):
                self.note(outcome.message, outcome.claimed, was_sent=isinstance(op, Insert))
            elif outcome.code == "unavailable":
                assert outcome.retry_after is not None
                assert outcome.retry_after > 0
                self.unavailable += 1
                again.append(op)
            else:
                assert outcome.code in EXPECTED_ERRORS, outcome
                assert isinstance(op, Change), outcome
        return again

    async def check(self, history: History) -> int:
        """The store has every revision once and none left out, every key once, and all that was acknowledged. Returns
        the head.
        """
        head = await history.head(self.uid)
        revisions = [
            each
            for after in range(0, head + SLICE, SLICE)
            for each in await history.revisions(self.uid, after=after, upto=after + SLICE)
        ]
        assert [rev for rev, _ in revisions] == list(range(1, head + 1))
        stored = dict(revisions)
        messages = await all_messages(history, self.uid)
        assert (await history.page(self.uid, limit=1, max_bytes=AMPLE_BYTES)).head == head
        assert {message.seq for message in stored.values()} == set(messages)
        assert all(stored[seq].seq == seq for seq in messages)
        of_key = {(message.sender.id, message.key): seq for seq, message in messages.items()}
        assert len(of_key) == len(messages)
        assert {rev: stored[rev].seq for rev in self.claims} == self.claims
        assert {key: of_key.get(key) for key in self.keys} == self.keys
        assert all(messages[seq].rev >= rev for seq, rev in self.newest.items())
        assert await changed(history, self.uid) == messages
        return head


async def changed(history: History, uid: str) -> dict[int, Message]:
    """The room as one who knew nothing of it learns it from its changes."""
    messages: dict[int, Message] = {}
    since = 0
    while True:
        page = await history.changes(uid, since=since, limit=SLICE, max_bytes=AMPLE_BYTES)
        messages |= {message.seq: message for message in page.messages}
        if not page.more_after:
            return messages
        since = page.messages[-1].rev


async def insist(
    history: History, ops: Sequence[Op], ledger: Ledger, *, before_each: Callable[[], None] = lambda: None
) -> None:
    """Commit a batch as clients do: what was unavailable is sent again, with its key, until it has an outcome."""
    waiting: Sequence[Op] = ops
    for _ in range(TRIES_MOST):
        before_each()
        try:
            outcomes = await history.commit(waiting)
        except HubbubError as error:
            outcomes = [error] * len(waiting)
        waiting = ledger.take(waiting, outcomes)
        if not waiting:
            return
    raise AssertionError(f"{len(waiting)} writes had no outcome after {TRIES_MOST} tries")
