"""Moderators act upon those below them."""

from __future__ import annotations

import pytest

from hubbub.domain.moderation.ranks import require_above
from hubbub.errors import HubbubError
from tests.support.house import ChatHouse

LADDER = ("stranger", "member", "moderator", "owner", "root")


class TestRanks:
    async def test_each_reaches_those_below_and_nobody_else(self, house: ChatHouse) -> None:
        clients = {name: await house.enter(name, roles=["admin"] if name == "root" else ()) for name in LADDER}
        await house.room(clients["owner"])
        for name in ("member", "moderator"):
            await house.join(clients[name])
        about = {"room": "tea", "user": "moderator", "role": "moderator"}
        await house.chat.membership.role(clients["owner"], about)
        room = await house.chat.house.find("tea")
        for rank, name in enumerate(LADDER):
            for other_rank, other in enumerate(LADDER):
                # What a token gives to somebody else is not known: by what is recorded, root is a stranger.
                below = min(other_rank, 4) < rank if other != "root" else rank > 0
                if below and name != other:
                    await require_above(house.chat.house, clients[name], room, other)
                else:
                    with pytest.raises(HubbubError, match="forbidden"):
                        await require_above(house.chat.house, clients[name], room, other)
