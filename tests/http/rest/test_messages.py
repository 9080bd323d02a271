"""`GET` and `POST /api/rooms/{id}/messages`."""

from __future__ import annotations

from tests.support.restsites import RestSite


class TestMessages:
    """The way of `history:fetch` and `message:send`."""

    async def test_a_new_message_is_created_and_a_known_key_is_answered(self, site: RestSite) -> None:
        await site.house.room(await site.house.enter("ada"))
        status, created = await site.send("tea", "hello")
        assert (status, created["duplicate"], created["message"]["body"]) == (201, False, "hello")
        status, again = await site.send("tea", "other")
        assert (status, again) == (200, {"message": created["message"], "duplicate": True})

    async def test_what_is_sent_is_read(self, site: RestSite) -> None:
        await site.house.room(await site.house.enter("ada"))
        _, sent = await site.send("tea", "hello")
        status, page = await site.ask("GET", "/api/rooms/tea/messages", token=site.token("bob"))
        assert (status, page) == (200, {"messages": [sent["message"]], "more_before": False, "more_after": False})

    async def test_slow_mode_says_when_to_come_again(self, site: RestSite) -> None:
        ada = await site.house.enter("ada")
        await site.house.room(ada)
        await site.house.chat.rooms.update(ada, {"room": "tea", "slow_mode_s": 60})
        bot = site.token("bot", roles=["bot"])
        assert (await site.send("tea", "one", key="1", token=bot))[0] == 201
        status, error = await site.send("tea", "two", key="2", token=bot)
        assert (status, error["code"]) == (429, "slow_mode")
        assert 0 < error["retry_after"] <= 60
