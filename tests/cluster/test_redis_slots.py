"""Channels are of the slots that Redis says, and its replies become a map."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.cluster.redis_slots import SLOTS, Place, moved_to, read_map, slot_of, tag_in

INFO = b"cluster_state:ok\r\ncluster_current_epoch:7\r\n"
ASKED = Place("10.0.0.9", 7000)


class TestSlots:
    @pytest.mark.parametrize(
        ("channel", "slot"),
        [
            # From the cluster specification and from CLUSTER KEYSLOT of a real server.
            (b"123456789", 0x31C3),
            (b"foo", 12182),
            (b"{user1000}.following", 3443),
            (b"user1000", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"{bar", 4015),
            (b"", 0),
        ],
    )
    def test_a_name_is_of_the_slot_that_the_specification_says(self, channel: bytes, slot: int) -> None:
        assert slot_of(channel) == slot

    @given(st.binary(max_size=40).filter(lambda tag: b"}" not in tag and tag), st.binary(), st.binary())
    def test_what_is_in_braces_decides_alone(self, tag: bytes, before: bytes, behind: bytes) -> None:
        assert slot_of(before.replace(b"{", b"") + b"{" + tag + b"}" + behind) == slot_of(b"{" + tag + b"}")

    def test_there_is_a_tag_for_every_slot(self) -> None:
        for slots in ({0}, {SLOTS - 1}, {8000, 3}, range(5461, 10923)):
            assert slot_of(b"canary:{%s}:n1" % tag_in(slots).encode()) in slots
        with pytest.raises(ValueError, match="no slot"):
            tag_in(set())


class TestMaps:
    def test_a_reply_becomes_a_map(self) -> None:
        replica = [b"10.0.0.4", 7004, b"id4", []]
        reply = [
            [0, 9, [b"10.0.0.1", 7001, b"id1", []], replica],
            [20, SLOTS - 1, [b"::1", 7002, b"id2", []]],
            [15, 15, [b"10.0.0.1", 7001, b"id1"]],
        ]
        told = read_map(reply, INFO, ASKED)
        assert {slot for slot, place in told.owners.items() if place == ("10.0.0.1", 7001)} == {*range(10), 15}
        assert len(told.owners) == 11 + SLOTS - 20
        assert told.masters == {("10.0.0.1", 7001), ("::1", 7002)}
        assert told.places == {*told.masters, ("10.0.0.4", 7004)}
        assert (told.epoch, told.is_whole) == (7, True)

    @pytest.mark.parametrize("host", [b"", None, b"?"])
    def test_a_server_that_does_not_say_its_host_is_where_it_was_asked(self, host: bytes | None) -> None:
        assert read_map([[0, 5, [host, 7001, b"id"]]], INFO, ASKED).masters == {("10.0.0.9", 7001)}

    @pytest.mark.parametrize(
        ("slots", "info"),
        [
            (b"OK", INFO),
            ([[0, 5]], INFO),
            ([[0, 5, [b"h", b"x"]]], INFO),
            ([[0, SLOTS, [b"h", 1]]], INFO),
            ([[0, 5, [b"h", 1]]], b"cluster_state:ok"),
            ([[0, 5, [b"h", 1]]], None),
        ],
    )
    def test_what_is_no_map_is_refused(self, slots: object, info: object) -> None:
        with pytest.raises(ValueError, match="no map"):
            read_map(slots, info, ASKED)

    def test_who_is_cut_off_says_so(self) -> None:
        assert not read_map([], b"cluster_state:fail cluster_current_epoch:3", ASKED).is_whole


class TestPlaces:
    def test_an_error_says_where_a_slot_is(self) -> None:
        assert moved_to("MOVED 3999 10.0.0.1:6381", ASKED) == ("10.0.0.1", 6381)
        assert moved_to("MOVED 3999 ::1:6381", ASKED) == ("::1", 6381)
        assert moved_to("MOVED 3999 :6381", ASKED) == ("10.0.0.9", 6381)
        for error in ("MOVED 3999", "MOVED 3999 nowhere", "CLUSTERDOWN Hash slot not served", ""):
            assert moved_to(error, ASKED) is None
