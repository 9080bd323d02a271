"""Every bound of the wire in one place: what a peer may send, what may wait for it, and how long anything may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bytes, counts and seconds, each with the reason for its default.

    What waits for a peer (`outbox_*`) and what waits from it (`pending_*`) are bounds of one Engine.IO connection, in
    all its namespaces together.
    """

    packet_bytes: int = 131_072
    """The largest frame, polling body, and packet with its attachments. Announced as `maxPayload`."""

    depth: int = 32
    """Nesting of arrays and objects in a payload: far beyond any document of ours."""

    containers: int = 10_000
    """Arrays and objects in a payload: decoding them costs more than text of the same length."""

    attachments: int = 10
    """Binary attachments of one packet; the stock JavaScript client takes no more than ten."""

    name_chars: int = 128
    """Event names and namespaces."""

    refusals: int = 16
    """Namespace connects of one connection that were refused; who asks on is not a client."""

    outbox_bytes: int = 1_048_576
    """What may wait for a slow reader: two of the largest pages, and the traffic around them."""

    outbox_packets: int = 4096
    """The same, for very small packets, each of which costs memory beside its bytes."""

    pending_events: int = 256
    """Events that may wait or run before reading is paused."""

    pending_bytes: int = 524_288
    """The same, for large events."""

    event_s: float = 30.0
    """Within this time an event is answered, whatever hangs; stock clients give up at about the same time."""

    connect_s: float = 20.0
    """For the first CONNECT after the handshake, for a connection that has left its last namespace, and for the body of
    a request.
    """

    upgrade_s: float = 10.0
    """From the first byte of a probing WebSocket to its `5`."""

    stall_s: float = 10.0
    """A peer to whom nothing could be sent for this long does not read. One that reads slowly, does."""

    close_s: float = 5.0
    """From our closing to a hard end of the transport."""

    ping_interval_s: float = 15.0
    """From one PING to the next."""

    ping_timeout_s: float = 15.0
    """For the PONG."""

    deflate_bytes: int = 0
    """Packets of at least this size are compressed for peers that offer permessage-deflate; 0: never."""
