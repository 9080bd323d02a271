"""Debian's Chromium for tests, and the page as a person uses it: by what it says, not by how it is built."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Final

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    async_playwright,
    expect,
)

__all__ = ["Tab", "open_tab", "running_browser"]

TIMEOUT_MS: Final = 20_000
_FLAGS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

expect.set_options(timeout=TIMEOUT_MS)


class Tab:
    """One tab. `complaints` is what the browser wrote to its console as errors: also what the page's content security
    policy forbade.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)

    # -- what a person does ------------------------------------------------------------------------------------------

    async def come_in(self, url: str, name: str) -> None:
        """Open the page, choose a name, and wait until the page is online."""
        await self.page.goto(url)
        await self.page.get_by_label("Your name").fill(name)
        await self.press("Come in")
        await self.wait_state("Online")

    async def make_room(self, title: str) -> None:
        await self.press("New room")
        await self.page.get_by_label("Name of the room").fill(title)
        await self.press("Make the room")
        await self.wait_joined(title)

    async def join_room(self, title: str) -> None:
        """Find a room that is not one's own, and join it."""
        await self.page.get_by_label("Find a room").fill(title)
        await self.press(f"Join {title}")
        await self.wait_joined(title)

    async def open_room(self, title: str) -> None:
        await self.press(title, within=self.page.get_by_role("navigation"))
        await self.wait_joined(title)

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def act(self, body: str, action: str) -> None:
        """Press one of the buttons that a message shows under the pointer."""
        message = self.message(body)
        await self.page.bring_to_front()
        await message.hover()
        await message.get_by_role("button", name=action, exact=True).click()

    async def press(self, name: str, *, within: Locator | None = None) -> None:
        """Press a button. The tab comes to the front first: behind another it is drawn about once in a second, and
        pointing waits for the drawing.
        """
        await self.page.bring_to_front()
        await (within or self.page).get_by_role("button", name=name).click()

    # -- what a person sees ------------------------------------------------------------------------------------------

    @property
    def composer(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message to")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    def message(self, body: str) -> Locator:
        return self.log.get_by_role("listitem").filter(has_text=body)

    async def bodies(self) -> list[str]:
        """The text of the messages that are stored, in the order in which they stand."""
        return await self.log.locator("li.message .body").all_inner_texts()

    async def wait_bodies(self, *expected: str) -> None:
        """Until the stored messages are these, in this order, and none is on its way."""
        await expect(self.log.locator("li.message .body")).to_have_text(list(expected))
        await expect(self.log.locator("li.pending")).to_have_count(0)

    async def wait_joined(self, title: str) -> None:
        room = self.page.get_by_role("region", name=title)
        await expect(room).to_have_attribute("data-subscription", "live")

    async def wait_state(self, text: str) -> None:
        """Until the connection state that is shown begins like this."""
        await expect(self.page.locator(".connection")).to_contain_text(text)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _on_error(self, error: Error) -> None:
        self.complaints.append(str(error))


@contextlib.asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser of its own, without a window. It downloads nothing."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "Chromium is needed for this test; `make test` installs it."
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


async def open_tab(context: BrowserContext) -> Tab:
    return Tab(await context.new_page())
