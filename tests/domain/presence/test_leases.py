"""For how long what another node said is believed."""

from __future__ import annotations

from hubbub.cluster.base import LEASE_MS, Node
from hubbub.domain.presence.leases import BLIND_MS, Leases

A, B = Node("a", "1"), Node("b", "1")


class TestLeases:
    def test_a_node_is_believed_until_its_lease_ends(self) -> None:
        leases = Leases()
        leases.renewed({A: 4000, B: 9000}, now=1000)
        assert leases.expire(4999) == []
        assert leases.expire(5000) == [A]
        assert A not in leases
        assert B in leases

    def test_a_node_that_is_missing_in_one_answer_keeps_what_it_had(self) -> None:
        leases = Leases()
        leases.renewed({A: LEASE_MS}, now=0)
        leases.renewed({}, now=3000)
        assert leases.expire(LEASE_MS - 1) == []
        assert leases.expire(LEASE_MS) == [A]

    def test_a_node_that_was_only_heard_of_has_one_lease(self) -> None:
        leases = Leases()
        leases.heard(A, now=0)
        leases.heard(A, now=LEASE_MS - 1)
        assert leases.expire(LEASE_MS) == [A]


class TestBlindness:
    """The registry does not answer."""

    def test_no_lease_ends_meanwhile_and_all_are_whole_afterwards(self) -> None:
        leases = Leases()
        leases.renewed({A: LEASE_MS}, now=0)
        leases.blind(3000)
        leases.blind(50_000)
        assert leases.expire(3000 + BLIND_MS - 1) == []
        leases.renewed({}, now=40_000)
        assert leases.expire(40_000 + LEASE_MS - 1) == []
        assert leases.expire(40_000 + LEASE_MS) == [A]

    def test_it_is_not_for_ever(self) -> None:
        leases = Leases()
        leases.renewed({A: LEASE_MS, B: LEASE_MS}, now=0)
        leases.blind(3000)
        assert leases.expire(3000 + BLIND_MS) == [A, B]
