"""The connections that watch rooms, and what they are sent: `presence` events, and snapshots in acks.

Watchers of a room are a group of the channel of /presence, and administrators one of their own (`watched`). A diff is
encoded once for a group. So is a snapshot, for as long as its version stands: a crowd that comes back asks for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from hubbub.domain.documents import user_document
from hubbub.domain.ports import Channel
from hubbub.domain.presence.service import Presence
from hubbub.domain.presence.statuses import Face
from hubbub.domain.presence.watched import Diff, Snapshot
from hubbub.domain.roster import Client

__all__ = ["Watchers"]


class Watchers:
    """`client.joined` are the rooms that a connection in /presence watches."""

    def __init__(self, presence: Presence, channel: Channel) -> None:
        self._presence = presence
        self._channel = channel
        self._ids: dict[str, str] = {}
        self._encoded: dict[str, tuple[int, memoryview]] = {}
        presence.told = self._tell

    def add(self, client: Client, uid: str, room_id: str) -> memoryview:
        """A connection watches a room from now on; returns the snapshot that its next event follows."""
        admin = client.identity.is_admin
        self._ids[uid] = room_id
        client.joined.add(uid)
        self._channel.subscribe(client.outlet, _group(uid, admin))
        return self._encode(_group(uid, admin), self._presence.watch(uid, admin=admin))

    def remove(self, client: Client, uid: str) -> None:
        """A connection watches a room no more."""
        if uid in client.joined:
            client.joined.discard(uid)
            self._take_out(client, uid, client.identity.is_admin)

    def end(self, client: Client, uid: str, reason: str) -> None:
        """The same, against its will: it is told."""
        room_id = self._ids.get(uid)
        if uid in client.joined and room_id is not None:
            self.remove(client, uid)
            client.outlet.emit("room:removed", {"room": room_id, "reason": reason})

    def is_watched(self, uid: str) -> bool:
        """Whether anybody watches a room."""
        return uid in self._ids

    def forget(self, client: Client) -> None:
        """A connection is gone."""
        for uid in list(client.joined):
            self.remove(client, uid)

    def move(self, client: Client, uid: str, *, was_admin: bool) -> None:
        """The connection's user became an administrator, or is none any more: it sees the room with other eyes, and is
        sent a whole list.
        """
        if uid in client.joined and was_admin != client.identity.is_admin:
            snapshot = self._presence.watch(uid, admin=client.identity.is_admin)
            self._channel.subscribe(client.outlet, _group(uid, client.identity.is_admin))
            self._take_out(client, uid, was_admin)
            users = None if snapshot.users is None else _documents(snapshot.users)
            changes: list[Any] | None = None if users is None else []
            document = {
                **self._document(uid, snapshot.version, snapshot.count),
                "joined": changes,
                "left": changes,
                "changed": changes,
            }
            client.outlet.emit("presence", document if users is None else {**document, "users": users})

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take_out(self, client: Client, uid: str, admin: bool) -> None:
        group = _group(uid, admin)
        self._channel.unsubscribe(client.outlet, group)
        if self._channel.size(group) == 0:
            self._presence.unwatch(uid, admin=admin)
            self._encoded.pop(group, None)
            if self._channel.size(_group(uid, not admin)) == 0:
                self._ids.pop(uid, None)

    def _tell(self, uid: str, admin: bool, diff: Diff) -> None:
        document = {
            **self._document(uid, diff.version, diff.count),
            "joined": _documents(diff.joined),
            "left": diff.left,
            "changed": _documents(diff.changed),
        }
        if diff.users is not None:
            document["users"] = _documents(diff.users)
        group = _group(uid, admin)
        self._channel.publish(group, "presence", document, volatile=True, key=("presence", uid))

    def _document(self, uid: str, version: int, count: int) -> dict[str, Any]:
        return {"room": self._ids[uid], "version": version, "count": count}

    def _encode(self, group: str, snapshot: Snapshot) -> memoryview:
        known = self._encoded.get(group)
        if known is None or known[0] != snapshot.version:
            document = {
                "version": snapshot.version,
                "count": snapshot.count,
                "users": _documents(snapshot.users),
            }
            known = self._encoded[group] = (snapshot.version, memoryview(orjson.dumps(document)))
        return known[1]


def _group(uid: str, admin: bool) -> str:
    return f"{uid}!" if admin else uid


def _documents(faces: Iterable[Face] | None) -> list[dict[str, Any]] | None:
    return None if faces is None else [user_document(face.person, face) for face in faces]
