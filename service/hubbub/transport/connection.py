"""One client in one namespace, as the layers above see it (`base.Connection`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubbub.transport.message import Message
from hubbub.transport.outbox import Verdict
from hubbub.transport.packets import event_message
from hubbub.transport.session import Session
from hubbub.transport.states import State

if TYPE_CHECKING:
    from hubbub.transport.base import Handler, Link
    from hubbub.transport.server import Server

__all__ = ["NamespaceConnection"]


class NamespaceConnection:
    """See above. `entered`: the handler let this connection in, and has not been told of its end. `unwanted`: it was
    ended before that.
    """

    __slots__ = ("entered", "handler", "id", "is_open", "namespace", "server", "session", "state", "unwanted")

    def __init__(self, server: Server, session: Session, namespace: str, sid: str, handler: Handler) -> None:
        self.server = server
        self.session = session
        self.namespace = namespace
        self.id = sid
        self.handler = handler
        self.state: Any = None
        self.is_open = False
        self.entered = False
        self.unwanted = False

    @property
    def link(self) -> Link:
        return self.session.link

    @property
    def transport(self) -> str:
        return "websocket" if self.session.state is State.WEBSOCKET else "polling"

    def send(self, message: Message) -> Verdict:
        if not self.is_open:
            return Verdict.SHED
        return self.server.batch.send(self.session, message)

    def emit(self, event: str, data: Any) -> None:
        if self.is_open:
            self.send(event_message(self.namespace, event, data))

    async def wait_room(self) -> None:
        if self.is_open and self.session.is_crowded:
            await self.session.wait_room()

    def disconnect(self) -> None:
        self.server.disconnect_nowait(self)

    def drop(self, *, restart: bool = False) -> None:
        self.server.drop_nowait(self.session, restart=restart)
