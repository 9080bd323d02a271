"""Random batches against a model of a page: whatever is written, the history says what the model says.

The model keeps the state of each room after each revision. So recovery is proved at every cut: an old state and the
changes since then are the same as a fresh reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.base import Change, Edit, History, Insert, Message, Outcome, Written
from tests.support.history import AMPLE_BYTES, Op, all_messages, draft, new_room

Step = tuple[str, int, str, str]
"""What, the target's seq, sender or kind of edit, key or body."""

inserts = st.tuples(st.just("insert"), st.just(0), st.sampled_from(["ann", "bob"]), st.sampled_from("abcdef"))
changes = st.tuples(
    st.just("change"), st.integers(0, 14), st.sampled_from(["edit", "delete", "refuse"]), st.sampled_from(["x", "yé"])
)
steps = st.tuples(st.booleans(), st.one_of(inserts, changes))
batches = st.lists(st.lists(steps, min_size=1, max_size=8), min_size=1, max_size=6)


def edit_of(kind: str, body: str) -> Edit:
    def edit(message: Message) -> Message | None:
        if kind == "refuse" or (kind == "edit" and message.deleted):
            raise HubbubError("conflict")
        if kind == "delete":
            return None if message.deleted else replace(message, body="", deleted=True)
        return replace(message, body=body, edited_at=3)

    return edit


@dataclass
class Model:
    """One room: its messages, and what they were after each revision."""

    uid: str
    states: list[dict[int, Message]] = field(default_factory=lambda: [{}])
    claims: list[int] = field(default_factory=list)

    @property
    def head(self) -> int:
        return len(self.claims)

    @property
    def messages(self) -> Mapping[int, Message]:
        return self.states[-1]

    def apply(self, op: Op) -> Outcome:
        return self._insert(op.message) if isinstance(op, Insert) else self._change(op)

    def _insert(self, message: Message) -> Outcome:
        for there in self.messages.values():
            if (there.sender.id, there.key) == (message.sender.id, message.key):
                return Written(there, 0, duplicate=True)
        return self._claim(replace(message, seq=self.head + 1))

    def _change(self, change: Change) -> Outcome:
        if change.seq not in self.messages:
            return HubbubError("not_found")
        try:
            changed = change.edit(self.messages[change.seq])
        except HubbubError as error:
            return error
        return Written(self.messages[change.seq], 0) if changed is None else self._claim(changed)

    def _claim(self, message: Message) -> Outcome:
        message = replace(message, rev=self.head + 1)
        self.claims.append(message.seq)
        self.states.append({**self.messages, message.seq: message})
        return Written(message, message.rev)


def op_of(uid: str, step: Step) -> Op:
    what, seq, who, text = step
    return draft(uid, text, sender=who, body=text * 3) if what == "insert" else Change(uid, seq, edit_of(who, text))


def plain(outcome: Outcome) -> object:
    return outcome.code if isinstance(outcome, HubbubError) else outcome


async def recovered(history: History, uid: str, state: Mapping[int, Message], since: int) -> Mapping[int, Message]:
    """What a client that knew `state` at revision `since` knows after reading the changes, page by page."""
    known = dict(state)
    while True:
        page = await history.changes(uid, since=since, limit=3, max_bytes=AMPLE_BYTES)
        for message in page.messages:
            if message.seq not in known or message.rev > known[message.seq].rev:
                known[message.seq] = message
            since = message.rev
        if not page.more_after:
            return known


class TestAgainstTheModel:
    @given(batches)
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_random_batches(self, history: History, batches: list[list[tuple[bool, Step]]]) -> None:
        models = [Model((await new_room(history)).uid) for _ in range(2)]
        for batch in batches:
            ops = [(models[second], op_of(models[second].uid, step)) for second, step in batch]
            outcomes = await history.commit([op for _, op in ops])
            expected = [model.apply(op) for model, op in ops]
            assert [plain(outcome) for outcome in outcomes] == [plain(outcome) for outcome in expected]
        for model in models:
            await self.check(history, model)

    async def check(self, history: History, model: Model) -> None:
        assert await history.head(model.uid) == model.head
        fresh = await all_messages(history, model.uid, limit=4)
        assert fresh == model.messages
        feed = await history.revisions(model.uid, after=0, upto=model.head)
        assert feed == [(rev, model.messages[seq]) for rev, seq in enumerate(model.claims, 1)]
        for cut, state in enumerate(model.states):
            assert await recovered(history, model.uid, state, cut) == fresh
