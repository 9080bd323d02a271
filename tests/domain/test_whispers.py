"""Typing and read marks: at once, then once in a window, and not at all in large rooms."""

from __future__ import annotations

import asyncio
from typing import Any

from hubbub.domain.whispers import WINDOW_S, Whispers
from hubbub.transport.fanout import Fanout
from tests.support.domain import PromptBatch, RecordingOutlet
from tests.support.virtualtime import run_in_virtual_time


class Room:
    """A room with these subscribers, who know each other as `ada`, `bob` and so on."""

    def __init__(self, count: int, *, most: int = 10) -> None:
        self.fanout = Fanout("/chat", batch=PromptBatch())
        self.whispers = Whispers(self.fanout, most=most)
        self.outlets = [RecordingOutlet() for _ in range(count)]
        for outlet in self.outlets:
            self.fanout.subscribe(outlet, "tea")

    def say(self, number: int, what: Any, event: str = "typing") -> bool:
        document = {"user": number, "on": what}
        return self.whispers.say("tea", event, f"user{number}", document, skip=self.outlets[number])

    def heard(self, number: int, event: str = "typing") -> list[Any]:
        return [each["on"] for each in self.outlets[number].of(event)]


class TestWindows:
    def test_the_first_word_is_told_at_once_and_the_newest_when_the_window_ends(self) -> None:
        async def talk() -> None:
            room = Room(2)
            for what in range(5):
                room.say(0, what)
            assert (room.heard(0), room.heard(1)) == ([], [0])
            await asyncio.sleep(WINDOW_S)
            await asyncio.sleep(0)
            assert room.heard(1) == [0, 4]
            room.say(0, 5)
            assert room.heard(1) == [0, 4]
            await asyncio.sleep(3 * WINDOW_S)
            room.say(0, 6)
            assert room.heard(1) == [0, 4, 5, 6]
            room.whispers.stop()

        run_in_virtual_time(talk())

    def test_a_minute_of_keys_is_two_words_a_second(self) -> None:
        async def talk() -> None:
            room = Room(2)
            for what in range(1200):
                room.say(0, what)
                await asyncio.sleep(0.05)
            assert len(room.heard(1)) <= 60 / WINDOW_S + 2
            room.whispers.flush()
            assert room.heard(1)[-1] == 1199
            room.whispers.stop()

        run_in_virtual_time(talk())

    def test_users_and_events_have_windows_of_their_own(self) -> None:
        async def talk() -> None:
            room = Room(3)
            room.say(0, "a")
            room.say(1, "b")
            room.say(0, 7, "read")
            assert (room.heard(2), room.heard(2, "read")) == (["a", "b"], [7])
            room.whispers.stop()

        run_in_virtual_time(talk())

    def test_nothing_is_kept_when_nobody_says_anything(self) -> None:
        async def talk() -> None:
            room = Room(2)
            room.say(0, 1)
            room.say(0, 2)
            await asyncio.sleep(3 * WINDOW_S)
            assert (room.whispers._newest, len(room.whispers._windows), room.whispers._timer) == ({}, 0, None)

        run_in_virtual_time(talk())


class TestSizes:
    def test_a_room_that_is_too_large_is_silent(self) -> None:
        async def talk() -> None:
            room = Room(3, most=2)
            assert not room.say(0, 1)
            room.fanout.unsubscribe(room.outlets[2], "tea")
            assert room.say(0, 2)
            assert room.say(0, 3)
            room.fanout.subscribe(room.outlets[2], "tea")
            room.whispers.flush()
            assert (room.heard(1), room.heard(2)) == ([2], [])
            room.whispers.stop()

        run_in_virtual_time(talk())
