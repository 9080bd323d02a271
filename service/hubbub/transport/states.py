"""The life of one Engine.IO connection, as a table.

The rules. A session begins with a handshake on either transport. On polling it may be *probed* by a WebSocket that
names it; the probe becomes the transport with an UPGRADE packet, or is given up, which changes nothing. A session that
is *closing* has said its last word, or had no way to, and waits for its transport to end; no packet of the peer is
looked at any more. A *closed* one is out of the registry: a request that names it is answered as one that names none.

The theory. Each thing that happens is one input; what is not in the table is against the protocol in that state, and
the connection is closed with a reason. Deadlines are not states: which of them runs follows from the state
(`DEADLINES`), and a deadline that passes is an input like any other. So every state but the last has an end, whatever
the peer does: a heartbeat that is missed closes the polling and WebSocket states, an upgrade that takes too long gives
the probe up, and a closing that takes too long cuts the transport.

Sources: Engine.IO protocol 4, "Transports", "Upgrade", "Heartbeat"; Socket.IO protocol 5, "Connection to a namespace".
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

__all__ = ["DEADLINES", "TRANSITIONS", "Deadline", "Input", "State", "ViolationError"]


class State(Enum):
    """Where a session stands."""

    POLLING = "polling"
    PROBING = "probing"
    WEBSOCKET = "websocket"
    CLOSING = "closing"
    CLOSED = "closed"


class Input(Enum):
    """What can happen to it."""

    PROBE = "probe"
    """A WebSocket that names the session has sent `2probe`."""

    UPGRADE = "upgrade"
    """The probing WebSocket has sent `5`."""

    GIVE_UP = "give up"
    """The probing WebSocket is gone, or has taken too long."""

    CLOSE = "close"
    """Either side wants an end: CLOSE packet, close frame, protocol violation, missed deadline, `drop`."""

    LOST = "lost"
    """The transport is gone, or its end was waited for long enough."""


class Deadline(Enum):
    """What may take only so long."""

    PING = "ping"
    """To our next PING."""

    PONG = "pong"
    CONNECT = "connect"
    UPGRADE = "upgrade"
    STALL = "stall"
    """To progress of a full outbox."""

    CLOSE = "close"
    END = "end"
    """To dealing with a transport that has ended: at once, but not with ten thousand others in one turn."""


class ViolationError(Exception):
    """The peer broke the protocol. `reason` is a clause for the log; nothing that the peer sent is in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


TRANSITIONS: Final = MappingProxyType(
    {
        (State.POLLING, Input.PROBE): State.PROBING,
        (State.POLLING, Input.CLOSE): State.CLOSING,
        (State.POLLING, Input.LOST): State.CLOSED,
        (State.PROBING, Input.UPGRADE): State.WEBSOCKET,
        (State.PROBING, Input.GIVE_UP): State.POLLING,
        (State.PROBING, Input.CLOSE): State.CLOSING,
        (State.PROBING, Input.LOST): State.CLOSED,
        (State.WEBSOCKET, Input.CLOSE): State.CLOSING,
        (State.WEBSOCKET, Input.LOST): State.CLOSED,
        (State.CLOSING, Input.CLOSE): State.CLOSING,
        (State.CLOSING, Input.GIVE_UP): State.CLOSING,
        (State.CLOSING, Input.LOST): State.CLOSED,
        (State.CLOSED, Input.CLOSE): State.CLOSED,
        (State.CLOSED, Input.GIVE_UP): State.CLOSED,
        (State.CLOSED, Input.LOST): State.CLOSED,
    }
)
"""From a state and an input to the next state."""

_ALIVE: Final = frozenset({Deadline.PING, Deadline.PONG, Deadline.CONNECT, Deadline.STALL, Deadline.END})

DEADLINES: Final = MappingProxyType(
    {
        State.POLLING: _ALIVE,
        State.PROBING: _ALIVE | {Deadline.UPGRADE},
        State.WEBSOCKET: _ALIVE,
        State.CLOSING: frozenset({Deadline.CLOSE, Deadline.END}),
        State.CLOSED: frozenset(),
    }
)
"""The deadlines that can run in a state."""
