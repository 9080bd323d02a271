"""A room with its members, put into the store before the service starts.

Ten thousand users who join one after the other would each be told to all who came before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hubbub.history.base import Person, Room, Standing
from hubbub.history.sqlite import SqliteHistory

__all__ = ["seed", "users"]


def users(prefix: str, count: int, *, first: int = 0) -> list[str]:
    """Ids of users, by number."""
    return [f"{prefix}-{number}" for number in range(first, first + count)]


async def seed(path: Path, rooms: Mapping[str, Sequence[str]]) -> None:
    """Make these public rooms, each with these members; the first owns it."""
    history = SqliteHistory(path)
    await history.open()
    try:
        now = int(time.time() * 1000)
        for number, (room, members) in enumerate(rooms.items()):
            record = Room(f"seed{number}", room, "public", room, "", max(2, 2 * len(members) + 1000), 0, now)
            standings = [
                (Standing(user, "member" if index else "owner", joined_at=now), Person(user, user))
                for index, user in enumerate(members)
            ]
            await history.create_room(record, standings)
    finally:
        await history.close()
