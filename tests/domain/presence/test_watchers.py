"""Groups of watchers, and what is encoded for them once."""

from __future__ import annotations

from typing import cast

from hubbub.cluster.base import Node
from hubbub.cluster.memory import LoneRegistry
from hubbub.domain.presence.service import Presence
from hubbub.domain.presence.watched import WINDOW_MS
from hubbub.domain.presence.watchers import Watchers
from hubbub.domain.roster import Client, User
from hubbub.history.base import History
from hubbub.transport.fanout import Fanout
from tests.support.domain import ManualClock, PromptBatch, RecordingOutlet, as_read, identity_of
from tests.support.house import outlet_of
from tests.support.presence import person


class Lobby:
    def __init__(self) -> None:
        self.clock = ManualClock()
        registry = LoneRegistry(Node("n", "1"))
        self.presence = Presence(cast(History, None), registry, self.clock, now=self.clock)
        self.fanout = Fanout("/presence", batch=PromptBatch())
        self.watchers = Watchers(self.presence, self.fanout)

    def client(self, user: str, *roles: str) -> Client:
        return Client(RecordingOutlet(), User(person(user)), identity_of(user, roles=roles))

    def arrive(self, user: str) -> None:
        self.presence.join(self.presence.connect(person(user), "tab"), "uid")
        self.clock.now += WINDOW_MS
        self.presence.ring()


class TestWatchers:
    async def test_a_snapshot_is_encoded_once_for_all_who_ask_before_it_changes(self) -> None:
        lobby = Lobby()
        lobby.arrive("ada")
        first, second = (lobby.watchers.add(lobby.client(user), "uid", "tea") for user in ("bob", "cyd"))
        assert first is second
        assert as_read(first)["count"] == 1
        lobby.arrive("dan")
        assert as_read(lobby.watchers.add(lobby.client("eve"), "uid", "tea"))["version"] == 2

    async def test_a_diff_is_one_packet_for_all_of_a_group(self) -> None:
        lobby = Lobby()
        clients = [lobby.client("bob"), lobby.client("cyd"), lobby.client("root", "admin")]
        for client in clients:
            lobby.watchers.add(client, "uid", "tea")
        lobby.arrive("ada")
        packets = [outlet_of(client).packets for client in clients]
        assert [len(each) for each in packets] == [1, 1, 1]
        assert packets[0][0] is packets[1][0]
        assert packets[0][0] is not packets[2][0]

    async def test_nothing_is_kept_when_the_last_one_goes(self) -> None:
        lobby = Lobby()
        bob, root = lobby.client("bob"), lobby.client("root", "admin")
        for client in (bob, root):
            lobby.watchers.add(client, "uid", "tea")
        lobby.watchers.forget(bob)
        assert lobby.watchers.is_watched("uid")
        lobby.watchers.remove(bob, "uid")
        lobby.watchers.end(bob, "uid", "kicked")
        lobby.arrive("ada")
        assert (outlet_of(bob).sent, len(outlet_of(root).of("presence"))) == ([], 1)
        lobby.watchers.end(root, "uid", "kicked")
        assert not lobby.watchers.is_watched("uid")
        assert outlet_of(root).of("room:removed") == [{"room": "tea", "reason": "kicked"}]
        assert (lobby.watchers._ids, lobby.watchers._encoded) == ({}, {})
        assert lobby.fanout.size("uid") == lobby.fanout.size("uid!") == 0
