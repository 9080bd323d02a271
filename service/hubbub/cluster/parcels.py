"""What goes over the bus as bytes: a line of JSON with the heads of all offers and whispers, and their documents behind
it.

The documents are cut out by their lengths and never looked at, so that a node which passes on a message neither decodes
nor encodes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from hubbub.cluster.bus import Offer, Whisper

__all__ = ["PARCEL_BYTES", "ParcelError", "is_of", "pack", "unpack"]

PARCEL_BYTES: Final = 256 * 1024
"""About how large a parcel becomes. One that is larger is a single document, and those have bounds of their own."""


class ParcelError(ValueError):
    """What came is no parcel."""


def pack(origin: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> Iterator[bytes]:
    """All of this as few parcels, in order; offers before whispers. `origin` is who says it."""
    heads: list[Any] = []
    documents: list[memoryview] = []
    size = 0
    everything: list[Offer | Whisper] = [*offers, *whispers]
    for each in everything:
        length = len(each.document)
        if documents and size + length > PARCEL_BYTES:
            yield _parcel(origin, heads, documents)
            heads, documents, size = [], [], 0
        if isinstance(each, Offer):
            heads.append((length, each.rev, each.seq, each.sender, each.at, each.mentions))
        else:
            heads.append((length, each.event, each.key, each.user))
        documents.append(each.document)
        size += length
    if documents:
        yield _parcel(origin, heads, documents)


def is_of(origin: str, parcel: bytes) -> bool:
    """Whether this is who says it, as far as the first bytes tell: what `pack` made is always found so."""
    return parcel.startswith(b"[" + orjson.dumps(origin) + b",")


def unpack(parcel: bytes) -> tuple[str, list[Offer], list[Whisper]]:
    """Who says it, and what. Raises `ParcelError`."""
    end = parcel.find(b"\n")
    offers: list[Offer] = []
    whispers: list[Whisper] = []
    try:
        origin, heads = orjson.loads(parcel[: max(end, 0)])
        view, at = memoryview(parcel), end + 1
        for head in heads:
            length = head[0]
            document = view[at : at + length]
            if length < 0 or len(document) != length:
                raise ParcelError("a document is cut off")
            at += length
            if len(head) == 6:
                _, rev, seq, sender, created_at, mentions = head
                if not (type(rev) is type(seq) is type(created_at) is int and type(sender) is str):
                    raise ParcelError("a head is not of an offer")
                if mentions and not all(type(each) is str for each in mentions):
                    raise ParcelError("mentions are no users")
                offers.append(Offer(rev, seq, sender, created_at, tuple(mentions), document))
            else:
                _, event, key, user = head
                if not (type(event) is type(key) is type(user) is str):
                    raise ParcelError("a head is not of a whisper")
                whispers.append(Whisper(event, key, user, document))
    except (orjson.JSONDecodeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise ParcelError("not a parcel") from error
    return str(origin), offers, whispers


def _parcel(origin: str, heads: list[Any], documents: list[memoryview]) -> bytes:
    return b"".join((orjson.dumps((origin, heads)), b"\n", *documents))
