"""Entries for the control log, and what is in it."""

from __future__ import annotations

from typing import Any

from hubbub.history.base import Entry, History, Ledger, Record

__all__ = ["entry", "records_after", "said_after"]

PAGE = 50


def entry(key: str, *, at: int = 1, **data: Any) -> Entry:
    return Entry("notice", key, at, {"room": None, "level": "info", "text": key} | data)


async def records_after(ledger: Ledger, after: int) -> list[Record]:
    """All behind that number, as a node reads them that finds no hole."""
    records: list[Record] = []
    while page := await ledger.read(after=after, limit=PAGE):
        assert [record.n for record in page] == list(range(after + 1, after + 1 + len(page)))
        after = page[-1].n
        records += page
    return records


async def said_after(history: History, after: int) -> list[dict[str, Any]]:
    """What the records behind that number say, each with its kind, in an order of its own: that in which two of one
    change stand is the store's affair.
    """
    said = [{"kind": record.kind, **record.data} for record in await records_after(history.ledger, after)]
    return sorted(said, key=lambda one: (one["kind"], one.get("user", ""), one.get("why", "")))
