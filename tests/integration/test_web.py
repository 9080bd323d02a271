"""The page in a real browser, against the real service: what two people at it see."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ViewportSize, expect

from hubbub.http.static import WEB_ROOT
from tests.support.browser import Tab, open_tab, running_browser
from tests.support.chat import chat_client
from tests.support.service import RunningService, running_service, start_service

# One browser for the file, so one loop; each test has a service and a browser context of its own.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE: Final = ViewportSize(width=390, height=780)

SOONER_THAN_FORGOTTEN_MS: Final = 5_000
"""A typist of whom nothing is heard is forgotten after seven seconds; one who stops is said to have stopped."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    assert (WEB_ROOT / "index.html").is_file(), "The page is not built: run `make web`."
    async with running_service(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    made = await browser.new_context()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(context: BrowserContext, service: RunningService) -> AsyncIterator[Tab]:
    """Alice, in a room that she has made."""
    async with content_tab(context) as tab:
        await tab.come_in(service.url, "Alice")
        await tab.make_room("Lobby")
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def bob(context: BrowserContext, service: RunningService, alice: Tab) -> AsyncIterator[Tab]:
    """Bob, in another tab, in Alice's room."""
    async with content_tab(context) as tab:
        await tab.come_in(service.url, "Bob")
        await tab.join_room("Lobby")
        yield tab


@contextlib.asynccontextmanager
async def content_tab(context: BrowserContext) -> AsyncIterator[Tab]:
    """A tab in which the browser finds nothing to complain of."""
    tab = await open_tab(context)
    yield tab
    assert tab.complaints == []


async def fill_room(service: RunningService, title: str, count: int) -> list[str]:
    """Have a bot write to a new room; returns what it wrote."""
    bodies = [f"line {number}." for number in range(count)]
    async with chat_client(service.url, service.token(user="bot", name="Bot")) as bot:
        await bot.ok("room:create", {"id": title.lower(), "title": title, "kind": "public"})
        for number, body in enumerate(bodies):
            await bot.ok("message:send", {"room": title.lower(), "key": f"k{number}", "body": body})
    return bodies


async def small_buttons(tab: Tab) -> list[str]:
    """The buttons on the screen that are less than forty pixels wide or high, with their sizes."""
    buttons = await tab.page.get_by_role("button").all()
    boxes = [
        (await button.get_attribute("aria-label") or await button.inner_text(), await button.bounding_box())
        for button in buttons
    ]
    return [f"{name}: {box}" for name, box in boxes if box is not None and min(box["width"], box["height"]) < 40]


class TestTalk:
    async def test_two_tabs_see_each_others_messages_in_one_order(self, alice: Tab, bob: Tab) -> None:
        """Both type at the same time; what each has sent is in the order of typing, and both see the same."""
        await asyncio.gather(*(self.say_all(tab, who) for tab, who in ((alice, "a"), (bob, "b"))))
        await expect(bob.log.locator("li.message")).to_have_count(12)
        await alice.wait_bodies(*await bob.bodies())
        for who in ("a", "b"):
            mine = [body for body in await alice.bodies() if body.startswith(who)]
            assert mine == [f"{who}{number}" for number in range(6)]

    async def test_a_message_is_text_and_never_markup(self, alice: Tab, bob: Tab) -> None:
        """What looks like HTML is shown as it was typed, line breaks included."""
        text = '<img src=x onerror="document.title=1"> & <b>bold</b>'
        await alice.composer.fill(text)
        await alice.composer.press("Shift+Enter")
        await alice.composer.press_sequentially("second line")
        await alice.composer.press("Enter")
        await expect(bob.message(text)).to_contain_text("second line")
        assert await bob.bodies() == [f"{text}\nsecond line"]
        assert await bob.log.locator("img, b:text('bold')").count() == 0

    async def test_who_types_is_shown_while_they_type(self, alice: Tab, bob: Tab) -> None:
        """It goes when the message arrives, and when the text is taken back."""
        await alice.composer.press_sequentially("hel")
        await expect(bob.page.get_by_text("Alice is typing…")).to_be_visible()
        await alice.composer.fill("")
        await expect(bob.page.get_by_text("Alice is typing…")).to_be_hidden(timeout=SOONER_THAN_FORGOTTEN_MS)
        await alice.composer.press_sequentially("hello")
        await expect(bob.page.get_by_text("Alice is typing…")).to_be_visible()
        await alice.composer.press("Enter")
        await bob.wait_bodies("hello")
        await expect(bob.page.get_by_text("Alice is typing…")).to_be_hidden()

    async def test_a_message_that_is_read_says_by_whom(self, alice: Tab, bob: Tab) -> None:
        """The other tab has the message on its screen."""
        await alice.say("hello")
        await bob.page.bring_to_front()
        await expect(alice.page.get_by_text("Seen by Bob")).to_be_visible()

    @staticmethod
    async def say_all(tab: Tab, who: str) -> None:
        for number in range(6):
            await tab.say(f"{who}{number}")


class TestChanges:
    async def test_an_edit_a_reaction_and_a_deletion_are_seen_by_both(self, alice: Tab, bob: Tab) -> None:
        """Each change replaces the message where it stands."""
        await alice.say("frist")
        await alice.say("second")
        await bob.wait_bodies("frist", "second")
        await alice.act("frist", "Edit")
        await alice.page.get_by_role("textbox", name="Edit your message").fill("first")
        await alice.page.get_by_role("textbox", name="Edit your message").press("Enter")
        await bob.wait_bodies("first (edited)", "second")
        await bob.act("first", "React")
        await bob.press("👍")
        await expect(alice.message("first").get_by_role("button", name="👍 1")).to_be_visible()
        await alice.press("👍 1", within=alice.message("first"))
        await expect(bob.message("first").get_by_role("button", name="👍 2")).to_be_visible()
        await alice.act("second", "Delete")
        await alice.press("Really delete?", within=alice.message("second"))
        await bob.wait_bodies("first (edited)", "This message was deleted.")

    async def test_only_ones_own_messages_can_be_edited(self, alice: Tab, bob: Tab) -> None:
        """Bob is no moderator, so he cannot delete what Alice wrote either."""
        await alice.say("mine")
        await bob.page.bring_to_front()
        await bob.message("mine").hover()
        await expect(bob.message("mine").get_by_role("button", name="Reply")).to_be_visible()
        for action in ("Edit", "Delete"):
            await expect(bob.message("mine").get_by_role("button", name=action)).to_have_count(0)

    async def test_a_reply_quotes_what_it_answers(self, alice: Tab, bob: Tab) -> None:
        """The quotation follows a later edit, because it is the message itself."""
        await alice.say("question")
        await bob.act("question", "Reply")
        await bob.say("answer")
        await expect(alice.message("answer").get_by_role("button", name="Alice question")).to_be_visible()
        await alice.composer.press("ArrowUp")
        await alice.page.get_by_role("textbox", name="Edit your message").fill("riddle")
        await alice.page.get_by_role("textbox", name="Edit your message").press("Enter")
        await expect(bob.message("answer").get_by_role("button", name="Alice riddle")).to_be_visible()


class TestHistory:
    async def test_a_reload_keeps_the_name_the_room_and_its_messages(self, alice: Tab, bob: Tab) -> None:
        """The identity belongs to the tab, so the other tab is still somebody else."""
        await alice.say("one")
        await bob.say("two")
        await alice.wait_bodies("one", "two")
        await alice.page.reload()
        await alice.wait_joined("Lobby")
        await alice.wait_bodies("one", "two")
        await alice.say("three")
        await bob.wait_bodies("one", "two", "three")
        await expect(bob.message("three").or_(bob.message("one")).first).to_contain_text("Alice")

    async def test_scrolling_up_reads_older_messages_to_the_beginning(
        self, context: BrowserContext, service: RunningService
    ) -> None:
        """Pages join without a hole or a repeat, and leave the reader where they are."""
        bodies = await fill_room(service, "Annals", 170)
        async with content_tab(context) as tab:
            await tab.come_in(service.url, "Reader")
            await tab.join_room("Annals")
            await expect(tab.message("line 169.")).to_be_in_viewport()
            oldest = (await tab.bodies())[0]
            assert oldest != bodies[0]
            await tab.log.evaluate("log => { log.scrollTop = 0 }")
            await expect(tab.log.locator("li.message .body").first).not_to_have_text(oldest)
            await expect(tab.message(oldest)).to_be_in_viewport()
            beginning = tab.page.get_by_text("The room begins here.")
            async with asyncio.timeout(30):
                while not await beginning.is_visible():
                    await tab.log.hover()
                    await tab.page.mouse.wheel(0, -2_000)
            assert await tab.bodies() == bodies
            await tab.press("To the newest")
            await expect(tab.message("line 169.")).to_be_in_viewport()

    async def test_a_room_out_of_sight_counts_what_is_unread(self, alice: Tab, bob: Tab) -> None:
        """The count goes when the room is opened, and a line shows where the new messages begin."""
        await alice.say("seen")
        await bob.wait_bodies("seen")
        await alice.make_room("Elsewhere")
        await bob.say("one")
        await bob.say("two")
        entry = alice.page.get_by_role("navigation").get_by_role("button", name="Lobby")
        await expect(entry).to_contain_text("2 unread")
        await alice.open_room("Lobby")
        await alice.wait_bodies("seen", "one", "two")
        await expect(entry).not_to_contain_text("unread")
        await expect(alice.log.get_by_text("New", exact=True)).to_be_visible()


class TestConnection:
    async def test_messages_typed_while_the_service_is_away_arrive_once(
        self, context: BrowserContext, service: RunningService, tmp_path: Path
    ) -> None:
        """The service is killed and started again on the same port; the state is shown all the time."""
        alice, bob = await open_tab(context), await open_tab(context)
        await alice.come_in(service.url, "Alice")
        await alice.make_room("Lobby")
        await bob.come_in(service.url, "Bob")
        await bob.join_room("Lobby")
        await alice.say("before")
        await bob.wait_bodies("before")
        await service.kill()
        for tab in (alice, bob):
            await tab.wait_state("Reconnecting…")
        await alice.say("meanwhile 1")
        await alice.say("meanwhile 2")
        await expect(alice.log.locator("li.pending")).to_have_count(2)
        again = await start_service(tmp_path, port=service.port)
        try:
            for tab in (alice, bob):
                await tab.wait_state("Online")
                await tab.wait_bodies("before", "meanwhile 1", "meanwhile 2")
            await bob.say("after")
            await alice.wait_bodies("before", "meanwhile 1", "meanwhile 2", "after")
        finally:
            await again.kill()

    async def test_what_a_reload_interrupts_is_sent_after_it(
        self, context: BrowserContext, service: RunningService
    ) -> None:
        """The outbox belongs to the tab, as the name does."""
        tab = await open_tab(context)
        await tab.come_in(service.url, "Alice")
        await tab.make_room("Lobby")
        await context.set_offline(True)
        await tab.wait_state("Offline")
        await tab.say("kept")
        await expect(tab.log.locator("li.pending")).to_have_count(1)
        await context.set_offline(False)
        await tab.page.reload()
        await tab.wait_bodies("kept")

    async def test_a_token_in_the_address_is_used_and_taken_out_of_it(
        self, context: BrowserContext, service: RunningService
    ) -> None:
        """For developers; the address bar is no place for a secret."""
        async with content_tab(context) as tab:
            await tab.page.goto(f"{service.url}/#token={service.token(user='dev', name='Devi')}")
            await tab.wait_state("Online")
            await expect(tab.page.get_by_text("Devi")).to_be_visible()
            assert "token" not in tab.page.url

    async def test_a_token_that_is_refused_leads_back_to_the_name_with_the_reason(
        self, context: BrowserContext, service: RunningService
    ) -> None:
        """Trying again would not help, so the page does not."""
        tab = await open_tab(context)
        await tab.page.goto(f"{service.url}/#token={service.token(user='dev', ttl_s=-3600)}")
        await expect(tab.page.get_by_text("has ended")).to_be_visible()
        await tab.page.get_by_label("Your name").fill("Devi")
        await tab.page.get_by_label("Your name").press("Enter")
        await tab.wait_state("Online")
        # The stock client hangs up while its next poll is on the way, so the poll may find no session any more.
        assert [complaint for complaint in tab.complaints if "status of 400" not in complaint] == []


class TestLongTexts:
    async def test_what_is_too_long_is_not_sent_and_holds_up_nothing(self, alice: Tab, bob: Tab) -> None:
        """It is said so at once, and still after a reload; the connection stays as it is."""
        await alice.say("x" * 200_000)
        await alice.say("after")
        await expect(bob.log.locator("li.message .body")).to_have_text(["after"])
        refused = alice.log.locator("li.pending[data-status=failed]")
        await expect(refused).to_contain_text("Not sent. That is too long.")
        await alice.wait_state("Online")
        await alice.page.reload()
        await alice.wait_joined("Lobby")
        await expect(refused).to_contain_text("Not sent. That is too long.")
        await alice.press("Try again")
        await alice.say("later")
        await expect(bob.log.locator("li.message .body")).to_have_text(["after", "later"])
        await alice.wait_state("Online")
        await alice.press("Discard")
        await alice.wait_bodies("after", "later")

    async def test_what_is_too_long_is_folded_until_it_is_asked_for(self, alice: Tab) -> None:
        """Its first lines tell which one it was; the buttons below it stay on the screen."""
        await alice.say("line\n" * 2_000)
        refused = alice.log.locator("li.pending[data-status=failed]")
        await expect(refused.locator(".body")).to_have_text("line\n" * 4 + "line…")
        await expect(refused.get_by_role("button", name="Discard")).to_be_in_viewport()
        await alice.press("Show all", within=refused)
        await expect(refused.locator(".body")).not_to_contain_text("…")
        await expect(refused.get_by_role("button", name="Show less")).to_be_in_viewport()

    async def test_an_edit_that_is_too_long_stays_in_the_field(self, alice: Tab) -> None:
        """It can be made shorter there; the connection stays as it is."""
        await alice.say("short")
        await alice.wait_bodies("short")
        await alice.act("short", "Edit")
        field = alice.page.get_by_role("textbox", name="Edit your message")
        await field.fill("x" * 200_000)
        await field.press("Enter")
        await expect(alice.page.get_by_text("That is too long.")).to_be_visible()
        await alice.wait_state("Online")
        await field.fill("shorter")
        await field.press("Enter")
        await alice.wait_bodies("shorter (edited)")


class TestNames:
    async def test_a_name_of_spaces_is_answered_with_what_is_missing(
        self, context: BrowserContext, service: RunningService
    ) -> None:
        """Of a visitor, and of a room."""
        async with content_tab(context) as tab:
            needed = tab.page.get_by_role("alert").filter(has_text="A name is needed")
            await tab.page.goto(service.url)
            await tab.page.get_by_label("Your name").fill("   ")
            await tab.press("Come in")
            await expect(needed).to_be_visible()
            await tab.page.get_by_label("Your name").fill("Kim")
            await tab.press("Come in")
            await tab.wait_state("Online")
            await tab.press("New room")
            await tab.page.get_by_label("Name of the room").fill("   ")
            await tab.press("Make the room")
            await expect(needed).to_be_visible()


class TestDevices:
    async def test_everything_can_be_done_from_the_keyboard(
        self, context: BrowserContext, service: RunningService
    ) -> None:
        """From the name to a reaction, without a pointer."""
        async with content_tab(context) as tab:
            keyboard = tab.page.keyboard
            await tab.page.goto(service.url)
            await expect(tab.page.get_by_label("Your name")).to_be_focused()
            await keyboard.type("Kim")
            await keyboard.press("Enter")
            await tab.wait_state("Online")
            await tab.page.get_by_role("button", name="New room").press("Enter")
            await keyboard.type("Keys")
            await keyboard.press("Enter")
            await tab.wait_joined("Keys")
            await expect(tab.composer).to_be_focused()
            await keyboard.type("hello")
            await keyboard.press("Enter")
            await tab.wait_bodies("hello")
            await keyboard.press("Shift+Tab")
            await expect(tab.log).to_be_focused()
            await keyboard.press("ArrowUp")
            await keyboard.press("Tab")
            await expect(tab.page.get_by_role("button", name="React")).to_be_focused()
            await keyboard.press("Enter")
            await keyboard.press("Enter")
            await expect(tab.message("hello").get_by_role("button", name="👍 1")).to_be_visible()
            await keyboard.press("Control+k")
            await expect(tab.page.get_by_label("Find a room")).to_be_focused()

    async def test_a_phone_shows_the_rooms_or_the_room(self, context: BrowserContext, service: RunningService) -> None:
        """Nothing is wider than the screen, and the way back leads to the list."""
        async with content_tab(context) as tab:
            await tab.page.set_viewport_size(PHONE)
            await tab.come_in(service.url, "Kim")
            await tab.make_room("Pocket")
            await tab.say("a long word: " + "x" * 300)
            await expect(tab.page.get_by_role("navigation")).to_be_hidden()
            await expect(tab.log.locator("li.message")).to_have_count(1)
            assert await tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            assert await tab.log.evaluate("log => log.scrollWidth <= log.clientWidth")
            await tab.press("All rooms")
            await expect(tab.page.get_by_role("navigation")).to_be_visible()
            await expect(tab.log).to_have_count(0)
            await tab.page.go_back()
            await expect(tab.log).to_be_visible()

    async def test_what_a_finger_presses_is_at_least_forty_pixels_wide_and_high(
        self, browser: Browser, service: RunningService
    ) -> None:
        """On a phone, in the list of rooms and in a room, with its members and without."""
        context = await browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
        try:
            async with content_tab(context) as tab:
                await tab.come_in(service.url, "Kim")
                assert await small_buttons(tab) == []
                await tab.make_room("Pocket")
                await tab.say("hello")
                await tab.wait_bodies("hello")
                await tab.message("hello").tap()
                for action in ("All rooms", "React", "Reply", "Edit", "Delete", "1 member"):
                    await expect(tab.page.get_by_role("button", name=action)).to_be_visible()
                assert await small_buttons(tab) == []
                await tab.press("React")
                assert await small_buttons(tab) == []
                await tab.press("👍")
                await expect(tab.page.get_by_role("button", name="👍 1")).to_be_visible()
                await tab.press("1 member")
                assert await small_buttons(tab) == []
        finally:
            await context.close()
