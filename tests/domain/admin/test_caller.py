"""Who may do what in `/admin`."""

from __future__ import annotations

import pytest

from hubbub.domain.admin.caller import SCOPES, Administrator, check_admin, check_scope
from hubbub.errors import HubbubError
from hubbub.events import ADMIN_CLIENT_EVENTS
from tests.support.domain import RecordingOutlet, identity_of

FREE = identity_of("root", roles=["admin"])
LIMITED = identity_of("root", roles=["admin"], rooms=["tea*"])


def is_open(event: str, *, room: str | None = None, limited: bool = True) -> bool:
    try:
        check_scope(LIMITED if limited else FREE, event, room)
    except HubbubError as error:
        return error.code != "forbidden"
    return True


class TestRole:
    @pytest.mark.parametrize("roles", [[], ["moderator"], ["bot"], ["Admin"], ["moderator", "bot"]])
    def test_only_administrators_are_let_in(self, roles: list[str]) -> None:
        with pytest.raises(HubbubError, match="forbidden"):
            check_admin(identity_of("eve", roles=roles))
        check_admin(identity_of("root", roles=[*roles, "admin"]))


class TestScopes:
    def test_every_event_has_one(self) -> None:
        assert set(SCOPES) == {event.name for event in ADMIN_CLIENT_EVENTS}

    def test_without_a_limit_everything_is_open(self) -> None:
        assert all(is_open(event, limited=False) for event in SCOPES)

    def test_a_token_for_rooms_opens_what_is_about_rooms(self) -> None:
        assert {event for event in SCOPES if is_open(event, room="tea")} == {
            "rooms:list",
            "connections:list",
            "room:delete",
            "notice:send",
            "auth:refresh",
        }
        assert {event for event in SCOPES if is_open(event)} == {"rooms:list", "room:delete", "auth:refresh"}


class TestAdministrator:
    def test_in_chat_they_are_somebody_who_stands_to_no_room(self) -> None:
        outlet = RecordingOutlet()
        client = Administrator(outlet, LIMITED).client
        assert (client.outlet, client.identity, client.user.person.id) == (outlet, LIMITED, "root")
        assert client.user.standings == {}
        assert list(client.joined) == []
