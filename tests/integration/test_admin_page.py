"""The administrators' page in a real browser, against the real service."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, ViewportSize, expect

from hubbub.http.static import WEB_ROOT
from tests.support.browser import Tab, open_tab, running_browser
from tests.support.chat import ChatClient, RefusedError, chat_client
from tests.support.service import RunningService, running_service, start_service

# One browser for the file, so one loop; each test has a service and a browser context of its own.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

NARROW: Final = ViewportSize(width=360, height=740)
SECTIONS: Final = {
    "Overview": "Overview",
    "Connections": "Connections",
    "Rooms": "Rooms",
    "Bans": "Bans",
    "Tokens": "Revoke tokens",
    "Notices": "Send a notice",
    "Audit log": "Audit log",
}
"""What the links say, and the headings behind them."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    assert (WEB_ROOT / "admin" / "index.html").is_file(), "The page is not built: run `make web`."
    async with running_service(tmp_path, limits="off", node="n1") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    made = await browser.new_context()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(context: BrowserContext, service: RunningService) -> AsyncIterator[Tab]:
    """An administrator on the page. At the end the browser has found nothing to complain of."""
    tab = await open_tab(context)
    await come_in(tab, service, service.token(user="ada", name="Ada", roles=["admin"]))
    await tab.wait_state("Online")
    yield tab
    assert tab.complaints == []


@pytest_asyncio.fixture(loop_scope="module")
async def bob(service: RunningService) -> AsyncIterator[ChatClient]:
    """Bob in /chat, in his room "den"."""
    async with chat_client(service.url, service.token(user="bob", name="Bob")) as client:
        await client.ok("room:create", {"id": "den", "title": "Den", "kind": "public"})
        await client.ok("room:join", {"room": "den"})
        yield client


async def come_in(tab: Tab, service: RunningService, token: str) -> None:
    await tab.page.goto(f"{service.url}/admin")
    await tab.page.get_by_label("Token").fill(token)
    await tab.press("Come in")


async def go(tab: Tab, section: str) -> None:
    await tab.page.get_by_role("link", name=section, exact=True).click()
    await expect(tab.page.get_by_role("heading", name=SECTIONS[section], exact=True)).to_be_focused()


async def fill(tab: Tab, **fields: str) -> None:
    """Fill fields by their labels, with spaces for the underscores."""
    for label, value in fields.items():
        await tab.page.get_by_label(label.replace("_", " "), exact=True).fill(value)


async def wait_said(tab: Tab, text: str) -> None:
    """Until the page says that this was done, where it is read aloud."""
    await expect(tab.page.get_by_role("status").filter(has_text=text)).to_be_visible()


def row(tab: Tab, text: str) -> Locator:
    """The row of a list that holds this text."""
    return tab.page.get_by_role("row").filter(has_text=text)


def dialog(tab: Tab) -> Locator:
    return tab.page.get_by_role("dialog")


@contextlib.asynccontextmanager
async def narrow_tab(browser: Browser, scheme: str) -> AsyncIterator[Tab]:
    dark = await browser.new_context(
        viewport=NARROW, has_touch=True, is_mobile=True, color_scheme="dark" if scheme == "dark" else "light"
    )
    try:
        yield await open_tab(dark)
    finally:
        await dark.close()


class TestDoor:
    async def test_a_token_is_kept_in_the_tab_and_nowhere_else(self, ada: Tab, context: BrowserContext) -> None:
        """A reload comes back in; the address and the storage of other tabs have nothing; it can be forgotten."""
        await ada.page.reload()
        await ada.wait_state("Online")
        assert await ada.page.evaluate("[location.href, document.cookie, localStorage.length]") == [
            ada.page.url.split("#")[0],
            "",
            0,
        ]
        assert "ey" not in ada.page.url
        other = await open_tab(context)
        await other.page.goto(ada.page.url)
        await expect(other.page.get_by_label("Token")).to_be_focused()
        await ada.press("Forget the token")
        await expect(ada.page.get_by_label("Token")).to_be_visible()
        assert await ada.page.evaluate("sessionStorage.length") == 0

    async def test_a_token_without_the_role_is_told_so(self, context: BrowserContext, service: RunningService) -> None:
        tab = await open_tab(context)
        await come_in(tab, service, service.token(user="mallory", roles=["moderator"]))
        await expect(tab.page.get_by_role("alert")).to_contain_text("not an administrator's token")
        assert await tab.page.evaluate("sessionStorage.length") == 0

    @pytest.mark.parametrize(("token", "answer"), [("nonsense", "no token"), ("a.b.c", "token")])
    async def test_what_is_no_token_is_told_so(
        self, context: BrowserContext, service: RunningService, token: str, answer: str
    ) -> None:
        tab = await open_tab(context)
        await come_in(tab, service, token)
        await expect(tab.page.get_by_role("alert")).to_contain_text(answer)
        await expect(tab.page.get_by_label("Token")).to_be_visible()


class TestOverview:
    async def test_the_figures_are_live(self, ada: Tab, service: RunningService) -> None:
        figures = ada.page.get_by_role("region", name="Overview").locator("dl").first
        await expect(figures).to_contain_text("/admin 1")
        await expect(figures).not_to_contain_text("/chat 1")
        async with chat_client(service.url, service.token(user="bob")):
            await expect(figures).to_contain_text("/chat 1")
        await expect(figures).not_to_contain_text("/chat 1")

    async def test_a_token_limited_to_rooms_is_told_what_it_may_not(
        self, context: BrowserContext, service: RunningService, bob: ChatClient
    ) -> None:
        """The figures are not for it; its rooms are, and no others."""
        await bob.ok("room:create", {"id": "attic", "title": "Attic", "kind": "public"})
        tab = await open_tab(context)
        await come_in(tab, service, service.token(user="eve", roles=["admin"], rooms=["den"]))
        await expect(tab.page.get_by_role("alert")).to_have_count(2)
        await go(tab, "Rooms")
        await expect(row(tab, "Den")).to_be_visible()
        await expect(row(tab, "Attic")).to_have_count(0)

    async def test_a_node_is_drained_after_its_name_was_typed(self, ada: Tab, service: RunningService) -> None:
        await ada.press("Drain", within=row(ada, "n1"))
        await dialog(ada).get_by_role("button", name="Drain it").click()
        await expect(dialog(ada).get_by_role("alert")).to_have_text("Type n1 to confirm.")
        await dialog(ada).get_by_label("Type n1 to confirm").fill("n1")
        await dialog(ada).get_by_role("button", name="Drain it").click()
        await wait_said(ada, "n1 is draining")
        assert await service.process.wait() == 0
        ada.complaints.clear()  # There is nobody to connect to any more, and the browser says so.


class TestConnections:
    async def test_one_is_found_and_ended_with_a_reason(
        self, ada: Tab, bob: ChatClient, service: RunningService
    ) -> None:
        """By user, by room, and not by another; afterwards the focus is on the heading."""
        await go(ada, "Connections")
        await expect(row(ada, "Bob")).to_contain_text("den")
        await expect(row(ada, "Ada")).to_contain_text("/admin")
        for label, value, is_shown in (
            ("User id", "bob", True),
            ("User id", "ada", False),
            ("Room id", "den", True),
            ("Node", "n1", True),
        ):
            await fill(ada, **{"User id": "", "Room id": "", "Node": "", label: value})
            await ada.press("Show")
            await expect(row(ada, "Bob")).to_have_count(1 if is_shown else 0)
        await ada.press("Disconnect Bob")
        await expect(dialog(ada).get_by_label("Reason")).to_be_focused()
        await dialog(ada).get_by_label("Reason").fill("Tea is ready")
        await ada.page.keyboard.press("Enter")
        await wait_said(ada, "A connection of Bob was ended.")
        assert (await bob.wait_for("closing"))["reconnect"] is False
        await expect(ada.page.get_by_role("heading", name="Connections")).to_be_focused()
        await ada.press("Refresh")
        await expect(row(ada, "Bob")).to_have_count(0)

    async def test_all_of_a_user_are_ended(self, ada: Tab, bob: ChatClient) -> None:
        await go(ada, "Connections")
        await fill(ada, User_id="bob")
        await ada.press("Show")
        await ada.press("Disconnect bob everywhere")
        await dialog(ada).get_by_label("Reason").fill("Go home")
        await dialog(ada).get_by_role("button", name="Disconnect").click()
        await wait_said(ada, "The connections of bob were ended.")
        await bob.wait_for("closing")

    async def test_a_question_is_left_with_escape(self, ada: Tab, bob: ChatClient) -> None:
        """Nothing is done, and the focus is where it was."""
        await go(ada, "Connections")
        await ada.press("Disconnect Bob")
        await expect(dialog(ada).get_by_label("Reason")).to_be_focused()
        await ada.page.keyboard.press("Escape")
        await expect(dialog(ada)).to_have_count(0)
        await expect(row(ada, "Bob").get_by_role("button")).to_be_focused()
        assert bob.of("closing") == []


class TestRooms:
    async def test_a_room_is_deleted_after_its_id_was_typed(self, ada: Tab, bob: ChatClient) -> None:
        await go(ada, "Rooms")
        await ada.press("Delete Den")
        await dialog(ada).get_by_label("Reason").fill("Empty")
        await dialog(ada).get_by_role("button", name="Delete the room").click()
        await expect(dialog(ada).get_by_role("alert")).to_have_text("Type den to confirm.")
        await dialog(ada).get_by_label("Type den to confirm").fill("den")
        await dialog(ada).get_by_role("button", name="Delete the room").click()
        await wait_said(ada, "The room Den was deleted.")
        await bob.wait_for("room:removed", lambda removed: removed["room"] == "den")
        await expect(row(ada, "Den")).to_have_count(0)

    async def test_many_are_turned_page_by_page_and_searched(self, ada: Tab, bob: ChatClient) -> None:
        for number in range(60):
            await bob.ok("room:create", {"id": f"room-{number:02}", "title": f"Room {number:02}", "kind": "public"})
        await go(ada, "Rooms")
        await expect(ada.page.get_by_role("row")).to_have_count(51)
        await expect(ada.page.get_by_role("button", name="Previous page")).to_be_disabled()
        await ada.press("Next page")
        await expect(ada.page.get_by_role("row")).to_have_count(12)
        await expect(ada.page.get_by_role("button", name="Next page")).to_be_disabled()
        await ada.press("Previous page")
        await expect(ada.page.get_by_role("row")).to_have_count(51)
        await fill(ada, Part_of_the_title_or_id="room-42")
        await ada.press("Search")
        await expect(ada.page.get_by_role("row")).to_have_count(2)
        await expect(row(ada, "Room 42")).to_be_visible()

    async def test_an_error_is_shown_in_the_words_of_the_service(self, ada: Tab, bob: ChatClient) -> None:
        """Of a room that is gone by the time of the answer; the question stays open."""
        await go(ada, "Rooms")
        await ada.press("Delete Den")
        await bob.ok("room:delete", {"room": "den"})
        await dialog(ada).get_by_label("Reason").fill("Empty")
        await dialog(ada).get_by_label("Type den to confirm").fill("den")
        await dialog(ada).get_by_role("button", name="Delete the room").click()
        await expect(dialog(ada).get_by_role("alert")).to_contain_text("room")
        await expect(dialog(ada)).to_be_visible()


class TestSanctions:
    async def test_a_user_is_banned_and_unbanned(self, ada: Tab, bob: ChatClient, service: RunningService) -> None:
        await go(ada, "Bans")
        await expect(ada.page.get_by_text("Nobody is banned.")).to_be_visible()
        await fill(ada, User_id_to_ban="bob", Reason="Shouting", How_many_days="x")
        await ada.press("Ban")
        await expect(ada.page.get_by_role("alert")).to_contain_text("whole number")
        await fill(ada, How_many_days="2")
        await ada.press("Ban")
        await wait_said(ada, "bob is banned.")
        assert (await bob.wait_for("closing"))["code"] == "banned"
        await expect(row(ada, "bob")).to_contain_text("Shouting")
        await expect(row(ada, "bob")).to_contain_text("ada")
        with pytest.raises(RefusedError, match="banned"):
            async with chat_client(service.url, service.token(user="bob")):
                pass
        await ada.press("Unban bob")
        await dialog(ada).get_by_role("button", name="Unban").click()
        await wait_said(ada, "bob is not banned any more.")
        await expect(ada.page.get_by_text("Nobody is banned.")).to_be_visible()
        async with chat_client(service.url, service.token(user="bob")):
            pass

    async def test_a_ban_may_have_no_end(self, ada: Tab) -> None:
        await go(ada, "Bans")
        await fill(ada, User_id_to_ban="bob", Reason="Shouting")
        await ada.page.get_by_label("For how long").select_option("without end")
        await ada.press("Ban")
        await expect(row(ada, "bob")).to_contain_text("without end")

    async def test_tokens_are_revoked(self, ada: Tab, bob: ChatClient) -> None:
        await go(ada, "Tokens")
        await fill(ada, User_id="bob", Reason="Lost a phone")
        await ada.press("Revoke")
        await wait_said(ada, "The tokens of bob are revoked.")
        assert (await bob.wait_for("closing"))["code"] == "unauthorized"
        await ada.page.get_by_label("Which").select_option("one, by its jti")
        await fill(ada, **{"Token id (jti)": "j1", "Reason": "Lost"})
        await ada.press("Revoke")
        await wait_said(ada, "The token j1 is revoked.")


class TestNotices:
    async def test_a_notice_comes_to_all_or_to_a_room(self, ada: Tab, bob: ChatClient) -> None:
        await go(ada, "Notices")
        await ada.page.get_by_label("Level").select_option("critical")
        await fill(ada, Text="Fire!")
        await ada.press("Send")
        await wait_said(ada, "The notice was sent to everybody.")
        assert (await bob.wait_for("notice"))["level"] == "critical"
        await ada.page.get_by_label("Room id").fill("den")
        await fill(ada, Text="Tea")
        await ada.press("Send")
        await wait_said(ada, "The notice was sent to the room den.")
        await bob.wait_for("notice", lambda notice: notice["text"] == "Tea")
        await ada.page.get_by_label("Room id").fill("nowhere")
        await fill(ada, Text="Hello?")
        await ada.press("Send")
        await expect(ada.page.get_by_role("alert")).to_contain_text("room")

    async def test_a_critical_one_stays_on_the_chat_page(
        self, ada: Tab, context: BrowserContext, service: RunningService
    ) -> None:
        tab = await open_tab(context)
        await tab.page.goto(f"{service.url}/#token={service.token(user='kim', name='Kim')}")
        await tab.wait_state("Online")
        await go(ada, "Notices")
        await ada.page.get_by_label("Level").select_option("critical")
        await fill(ada, Text="The cellar is on fire.")
        await ada.press("Send")
        await expect(tab.page.locator(".notice[data-level=error]")).to_contain_text("The cellar is on fire.")


class TestAudit:
    async def test_what_was_done_and_what_failed_is_there(self, ada: Tab) -> None:
        await go(ada, "Bans")
        await fill(ada, User_id_to_ban="bob", Reason="Shouting")
        await ada.press("Ban")
        await wait_said(ada, "bob is banned.")
        await go(ada, "Notices")
        await expect(ada.page.get_by_text("bob is banned.")).to_have_count(0)
        await ada.page.get_by_label("Room id").fill("nowhere")
        await fill(ada, Text="Hello?")
        await ada.press("Send")
        await expect(ada.page.get_by_role("alert")).to_be_visible()
        await go(ada, "Audit log")
        for text in ("ada", "Shouting", "bob", "ok"):
            await expect(row(ada, "user:ban")).to_contain_text(text)
        await expect(row(ada, "notice:send")).to_contain_text("not_found")


class TestApart:
    async def test_the_page_says_that_it_is_apart_and_comes_back(
        self, ada: Tab, service: RunningService, tmp_path: Path
    ) -> None:
        """Meanwhile nothing is done; afterwards the list that is shown is read anew."""
        await go(ada, "Bans")
        await service.kill()
        await ada.wait_state("Reconnecting")
        await expect(ada.page.get_by_text("What is shown may be old")).to_be_visible()
        await fill(ada, User_id_to_ban="bob", Reason="Shouting")
        await ada.press("Ban")
        # The list may say something as well, if it was being read when the service died.
        await expect(ada.page.get_by_role("alert").filter(has_text="Nothing was done.")).to_be_visible()
        again = await start_service(tmp_path, port=service.port, limits="off", node="n1")
        try:
            await ada.wait_state("Online")
            await expect(ada.page.get_by_text("What is shown may be old")).to_have_count(0)
            await expect(ada.page.get_by_text("Nobody is banned.")).to_be_visible()
            await ada.press("Ban")
            await wait_said(ada, "bob is banned.")
        finally:
            await again.kill()
        ada.complaints.clear()  # The browser says of each try that nobody answered.

    async def test_a_token_that_is_revoked_leads_back_to_the_door(self, ada: Tab) -> None:
        await go(ada, "Tokens")
        await fill(ada, User_id="ada", Reason="Lost a phone")
        await ada.press("Revoke")
        await expect(ada.page.get_by_role("alert")).to_contain_text(re.compile("token", re.IGNORECASE))
        await expect(ada.page.get_by_label("Token")).to_be_visible()


class TestReach:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    async def test_a_narrow_screen_shows_all_of_it(
        self, browser: Browser, service: RunningService, bob: ChatClient, scheme: str
    ) -> None:
        """At 360 pixels nothing is wider than the screen, and what a finger presses is large enough."""
        await bob.ok("room:create", {"title": "W" * 90, "kind": "private"})
        async with narrow_tab(browser, scheme) as tab:
            await come_in(tab, service, service.token(user="a" * 60, name="n" * 60, roles=["admin"]))
            await tab.wait_state("Online")
            for section in SECTIONS:
                await tab.page.get_by_role("link", name=section, exact=True).tap()
                await expect(tab.page.get_by_role("heading", name=SECTIONS[section], exact=True)).to_be_visible()
                await expect(tab.page.locator("[aria-busy=true]")).to_have_count(0)
                assert await tab.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], section
                for button in await tab.page.locator("button, nav a").all():
                    box = await button.bounding_box()
                    assert box is not None
                    assert min(box["width"], box["height"]) >= 40, (section, await button.inner_text(), box)

    async def test_all_is_reached_by_the_keyboard(self, ada: Tab, bob: ChatClient) -> None:
        """From the first link to the question, and back."""
        await ada.page.locator("body").click(position={"x": 1, "y": 1})
        link = ada.page.get_by_role("link", name="Rooms", exact=True)
        for _ in range(12):
            await ada.page.keyboard.press("Tab")
            if await link.evaluate("link => link === document.activeElement"):
                break
        await ada.page.keyboard.press("Enter")
        await expect(ada.page.get_by_role("heading", name="Rooms")).to_be_focused()
        button = ada.page.get_by_role("button", name="Delete Den")
        await expect(button).to_be_visible()
        for _ in range(4):
            await ada.page.keyboard.press("Tab")
            if await button.evaluate("button => button === document.activeElement"):
                break
        await expect(button).to_be_focused()
        await ada.page.keyboard.press("Enter")
        await expect(dialog(ada).get_by_label("Reason")).to_be_focused()
        await ada.page.keyboard.press("Escape")
        await expect(button).to_be_focused()

    async def test_the_chat_page_carries_nothing_of_it(self, context: BrowserContext, service: RunningService) -> None:
        tab = await open_tab(context)
        asked: list[str] = []
        tab.page.on("request", lambda request: asked.append(request.url))
        await tab.page.goto(service.url)
        await expect(tab.page.get_by_label("Your name")).to_be_visible()
        assert [url for url in asked if "admin" in url] == []
        assert len([url for url in asked if url.endswith(".js")]) == 2


class TestTwoNodes:
    async def test_the_page_of_one_reaches_what_is_on_the_other(
        self, context: BrowserContext, tmp_path: Path, mongo_uri: str
    ) -> None:
        """Two nodes with one store: a connection of the other is listed with its node and ended; then it is drained."""
        secret = "a-secret-of-both-nodes-that-is-long-enough"
        async with contextlib.AsyncExitStack() as stack:
            one, two = [
                await stack.enter_async_context(
                    running_service(tmp_path, node=name, store=mongo_uri, jwt_secret=secret, limits="off")
                )
                for name in ("n1", "n2")
            ]
            bob = await stack.enter_async_context(chat_client(two.url, two.token(user="bob", name="Bob")))
            tab = await open_tab(context)
            await come_in(tab, one, one.token(user="ada", name="Ada", roles=["admin"]))
            figures = tab.page.get_by_role("region", name="Overview").locator("dl").first
            await expect(figures).to_contain_text("n1, n2")
            await expect(figures).to_contain_text("/chat 1")
            await go(tab, "Connections")
            await fill(tab, Node="n2")
            await tab.press("Show")
            await expect(row(tab, "Ada")).to_have_count(0)
            await expect(row(tab, "Bob")).to_contain_text("n2")
            await tab.press("Disconnect Bob")
            await dialog(tab).get_by_label("Reason").fill("Tea")
            await dialog(tab).get_by_role("button", name="Disconnect").click()
            await wait_said(tab, "A connection of Bob was ended.")
            await bob.wait_for("closing")
            await go(tab, "Overview")
            await tab.press("Drain n2")
            await dialog(tab).get_by_label("Type n2 to confirm").fill("n2")
            await dialog(tab).get_by_role("button", name="Drain it").click()
            assert await two.process.wait() == 0
            await expect(figures).not_to_contain_text("n2")
            await tab.wait_state("Online")
            assert tab.complaints == []
