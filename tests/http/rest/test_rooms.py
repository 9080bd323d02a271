"""`GET /api/rooms` and `GET /api/rooms/{id}`."""

from __future__ import annotations

from tests.support.restsites import RestSite


class TestRooms:
    """What the caller may know of."""

    async def test_rooms_are_listed_in_pages(self, site: RestSite) -> None:
        ada = await site.house.enter("ada")
        for room in ("a", "b", "c"):
            await site.house.room(ada, room)
        status, first = await site.ask("GET", "/api/rooms?limit=2", token=site.token("bob"))
        assert (status, [each["id"] for each in first["rooms"]]) == (200, ["a", "b"])
        _, rest = await site.ask("GET", f"/api/rooms?limit=2&cursor={first['cursor']}", token=site.token("bob"))
        assert ([each["id"] for each in rest["rooms"]], rest["cursor"]) == (["c"], None)

    async def test_one_is_seen_as_the_caller_stands_to_it(self, site: RestSite) -> None:
        await site.house.room(await site.house.enter("ada"))
        assert (await site.ask("GET", "/api/rooms/tea"))[1]["room"]["role"] == "owner"
        assert (await site.ask("GET", "/api/rooms/tea", token=site.token("bob")))[1]["room"]["role"] is None

    async def test_those_that_are_hidden_are_as_if_not_there(self, site: RestSite) -> None:
        hidden = await site.house.room(await site.house.enter("ada"), kind="private")
        bob = site.token("bob")
        assert (await site.ask("GET", f"/api/rooms/{hidden}"))[0] == 200
        refusal = await site.ask("GET", f"/api/rooms/{hidden}", token=bob)
        assert refusal == await site.ask("GET", "/api/rooms/nothing", token=bob)
        assert refusal[0] == 404
        assert (await site.ask("GET", "/api/rooms", token=bob))[1]["rooms"] == []
