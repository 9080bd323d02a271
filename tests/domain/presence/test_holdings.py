"""Who is here by the connections of this node."""

from __future__ import annotations

from collections.abc import Iterable

from hubbub.cluster.base import Status
from hubbub.domain.presence.holdings import GRACE_MS, Held, Holdings, LocalUser
from hubbub.history.base import Person
from tests.support.presence import WALL, person


class Here:
    """Holdings with a clock, and what they told."""

    def __init__(self) -> None:
        self.now = 0
        self.told: list[tuple[str, list[str], list[str]]] = []
        self.gone: list[tuple[str, int]] = []
        self.holdings = Holdings(on_change=self._change, on_gone=self._gone)

    def _change(self, user: LocalUser, rooms: Iterable[str], left: frozenset[str]) -> None:
        self.told.append((user.person.id, sorted(rooms), sorted(left)))

    def _gone(self, who: Person, at: int) -> None:
        self.gone.append((who.id, at - WALL))

    def connect(self, user: str, device: str, *rooms: str) -> Held:
        held = self.holdings.connect(person(user), device, wall=WALL + self.now)
        for uid in rooms:
            self.holdings.join(held, uid)
        return held

    def drop(self, held: Held) -> None:
        self.holdings.disconnect(held, clean=False, now=self.now, wall=WALL + self.now)

    def goodbye(self, held: Held) -> None:
        self.holdings.disconnect(held, clean=True, now=self.now, wall=WALL + self.now)

    def set(self, held: Held, status: Status, text: str | None = None) -> None:
        self.holdings.set_status(held, status, text, wall=WALL + self.now)

    def forward(self, ms: int) -> None:
        self.now += ms
        self.holdings.expire(self.now, WALL + self.now, most=100)

    def room(self, uid: str = "tea") -> list[str]:
        return sorted(self.holdings.room(uid))

    def status(self, user: str = "ada") -> str:
        found = self.holdings.user(user)
        return "offline" if found is None else found.face.status

    def news(self) -> list[tuple[str, list[str], list[str]]]:
        told, self.told = self.told, []
        return told


class TestComing:
    def test_a_user_is_here_while_any_connection_is(self) -> None:
        here = Here()
        one, two = here.connect("ada", "tab"), here.connect("ada", "phone")
        here.goodbye(one)
        assert here.status() == "online"
        here.goodbye(two)
        assert (here.status(), here.holdings.size) == ("offline", 0)

    def test_the_first_who_is_subscribed_is_told_and_the_second_device_is_not(self) -> None:
        here = Here()
        here.connect("ada", "tab", "tea")
        assert here.news() == [("ada", [], []), ("ada", ["tea"], [])]
        here.connect("ada", "phone", "tea")
        assert here.news() == []

    def test_a_connection_that_ended_joins_nothing(self) -> None:
        here = Here()
        held = here.connect("ada", "tab")
        here.goodbye(held)
        here.goodbye(held)
        here.holdings.join(held, "tea")
        assert (here.room(), here.gone) == ([], [("ada", 0)])


class TestBreaking:
    def test_who_is_back_within_the_grace_was_never_away(self) -> None:
        here = Here()
        held = here.connect("ada", "tab", "tea")
        here.drop(held)
        here.news()
        here.forward(GRACE_MS - 1)
        back = here.connect("ada", "tab 2")
        assert here.room() == ["ada"]
        here.holdings.join(back, "tea")
        here.forward(GRACE_MS)
        assert here.room() == ["ada"]
        assert [rooms for _, rooms, _ in here.news() if rooms] == []

    def test_who_is_not_goes_and_was_last_seen_when_it_broke(self) -> None:
        here = Here()
        held = here.connect("ada", "tab", "tea")
        here.forward(500)
        here.drop(held)
        here.news()
        here.forward(GRACE_MS - 1)
        assert (here.room(), here.status()) == (["ada"], "online")
        here.forward(1)
        assert (here.room(), here.status(), here.gone) == ([], "offline", [("ada", 500)])
        assert here.news() == [("ada", ["tea"], [])]

    def test_who_is_back_but_not_in_the_room_leaves_it_when_its_grace_is_over(self) -> None:
        here = Here()
        here.drop(here.connect("ada", "tab", "tea"))
        here.connect("ada", "tab 2")
        here.forward(GRACE_MS)
        assert (here.room(), here.status(), here.gone) == ([], "online", [])

    def test_each_break_has_a_grace_of_its_own(self) -> None:
        here = Here()
        tab, phone = here.connect("ada", "tab", "tea"), here.connect("ada", "phone", "plans")
        here.drop(tab)
        here.forward(10_000)
        here.drop(phone)
        here.forward(5_000)
        assert (here.room("tea"), here.room("plans"), here.status()) == ([], ["ada"], "online")
        here.forward(10_000)
        assert (here.room("plans"), here.status()) == ([], "offline")

    def test_a_slow_reader_who_was_taken_out_of_a_room_has_a_grace_in_it(self) -> None:
        here = Here()
        held = here.connect("ada", "tab", "tea")
        here.holdings.lapse(held, "tea", now=here.now)
        here.holdings.lapse(held, "plans", now=here.now)
        here.forward(GRACE_MS - 1)
        assert (here.room(), here.room("plans")) == (["ada"], [])
        here.holdings.join(held, "tea")
        here.forward(1)
        assert here.room() == ["ada"]
        here.holdings.lapse(held, "tea", now=here.now)
        here.forward(GRACE_MS)
        assert (here.room(), here.status()) == ([], "online")

    def test_a_crowd_ends_in_slices(self) -> None:
        here = Here()
        for each in [here.connect(f"u{n}", "tab", "tea") for n in range(25)]:
            here.drop(each)
        here.now += GRACE_MS
        rests = [here.holdings.expire(here.now, WALL, most=10) for _ in range(3)]
        assert (rests, here.room(), here.holdings.due()) == ([True, True, False], [], None)


class TestLeavingOnPurpose:
    def test_a_goodbye_is_seen_at_once(self) -> None:
        here = Here()
        held = here.connect("ada", "tab", "tea")
        here.forward(500)
        here.news()
        here.goodbye(held)
        assert (here.room(), here.gone) == ([], [("ada", 500)])
        assert here.news() == [("ada", ["tea"], ["tea"])]

    def test_the_last_goodbye_counts_for_what_broke_before(self) -> None:
        here = Here()
        here.drop(here.connect("ada", "tab", "tea"))
        here.goodbye(here.connect("ada", "tab 2", "tea"))
        assert (here.room(), here.status()) == ([], "offline")

    def test_a_goodbye_beside_a_live_connection_ends_what_that_one_does_not_hold(self) -> None:
        here = Here()
        here.drop(here.connect("ada", "tab", "tea", "plans"))
        here.connect("ada", "phone", "plans")
        here.goodbye(here.connect("ada", "tab 2", "tea", "plans"))
        assert (here.room("tea"), here.room("plans"), here.status()) == ([], ["ada"], "online")

    def test_leaving_a_room_is_for_all_devices_and_graces(self) -> None:
        here = Here()
        here.connect("ada", "tab", "tea", "plans")
        here.drop(here.connect("ada", "phone", "tea"))
        here.news()
        here.holdings.leave("ada", "tea")
        here.holdings.leave("nobody", "tea")
        assert (here.room("tea"), here.room("plans")) == ([], ["ada"])
        assert here.news() == [("ada", ["tea"], ["tea"])]

    def test_giving_a_room_up_on_one_device_leaves_the_others_in_it(self) -> None:
        here = Here()
        tab, phone = here.connect("ada", "tab", "tea"), here.connect("ada", "phone", "tea")
        here.holdings.part(tab, "tea")
        assert here.room() == ["ada"]
        here.holdings.part(phone, "tea")
        assert here.room() == []

    def test_nobody_is_in_a_room_that_is_gone(self) -> None:
        here = Here()
        here.connect("ada", "tab", "tea")
        here.drop(here.connect("bob", "tab", "tea"))
        here.holdings.close_room("tea")
        here.holdings.close_room("never")
        assert here.room() == []
        assert here.status("bob") == "online"

    def test_leaving_on_another_node_ends_graces_and_nothing_else(self) -> None:
        here = Here()
        here.connect("ada", "tab", "plans")
        here.drop(here.connect("ada", "phone", "tea", "plans"))
        here.holdings.void("ada", ["tea", "plans", "other"])
        here.holdings.void("nobody", ["tea"])
        assert (here.room("tea"), here.room("plans")) == ([], ["ada"])


class TestStatuses:
    def test_one_device_says_how_it_is_for_all_its_namespaces(self) -> None:
        here = Here()
        chat, presence = here.connect("ada", "tab", "tea"), here.connect("ada", "tab")
        here.news()
        here.set(presence, "away")
        assert here.status() == "away"
        assert here.news() == [("ada", ["tea"], [])]
        here.goodbye(presence)
        assert here.status() == "away"
        here.goodbye(chat)
        here.connect("ada", "tab")
        assert here.status() == "online"

    def test_any_device_that_is_online_wins_over_those_that_are_away(self) -> None:
        here = Here()
        tab, phone = here.connect("ada", "tab"), here.connect("ada", "phone")
        here.set(tab, "away")
        assert here.status() == "online"
        here.set(phone, "away")
        assert here.status() == "away"
        here.set(tab, "busy")
        here.set(phone, "online")
        assert here.status() == "busy"

    def test_a_reload_keeps_what_was_said_on_purpose_for_its_grace(self) -> None:
        here = Here()
        held = here.connect("ada", "tab", "tea")
        here.set(held, "invisible")
        here.drop(held)
        back = here.connect("ada", "tab 2")
        here.forward(1000)
        assert here.status() == "invisible"
        here.set(back, "invisible")
        here.forward(GRACE_MS)
        assert here.status() == "invisible"
        here.goodbye(back)
        assert here.gone == [("ada", 0)]

    def test_invisibility_that_is_not_repeated_ends_with_the_grace(self) -> None:
        here = Here()
        held = here.connect("ada", "tab")
        here.set(held, "invisible")
        here.drop(held)
        back = here.connect("ada", "tab 2")
        here.forward(GRACE_MS)
        assert here.status() == "online"
        here.goodbye(back)
        assert here.gone == [("ada", GRACE_MS)]

    def test_the_text_is_the_users_until_they_go(self) -> None:
        here = Here()
        tab, phone = here.connect("ada", "tab"), here.connect("ada", "phone")
        here.set(tab, "busy", "lunch")
        here.set(phone, "online")
        user = here.holdings.user("ada")
        assert user is not None
        assert (user.face.text, user.face.status) == ("lunch", "busy")
        here.goodbye(tab)
        assert user.face.text == "lunch"
        here.set(phone, "online", "")
        assert user.face.text == ""

    def test_a_new_name_is_news_and_an_old_one_is_not(self) -> None:
        here = Here()
        held = here.connect("ada", "tab", "tea")
        here.news()
        here.holdings.rename(held, Person("ada", "Countess"), wall=WALL)
        here.holdings.rename(held, Person("ada", "Countess"), wall=WALL)
        assert here.news() == [("ada", ["tea"], [])]
