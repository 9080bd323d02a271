"""One packet on its way out: encoded once, framed once, the same bytes for everybody who gets it."""

from __future__ import annotations

import base64
from collections.abc import Hashable, Sequence
from enum import Enum
from typing import Final

from hubbub.transport.frames import binary_frame, deflate, text_frame, text_head

__all__ = ["CONTROL_OVERHEAD_BYTES", "Keep", "Message"]

CONTROL_OVERHEAD_BYTES: Final = 200
"""What a message in an outbox takes beside its bytes: the entry, and its share of what holds it."""


class Keep(Enum):
    """What becomes of a message when its peer reads too slowly."""

    MUST = "must"
    """It arrives, or the connection ends."""

    GAP = "gap"
    """It arrives, or its group is suspended on this connection, which is told so and asks for what it missed."""

    LATEST = "latest"
    """Only the newest of the same key is worth anything."""

    DROP = "drop"
    """Worth nothing when late."""


class Message:
    """An Engine.IO message: a text, and the binary attachments that follow it.

    `text` begins with the Engine.IO type (`4`); empty, there are only the attachments. `key` tells which messages with
    `Keep.LATEST` replace each other, and names the group of one with `Keep.GAP`.

    A text can also be given in `pieces`, of which the large ones are views of what other messages hold as well (a page
    of history, asked for by a thousand clients). It is then written as it is, piece by piece: nothing of it is copied
    for this message, or kept for it while it waits. It has no attachments.
    """

    __slots__ = ("_deflated", "_frame", "_text", "attachments", "keep", "key", "pieces", "size")

    def __init__(
        self,
        text: bytes,
        attachments: Sequence[bytes] = (),
        *,
        keep: Keep = Keep.MUST,
        key: Hashable = None,
        pieces: Sequence[bytes | memoryview] = (),
    ) -> None:
        self._text = text
        self.pieces = pieces
        self.attachments = attachments
        self.keep = keep
        self.key = key
        self.size = len(text) + CONTROL_OVERHEAD_BYTES
        if attachments:
            self.size += sum(map(len, attachments))
        if pieces:
            self.size += sum(map(len, pieces))
        self._frame: bytes | None = None
        self._deflated: bytes | None = None

    @property
    def text(self) -> bytes:
        return b"".join(self.pieces) if self.pieces else self._text

    def frame_pieces(self) -> list[bytes | memoryview]:
        """As WebSocket frames, to be written one behind the other."""
        if not self.pieces:
            return [self.frame]
        first, *rest = self.pieces
        return [text_head(self.size - CONTROL_OVERHEAD_BYTES) + first, *rest]

    @property
    def frame(self) -> bytes:
        """As WebSocket frames."""
        if self._frame is None:
            text = self.text
            text = text_frame(text) if text else b""
            self._frame = text + b"".join(map(binary_frame, self.attachments)) if self.attachments else text
        return self._frame

    def deflated(self, threshold: int) -> bytes:
        """As WebSocket frames for a peer that takes compressed ones; texts below the threshold stay as they are."""
        text = self.text
        if len(text) < threshold:
            return self.frame
        if self._deflated is None:
            packed = deflate(text)
            if len(packed) < len(text):
                self._deflated = text_frame(packed, compressed=True) + b"".join(map(binary_frame, self.attachments))
            else:
                self._deflated = self.frame
        return self._deflated

    def payloads(self) -> list[bytes]:
        """As packets of a polling payload (Engine.IO 4, "HTTP long-polling")."""
        text = self.text
        return [
            *([text] if text else []),
            *(b"b" + base64.b64encode(data) for data in self.attachments),
        ]
