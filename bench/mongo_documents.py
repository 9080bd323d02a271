"""What Hubbub writes to and reads from MongoDB: the documents, indexes, filters of the workload."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["INDEXES", "edit_of", "messages"]

INDEXES: Final[tuple[tuple[tuple[tuple[str, int], ...], bool], ...]] = (
    ((("room", 1), ("seq", 1)), True),
    ((("room", 1), ("revs", 1)), True),
    ((("room", 1), ("sender", 1), ("key", 1)), True),
    ((("room", 1), ("rev", 1)), False),
    ((("words", 1), ("scope", 1), ("at", -1), ("seq", -1), ("room", -1)), False),
)
"""Keys and whether they are unique, as `hubbub.history.mongo_server` has them for messages."""

_WORDS: Final = tuple(f"word{number}" for number in range(15))
_BODY: Final = " ".join(_WORDS)


def messages(room: str, first: int, count: int) -> list[dict[str, Any]]:
    """`count` messages of a room that claim the revisions from `first` on."""
    return [
        {
            "_id": f"{room}.{seq}",
            "room": room,
            "seq": seq,
            "rev": seq,
            "revs": [seq],
            "key": f"key-{seq}",
            "sender": f"user-{seq % 50}",
            "name": "Ada Lovelace",
            "guest": False,
            "body": _BODY,
            "reply_to": None,
            "mentions": [],
            "reactions": [],
            "at": 1_700_000_000_000 + seq,
            "edited_at": None,
            "gone": False,
            "bytes": 420,
            "words": [*_WORDS],
            "scope": "",
        }
        for seq in range(first, first + count)
    ]


def edit_of(room: str, seq: int, *, expected: int, rev: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The filter and the update of an edit that claims `rev`, of a message that is at `expected`."""
    change = {
        "$set": {"body": _BODY, "rev": rev, "edited_at": 1_700_000_000_000, "words": [*_WORDS]},
        # The list of revisions is held short, as the service bounds it; else its length would be measured.
        "$push": {"revs": {"$each": [rev], "$slice": -5}},
    }
    return {"_id": f"{room}.{seq}", "room": room, "rev": expected, "stub": None}, change
