"""The documents of the contract have the contract's fields, whatever the store keeps."""

from __future__ import annotations

from hubbub.domain.documents import (
    member_document,
    message_document,
    room_document,
    room_view_document,
    user_document,
)
from hubbub.domain.presence.statuses import Face
from hubbub.history.base import FOREVER, Person, RoomView, Standing
from tests.support.domain import message_of, room_of

MESSAGE_FIELDS = (
    "id",
    "room",
    "seq",
    "rev",
    "key",
    "sender",
    "body",
    "reply_to",
    "mentions",
    "reactions",
    "created_at",
    "edited_at",
    "deleted",
)
ROOM_FIELDS = (
    "id",
    "title",
    "kind",
    "topic",
    "capacity",
    "slow_mode_s",
    "created_at",
    "epoch",
    "head",
    "members",
)


class TestMessages:
    def test_a_message_has_the_fields_of_the_contract(self) -> None:
        message = message_of("uid", 3, rev=7, mentions=("bob",), reply_to="uid.1", edited_at=9)
        document = message_document("tea", message)
        assert tuple(document) == MESSAGE_FIELDS
        assert document["id"] == "uid.3"
        assert (document["room"], document["seq"], document["rev"]) == ("tea", 3, 7)
        assert document["sender"] == {"id": "ada", "name": "Ada", "guest": False}
        assert (document["mentions"], document["reply_to"], document["edited_at"]) == (["bob"], "uid.1", 9)

    def test_the_event_of_an_older_revision_says_that_revision(self) -> None:
        assert message_document("tea", message_of("uid", 3, rev=7), rev=4)["rev"] == 4

    def test_all_who_reacted_are_counted_and_the_first_twenty_named(self) -> None:
        users = tuple(f"u{n}" for n in range(25))
        (reaction,) = message_document("tea", message_of("uid", 1, reactions={"👍": users}))["reactions"]
        assert reaction == {"emoji": "👍", "count": 25, "users": list(users[:20])}


class TestRooms:
    def test_a_room_is_the_same_for_everybody(self) -> None:
        document = room_document(room_of("uid", id="tea", head=4, members=2), epoch="uid.2f")
        assert tuple(document) == ROOM_FIELDS
        assert (document["id"], document["epoch"], document["head"], document["members"]) == ("tea", "uid.2f", 4, 2)

    def test_for_a_user_it_says_how_they_stand_to_it(self) -> None:
        view = RoomView(room_of(), Standing("ada", role="owner", read_seq=3), unread=2)
        document = room_view_document(view, epoch="uid.2f")
        assert tuple(document) == (*ROOM_FIELDS, "role", "read_seq", "unread")
        assert (document["role"], document["read_seq"], document["unread"]) == ("owner", 3, 2)

    def test_a_stranger_has_no_role_and_has_read_nothing(self) -> None:
        document = room_view_document(RoomView(room_of(), None, unread=0), epoch="uid")
        assert (document["role"], document["read_seq"]) == (None, 0)

    def test_the_read_mark_of_who_is_no_member_is_not_shown(self) -> None:
        view = RoomView(room_of(), Standing("ada", role="invited", read_seq=3), unread=0)
        assert room_view_document(view, epoch="uid")["read_seq"] == 0


class TestPeople:
    def test_a_user_is_online_or_offline(self) -> None:
        person = Person("ada", "Ada", True)
        assert user_document(person, Face(person, "busy", "lunch")) == {
            "id": "ada",
            "name": "Ada",
            "guest": True,
            "status": "busy",
            "text": "lunch",
            "last_seen": None,
        }
        away = user_document(person, None, last_seen=5)
        assert (away["status"], away["last_seen"]) == ("offline", 5)

    def test_a_member_is_a_user_with_a_role(self) -> None:
        user = user_document(Person("ada", "Ada"), None)
        member = member_document(Standing("ada", role="member", muted_until=FOREVER), user)
        assert member == {"user": user, "role": "member", "muted_until": FOREVER}
