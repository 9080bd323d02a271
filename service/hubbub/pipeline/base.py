"""Middleware for Socket.IO namespaces: a plain wrapper around what comes after it.

A namespace has one literal list of middleware (in `app.py`). It is applied to connects and to events alike: each gets
the call and `proceed`, and either answers itself (by raising a `HubbubError` or returning), or awaits
`proceed(call)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, Protocol

from hubbub.events import ClientEvent
from hubbub.transport.base import Connection, Incoming

__all__ = ["CONNECT", "Call", "Middleware", "Proceed", "compose"]

CONNECT: Final = "connect"
"""The name of the call that lets a client in. No client can send it: event names are looked up in the contract."""


@dataclass(slots=True)
class Call:
    """A connect or an event on its way through the pipeline.

    `data` is the auth payload of a connect, or an event's arguments as they came; behind the validation it is the
    request, a dictionary that fits the event's schema. `spec` is None for connects and for names that are not in the
    contract. `incoming` is None for connects.
    """

    connection: Connection
    name: str
    data: Any
    spec: ClientEvent | None = None
    incoming: Incoming | None = None

    @property
    def is_connect(self) -> bool:
        return self.incoming is None

    @property
    def label(self) -> str:
        """The name for metrics: one of a fixed set, whatever clients send."""
        return self.name if self.is_connect or self.spec is not None else "unknown"


Proceed = Callable[[Call], Awaitable[Any]]


class Middleware(Protocol):
    """One step of a pipeline. One that only looks at the call beforehand needs no coroutine of its own: it raises, or
    returns what `proceed` returns.
    """

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]: ...


def compose(middleware: Sequence[Middleware], endpoint: Proceed) -> Proceed:
    """One callable that sends a call through all middleware, in this order, to the endpoint."""
    proceed = endpoint
    for step in reversed(middleware):
        proceed = _wrap(step, proceed)
    return proceed


def _wrap(step: Middleware, proceed: Proceed) -> Proceed:
    # Python calls a method as it is sooner than an object that has one; a function is what it is.
    take = step if isinstance(step, FunctionType) else step.__call__

    def run(call: Call) -> Awaitable[Any]:
        return take(call, proceed)

    return run
