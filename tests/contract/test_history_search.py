"""What every history promises: searching (`History.search`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History
from tests.support.history import deleting, draft, editing, eventually, new_room, say

Reopen = Callable[[], Awaitable[History]]


async def found(
    history: History, *phrases: str, uids: Sequence[str] = (), public: bool = True, limit: int = 100
) -> list[str]:
    """The bodies of the hits, newest first."""
    page = await history.search(uids=uids, public=public, phrases=phrases, limit=limit, cursor=None)
    assert len(page.room_ids) == len(page.messages)
    return [message.body for message in page.messages]


class TestPhrases:
    @pytest.mark.parametrize(
        ("phrases", "expected"),
        [
            (["hello"], ["Hello, big WORLD", "hello world"]),
            (["hello world"], ["hello world"]),
            (["world", "hello"], ["Hello, big WORLD", "hello world"]),
            (["world", "moon"], []),
            (["hell"], []),
            (["HÉLLÖ"], ["Hello, big WORLD", "hello world"]),
            (["strasse"], []),
            (["naive cafe"], ["naïve café"]),
            (["NAÏVE"], ["naïve café"]),
            (["42"], ["route 42: ok?"]),
            (["42 ok"], ["route 42: ok?"]),
            (["мир"], ["Привет, Мир"]),
        ],
    )
    async def test_all_phrases_must_be_there(self, history: History, phrases: list[str], expected: list[str]) -> None:
        room = await new_room(history)
        bodies = ["hello world", "Hello, big WORLD", "naïve café", "route 42: ok?", "Привет, Мир", "last one"]
        await say(history, room.uid, *bodies)
        await eventually(lambda: found(history, "last one"), ["last one"])
        assert await found(history, *phrases) == expected

    async def test_what_has_no_words_is_nowhere(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "hello ... world", "")
        await eventually(lambda: found(history, "hello"), ["hello ... world"])
        for phrases in ([], [""], ["..."], ["hello", "..."], ["\0"], [" "]):
            assert await found(history, *phrases) == [], phrases

    @pytest.mark.parametrize(
        "phrase",
        ['a" OR "b', '" OR scope : pub OR "', "hello*", "NEAR(a b)", "body:a", "-a", "^a", "(", "{", "'", '"""'],
    )
    async def test_nothing_in_a_phrase_is_syntax(self, history: History, phrase: str) -> None:
        room = await new_room(history)
        await say(history, room.uid, "a", "b", "helloween", "near miss")
        await eventually(lambda: found(history, "near"), ["near miss"])
        assert set(await found(history, phrase)) <= {"a"}

    @given(st.lists(st.text(), max_size=4))
    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_any_text_can_be_searched_for(self, history: History, phrases: list[str]) -> None:
        assert await found(history, *phrases) == []


class TestFreshness:
    async def test_an_edited_message_is_found_as_it_stands(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "old words")
        await eventually(lambda: found(history, "words"), ["old words"])
        await history.commit([editing(room.uid, 1, "new words")])
        assert await found(history, "old") == []
        await eventually(lambda: found(history, "new"), ["new words"])
        assert await found(history, "words") == ["new words"]

    async def test_a_deleted_message_is_gone_at_once(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "hello")
        await eventually(lambda: found(history, "hello"), ["hello"])
        await history.commit([deleting(room.uid, 1)])
        assert await found(history, "hello") == []

    async def test_a_reaction_keeps_a_message_findable(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "hello")
        await eventually(lambda: found(history, "hello"), ["hello"])
        await history.commit([Change(room.uid, 1, lambda message: replace(message, reactions={"👍": ("bob",)}))])
        page = await history.search(uids=[], public=True, phrases=["hello"], limit=1, cursor=None)
        assert [message.reactions for message in page.messages] == [{"👍": ("bob",)}]

    async def test_a_deleted_room_is_gone_at_once(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "hello")
        await eventually(lambda: found(history, "hello"), ["hello"])
        await history.delete_room(room.uid)
        assert await found(history, "hello", uids=[room.uid]) == []

    async def test_what_was_not_indexed_before_a_restart_is_after_it(self, history: History, reopen: Reopen) -> None:
        room = await new_room(history)
        for number in range(20):
            await say(history, room.uid, *[f"word{number}"] * 50)
        again = await reopen()
        await eventually(lambda: found(again, "word19"), ["word19"] * 50)
        assert await found(again, "word0") == ["word0"] * 50


class TestWhoMayFind:
    async def test_private_rooms_do_not_leak(self, history: History) -> None:
        public = await new_room(history)
        mine, other = await new_room(history, kind="private"), await new_room(history, kind="private")
        direct = await new_room(history, kind="direct")
        for room in (public, mine, other, direct):
            await say(history, room.uid, f"hello {room.id}")
        await eventually(lambda: found(history, "hello", uids=[direct.uid], public=False), [f"hello {direct.id}"])
        assert await found(history, "hello") == [f"hello {public.id}"]
        assert await found(history, "hello", uids=[mine.uid]) == [f"hello {mine.id}", f"hello {public.id}"]
        assert await found(history, "hello", uids=[mine.uid], public=False) == [f"hello {mine.id}"]
        assert await found(history, "hello", uids=["nowhere"], public=False) == []
        assert await found(history, "hello", public=False) == []

    async def test_what_a_room_is_marked_with_is_no_word(self, history: History) -> None:
        room = await new_room(history, kind="private")
        await say(history, room.uid, "pub r1", "r2")
        await eventually(lambda: found(history, "pub", uids=[room.uid]), ["pub r1"])
        assert await found(history, "pub") == []
        assert await found(history, "r1") == []


class TestPaging:
    async def test_pages_go_from_the_newest_to_the_oldest_over_all_rooms(self, history: History) -> None:
        rooms = [await new_room(history) for _ in range(3)]
        expected = []
        for number in range(30):
            at = 1_800_000_000_000 + number // 4  # Several in the same millisecond.
            await history.commit([draft(rooms[number % 3].uid, f"k{number}", body=f"word n{number}", at=at)])
            expected.append((at, f"word n{number}", rooms[number % 3].id))
        await eventually(lambda: found(history, "word", "n29"), ["word n29"])
        seen: list[tuple[int, str, str]] = []
        cursor: str | None = None
        for _ in range(5):
            page = await history.search(uids=[], public=True, phrases=["word"], limit=7, cursor=cursor)
            hits = zip(page.messages, page.room_ids, strict=True)
            seen += [(message.created_at, message.body, room) for message, room in hits]
            cursor = page.cursor
        assert cursor is None
        assert [at for at, _, _ in seen] == sorted((at for at, _, _ in expected), reverse=True)
        assert sorted(seen) == sorted(expected)

    async def test_the_last_page_has_no_cursor(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["word"] * 4)
        await eventually(lambda: found(history, "word"), ["word"] * 4)
        page = await history.search(uids=[], public=True, phrases=["word"], limit=4, cursor=None)
        assert (len(page.messages), page.cursor) == (4, None)

    async def test_stale_hits_do_not_shorten_a_page(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["word"] * 10)
        await eventually(lambda: found(history, "word"), ["word"] * 10)
        await history.commit([deleting(room.uid, seq) for seq in range(6, 11)])
        page = await history.search(uids=[], public=True, phrases=["word"], limit=5, cursor=None)
        assert [message.seq for message in page.messages] == [5, 4, 3, 2, 1]

    @pytest.mark.parametrize(
        "cursor", ["", "x", "WyJzZWFyY2giLCJhIl0", "WyJyb29tcyIsIngiXQ", "WyJzZWFyY2giLDFd=", "[]"]
    )
    async def test_forged_cursors_are_refused(self, history: History, cursor: str) -> None:
        with pytest.raises(HubbubError) as caught:
            await history.search(uids=[], public=True, phrases=["a"], limit=1, cursor=cursor)
        assert caught.value.code == "bad_request"

    async def test_a_cursor_of_any_number_is_harmless(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "word", "word")
        await eventually(lambda: found(history, "word"), ["word"] * 2)
        real = (await history.search(uids=[], public=True, phrases=["word"], limit=1, cursor=None)).cursor
        assert real is not None
        values = json.loads(base64.urlsafe_b64decode(real + "=" * (-len(real) % 4)))
        for number in (0, 1, 2**53, 2**63 - 1):
            forged = [number if isinstance(value, int) else value for value in values]
            text = json.dumps(forged, separators=(",", ":"), ensure_ascii=False)
            cursor = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
            page = await history.search(uids=[], public=True, phrases=["a"], limit=1, cursor=cursor)
            assert list(page.messages) == []
