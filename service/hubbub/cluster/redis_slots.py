"""Which master of a Redis Cluster has which channel. Pure: replies in, a map out.

After the cluster specification: a channel's slot is the CRC16 (XMODEM) of its name, or of what stands between the first
`{` and the `}` behind it, modulo 16384; each slot belongs to one master.
"""

from __future__ import annotations

import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple

__all__ = ["SLOTS", "Place", "SlotMap", "moved_to", "read_map", "slot_of", "tag_in"]

SLOTS: Final = 16_384


class Place(NamedTuple):
    """Where a server of the cluster is reached."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SlotMap:
    """What one server says of its cluster. `owners` has the master of each slot; a slot without one is missing.
    `places` are all servers, replicas too. `epoch` rises with every failover and every slot that moves, and `is_whole`
    is False on a server that is cut off from most masters; of two maps that differ, the newer one has the higher epoch.
    """

    owners: Mapping[int, Place]
    places: frozenset[Place]
    epoch: int = 0
    is_whole: bool = True
    masters: frozenset[Place] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "masters", frozenset(self.owners.values()))


def slot_of(channel: bytes) -> int:
    begin = channel.find(b"{")
    if begin >= 0:
        end = channel.find(b"}", begin + 1)
        if end > begin + 1:
            channel = channel[begin + 1 : end]
    return binascii.crc_hqx(channel, 0) % SLOTS


def tag_in(slots: Collection[int]) -> str:
    """A hash tag of one of these slots, always the same one. `ValueError` if there is no slot."""
    if not slots:
        raise ValueError("no slot")
    return next(tag for tag in map(str, count()) if slot_of(tag.encode()) in slots)


def read_map(slots: object, info: object, asked: Place) -> SlotMap:
    """From the replies to CLUSTER SLOTS and CLUSTER INFO of the server `asked`, which may not know its own host. Raises
    `ValueError` if they are none.
    """
    owners: dict[int, Place] = {}
    places: set[Place] = set()
    try:
        assert isinstance(slots, list)
        for first, last, *servers in slots:
            those = [_place(server, asked) for server in servers]
            places.update(those)
            owners.update(dict.fromkeys(range(first, last + 1), those[0]))
        if owners and not 0 <= min(owners) <= max(owners) < SLOTS:
            raise ValueError("no such slot")
        assert isinstance(info, bytes)
        facts = dict(line.split(b":", 1) for line in info.split() if b":" in line)
        epoch, is_whole = int(facts[b"cluster_current_epoch"]), facts[b"cluster_state"] == b"ok"
    except (AssertionError, TypeError, ValueError, IndexError, KeyError) as error:
        raise ValueError("no map of a cluster") from error
    return SlotMap(owners, frozenset(places), epoch, is_whole)


def moved_to(error: str, asked: Place) -> Place | None:
    """Where a slot is by the error `MOVED SLOT HOST:PORT`; None if it is another error."""
    words = error.split()
    if len(words) != 3 or words[0] != "MOVED":
        return None
    host, _, port = words[2].rpartition(":")
    return Place(host or asked.host, int(port)) if port.isdigit() else None


def _place(server: list[object], asked: Place) -> Place:
    host, port = server[0], server[1]
    assert isinstance(port, int)
    # Nothing, or a question mark: a server that was never told its own host, or is not to tell it.
    return Place(host.decode() if isinstance(host, bytes) and host not in (b"", b"?") else asked.host, port)
