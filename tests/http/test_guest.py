"""`POST /api/guest`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.keys import SECRET
from tests.support.sites import Site, StartSite


async def post(site: Site, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {"Content-Type": "application/json"} | headers
    async with site.client.post("/api/guest", data=data, headers=names) as response:
        return response.status, await response.json()


class TestGuests:
    async def test_a_guest_gets_a_token_and_a_user(self, start_site: StartSite) -> None:
        site = await start_site()
        status, answer = await post(site, {"name": " Zoe\u0308 "})
        assert status == 200
        assert set(answer) == {"token", "user"}
        identity = await site.tokens.verify(answer["token"])
        assert answer["user"] == {
            "id": identity.user,
            "name": "Zoë",
            "guest": True,
            "status": "offline",
            "text": "",
            "last_seen": None,
        }
        assert identity.person.name == "Zoë"

    async def test_the_content_type_may_name_its_charset(self, start_site: StartSite) -> None:
        site = await start_site()
        status, _ = await post(site, {"name": "Zoe"}, **{"Content-Type": "application/json; charset=utf-8"})
        assert status == 200

    async def test_the_token_is_not_kept_by_any_cache(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.post("/api/guest", json={"name": "Zoe"}) as response:
            assert response.headers["Cache-Control"] == "no-store"

    async def test_the_longest_name_fits_however_it_is_escaped(self, start_site: StartSite) -> None:
        site = await start_site()
        status, answer = await post(site, json.dumps({"name": "😀" * 64}).encode("ascii"))
        assert (status, answer["user"]["name"]) == (200, "😀" * 64)


class TestRefusals:
    @pytest.mark.parametrize("settings", [{"guests": "off"}, {"jwt_secret": SECRET}])
    async def test_where_guests_are_off_there_is_no_such_thing(
        self, start_site: StartSite, settings: dict[str, Any]
    ) -> None:
        site = await start_site(**settings)
        status, answer = await post(site, {"name": "Zoe"})
        assert (status, answer["code"]) == (404, "not_found")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "  "}, "name"),
            ({"name": "x" * 65}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": "a\u202eb"}, "name"),
            ({"name": 7}, "name"),
            ({"name": None}, "name"),
            ({"name": ["Zoe"]}, "name"),
            ({"name": "Zoe", "roles": ["admin"]}, "roles"),
            ({"name": "Zoe", "": 1}, ""),
        ],
    )
    async def test_the_field_that_is_wrong_is_named(self, start_site: StartSite, body: object, field: str) -> None:
        site = await start_site()
        status, answer = await post(site, body)
        assert (status, answer["code"], answer["retryable"]) == (400, "bad_request", False)
        assert list(answer["fields"]) == [field]
        assert all(isinstance(text, str) for text in answer["fields"][field])

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b'"Zoe"', b"null", b"\xff", b'{"name": "\\ud800"}', b"[" * 4000]
    )
    async def test_what_is_no_object_is_refused(self, start_site: StartSite, body: bytes) -> None:
        site = await start_site()
        status, answer = await post(site, body)
        assert (status, answer["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
    async def test_what_browsers_send_unasked_is_refused(self, start_site: StartSite, content_type: str) -> None:
        site = await start_site()
        status, answer = await post(site, {"name": "Zoe"}, **{"Content-Type": content_type})
        assert (status, answer["code"]) == (400, "bad_request")

    async def test_other_methods_are_refused(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/api/guest") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
            assert (await response.json())["code"] == "bad_request"

    async def test_there_is_no_query(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.post("/api/guest?token=x", json={"name": "Zoe"}) as response:
            assert (response.status, (await response.json())["fields"]) == (400, {"token": ["Unknown field."]})
