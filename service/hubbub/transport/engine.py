"""Engine.IO 4 over aiohttp: the requests that open, upgrade, poll and post, and the registry of sessions.

It has the few methods that python-socketio asks its engine for, and none of engineio beneath.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from hubbub.transport import frames
from hubbub.transport.addresses import Addresses
from hubbub.transport.base import Link
from hubbub.transport.bounds import Bounds
from hubbub.transport.handshake import read_handshake
from hubbub.transport.message import Message
from hubbub.transport.polling import PollingShell
from hubbub.transport.session import Owner, Session
from hubbub.transport.states import State, ViolationError
from hubbub.transport.websocket import WebSocketShell
from hubbub.transport.wheel import Wheel

__all__ = ["Engine"]

_UNKNOWN_TRANSPORT: Final = (0, "Transport unknown")
_UNKNOWN_SID: Final = (1, "Session ID unknown")
_BAD_METHOD: Final = (2, "Bad handshake method")
_BAD_REQUEST: Final = (3, "Bad request")
_FORBIDDEN: Final = (4, "Forbidden")
_BAD_VERSION: Final = (5, "Unsupported protocol version")

_HANDSHAKES: Final = ("polling", "websocket")
_DEFLATE_ANSWER: Final = (
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
)
_ASKS_OTHERS: Final = "Hubbub-Pass-On"
"""A balancer that sends this asks another node if we say no, and asks again without it if all have said no. Whoever
sends it on their own account is refused where others are taken, and that is all.
"""

_RANDOM_BYTES: Final = 15
"""120 bits in an id: whoever knows one can speak as its client."""


class Engine:
    """The Engine.IO server.

    `allow_origin` is asked with the origin of a page and the host that it connects to. `max_per_address` bounds the
    connections of one address; 0: no bound.
    """

    async_mode = "aiohttp"

    def __init__(
        self,
        *,
        owner: Owner,
        bounds: Bounds,
        node: str,
        allow_origin: Callable[[str, str], bool],
        addresses: Addresses,
        max_per_address: int,
        **ignored: Any,
    ) -> None:
        self.bounds = bounds
        self.sessions: dict[str, Session] = {}
        self.wheel = Wheel()
        self.accepting = True
        self.refusal = ""
        self.passes_on: Callable[[], bool] = lambda: False
        """Whether a newcomer had better go to another node. It is asked only where a balancer says that it has one."""
        self._owner = owner
        self._node = node
        self._allow_origin = allow_origin
        self._addresses = addresses
        self._max_per_address = max_per_address
        self._by_address: dict[str, int] = {}
        self._opened_last = 0
        self._user_sessions: dict[str, dict[str, Any]] = {}
        self.leaving: dict[str, int] = {}
        """How many handlers are still to be told of the end of a session: what is kept for it is theirs till then."""

    # -- as python-socketio asks its engine --------------------------------------------------------------------------

    def on(self, event: str, handler: Any = None) -> None:
        """Handlers are not looked up by name here: the owner has methods."""

    def generate_id(self) -> str:
        """A session id: the node's name, by which a balancer routes, and 120 random bits."""
        return f"{self._node}.{secrets.token_urlsafe(_RANDOM_BYTES)}"

    def transport(self, eio_sid: str) -> str:
        return "websocket" if self.sessions[eio_sid].state is State.WEBSOCKET else "polling"

    async def get_session(self, eio_sid: str) -> dict[str, Any]:
        """What an application keeps for a connection. Raises `KeyError` for one that is gone."""
        if eio_sid not in self.sessions and eio_sid not in self.leaving:
            raise KeyError("Session not found")
        return self._user_sessions.setdefault(eio_sid, {})

    def create_event(self) -> asyncio.Event:
        return asyncio.Event()

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        return asyncio.ensure_future(target(*args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def attach(self, app: web.Application, path: str) -> None:
        app.router.add_route("*", f"/{path.strip('/')}/", self.handle_request)

    def links_by_age(self) -> list[Link]:
        """The links of all connections, the oldest first."""
        return [session.link for session in self.sessions.values()]

    async def shutdown(self) -> None:
        """End all connections now."""
        for session in list(self.sessions.values()):
            session.shell.abort()
            session.lost()
        self.wheel.close()

    def gone(self, session: Session) -> None:
        """Forget a session that is closed."""
        self.sessions.pop(session.id, None)
        address = session.link.handshake.address
        left = self._by_address.get(address, 0) - 1
        if left > 0:
            self._by_address[address] = left
        else:
            self._by_address.pop(address, None)

    def forget(self, eio_sid: str) -> None:
        """Nobody asks any more for what was kept for a connection."""
        self._user_sessions.pop(eio_sid, None)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """One request to `/socket.io/`."""
        headers: dict[str, str] = {}
        origin = request.headers.get("Origin")
        if origin is not None:
            if not origin.isascii() or not self._allow_origin(origin, self._addresses.host_of(request)):
                return _refusal(_FORBIDDEN, headers, "Pages of this origin may not use this service.")
            headers = {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Vary": "Origin",
            }
        if request.method == "OPTIONS":
            headers |= {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"}
            wanted = request.headers.get("Access-Control-Request-Headers")
            if wanted:
                headers["Access-Control-Allow-Headers"] = wanted
            return web.Response(status=204, headers=headers)
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, max_num_fields=None))
        transport = query.get("transport")
        if transport not in _HANDSHAKES:
            return _refusal(_UNKNOWN_TRANSPORT, headers)
        if "j" in query:
            return _refusal(_BAD_REQUEST, headers, "JSONP is not served.")
        if query.get("EIO") != "4":
            return _refusal(_BAD_VERSION, headers)
        sid = query.get("sid")
        if sid is None:
            return await self._handshake(request, transport, headers)
        session = self.sessions.get(sid)
        if session is None or not session.is_open:
            if session is not None and request.method == "GET" and transport == "polling":
                last = session.shell
                if isinstance(last, PollingShell) and last.has_leftovers:
                    return _payload(last.take_leftovers(), headers)
            return _refusal(_UNKNOWN_SID, headers)
        if transport == "websocket":
            return self._probe(request, session, headers)
        shell = session.shell
        if not isinstance(shell, PollingShell):
            return _refusal(_BAD_REQUEST, headers)
        if request.method == "GET":
            return await self._poll(request, session, shell, headers)
        if request.method == "POST":
            return await self._post(request, session, shell, headers)
        return _refusal(_BAD_REQUEST, headers)

    async def _handshake(self, request: web.Request, transport: str, headers: dict[str, str]) -> web.StreamResponse:
        if request.method != "GET":
            return _refusal(_BAD_METHOD, headers)
        if not self.accepting:
            return web.Response(status=503, text=self.refusal, headers=headers | {"Retry-After": "1"})
        if _ASKS_OTHERS in request.headers and self.passes_on():
            # Nginx goes on behind 503 as well, but takes it for a failure of the node, and leaves the node out for all.
            return web.Response(status=404, text="Another node has more room.", headers=headers | {"Retry-After": "1"})
        key = _websocket_key(request) if transport == "websocket" else None
        if transport == "websocket" and key is None:
            return _refusal(_BAD_REQUEST, headers)
        address = self._addresses.address_of(request)
        if self._is_crowded(address):
            return web.Response(status=429, text="Too many connections.", headers=headers | {"Retry-After": "5"})
        self._by_address[address] = self._by_address.get(address, 0) + 1
        link = Link(self.generate_id(), read_handshake(request, address), opened_at=self._opened_now())
        bounds = self.bounds
        opening = {
            "sid": link.id,
            "upgrades": ["websocket"] if key is None else [],
            "pingInterval": round(bounds.ping_interval_s * 1000),
            "pingTimeout": round(bounds.ping_timeout_s * 1000),
            "maxPayload": bounds.packet_bytes,
        }
        text = b"0" + orjson.dumps(opening)
        first_ping_s = bounds.ping_interval_s * random.uniform(0.5, 1.0)  # noqa: S311  # So that many do not come at once.
        if key is None:
            polling = PollingShell()
            session = Session(link, self._owner, self.wheel, bounds, state=State.POLLING, shell=polling)
            polling.attach(session)
            self.sessions[link.id] = session
            session.start(first_ping_s)
            return _payload(text, headers)
        shell = WebSocketShell(deflate=self._takes_deflate(request))
        session = Session(link, self._owner, self.wheel, bounds, state=State.WEBSOCKET, shell=shell)
        self.sessions[link.id] = session
        session.start(first_ping_s)
        self._upgrade(request, key, shell, session, headers)
        session.send(Message(text))
        raise asyncio.CancelledError  # The connection is ours: the task of aiohttp ends as if its peer had gone.

    def _opened_now(self) -> int:
        """The time, in milliseconds since the Unix epoch; later than any that was given before."""
        self._opened_last = max(time.time_ns() // 1_000_000, self._opened_last + 1)
        return self._opened_last

    def _is_crowded(self, address: str) -> bool:
        """Whether an address has as many connections as it may. Loopback has no bound: a proxy that nobody told us of
        would be one client.
        """
        if not self._max_per_address or self._by_address.get(address, 0) < self._max_per_address:
            return False
        return not address.startswith("127.") and address not in ("", "::1")

    def _probe(self, request: web.Request, session: Session, headers: dict[str, str]) -> web.StreamResponse:
        key = _websocket_key(request)
        if key is None or session.state is not State.POLLING or session.candidate is not None:
            return _refusal(_BAD_REQUEST, headers)
        shell = WebSocketShell(deflate=self._takes_deflate(request), probe_s=session.bounds.upgrade_s)
        session.candidate = shell
        self._upgrade(request, key, shell, session, headers)
        raise asyncio.CancelledError  # The connection is ours: the task of aiohttp ends as if its peer had gone.

    def _takes_deflate(self, request: web.Request) -> bool:
        if not self.bounds.deflate_bytes:
            return False
        offers = request.headers.getall("Sec-WebSocket-Extensions", [])
        return any(_is_plain_deflate(offer) for line in offers for offer in line.split(","))

    def _upgrade(
        self,
        request: web.Request,
        key: bytes,
        shell: WebSocketShell,
        session: Session,
        headers: Mapping[str, str],
    ) -> None:
        """Answer 101, and put our protocol in the place of aiohttp's."""
        transport = request.transport
        protocol: Any = request.protocol
        if transport is None:
            self._vanished(session)
        else:
            answer = [
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: ",
                frames.accept_key(key),
                b"\r\n",
                _DEFLATE_ANSWER if shell.deflate else b"",
                *(f"{name}: {value}\r\n".encode() for name, value in headers.items()),
                b"\r\n",
            ]
            transport.write(b"".join(answer))
            early: bytes = protocol._message_tail
            shell.take_over(transport, session)
            # aiohttp's protocol is told that its connection is gone, or it would keep it, and its parser, for ever.
            protocol.transport = None
            protocol.connection_lost(None)
            if early:
                asyncio.get_running_loop().call_soon(shell.data_received, early)

    def _vanished(self, session: Session) -> None:
        if session.state is State.WEBSOCKET:
            asyncio.get_running_loop().call_soon(session.lost)

    async def _poll(
        self, request: web.Request, session: Session, shell: PollingShell, headers: dict[str, str]
    ) -> web.StreamResponse:
        if shell.polling:
            if shell.polled_by is not None and shell.polled_by():
                session.violate(ViolationError("two polls at once"))
                return _refusal(_BAD_REQUEST, headers)
            await shell.give_up_poll()
        return _payload(await shell.poll(lambda: request.transport is not None), headers)

    async def _post(
        self, request: web.Request, session: Session, shell: PollingShell, headers: dict[str, str]
    ) -> web.StreamResponse:
        if shell.posting:
            session.violate(ViolationError("two posts at once"))
            return _refusal(_BAD_REQUEST, headers)
        shell.posting = True
        try:
            async with asyncio.timeout(self.bounds.connect_s):
                body = await _body(request, self.bounds.packet_bytes)
            await shell.receive(body)
        except ViolationError as violation:
            session.violate(violation)
        except web.HTTPRequestEntityTooLarge:
            session.violate(ViolationError("a request is larger than this server takes"))
            return web.Response(status=413, text="Too large.", headers=headers)
        except TimeoutError:
            session.violate(ViolationError("a request takes too long"))
            return web.Response(status=408, text="Too slow.", headers=headers)
        except (ConnectionError, web.RequestPayloadError):
            # The peer went away in the middle of it, or cannot write chunks: nobody reads this.
            return _refusal(_BAD_REQUEST, headers)
        finally:
            shell.posting = False
        closing = session.closing
        if closing is not None and closing.code == "protocol_violation":
            return _refusal(_BAD_REQUEST, headers, closing.reason)
        return web.Response(body=b"ok", headers=headers | {"Content-Type": "text/html"})


async def _body(request: web.Request, limit: int) -> bytes:
    """A body read whole, however many pieces it comes in."""
    if (request.content_length or 0) > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=request.content_length or 0)
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)
        parts.append(part)
    return b"".join(parts)


def _websocket_key(request: web.Request) -> bytes | None:
    """The key of a proper WebSocket handshake (RFC 6455, section 4.2.1); None if the request is none."""
    headers = request.headers
    tokens = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
    if (
        request.method != "GET"
        or headers.get("Upgrade", "").lower() != "websocket"
        or "upgrade" not in tokens
        or headers.get("Sec-WebSocket-Version") != "13"
    ):
        return None
    key = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        return key.encode() if len(base64.b64decode(key, validate=True)) == 16 else None
    except (binascii.Error, ValueError):
        return None


def _is_plain_deflate(offer: str) -> bool:
    """Whether an offer of permessage-deflate is one that our answer fits: windows of the usual size (RFC 7692)."""
    name, *parameters = (part.strip().lower() for part in offer.split(";"))
    known = ("server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits")
    return name == "permessage-deflate" and all(part.partition("=")[0].strip() in known for part in parameters)


def _payload(body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=body, headers=headers | {"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store"}
    )


def _refusal(what: tuple[int, str], headers: dict[str, str], message: str | None = None) -> web.Response:
    """As the reference server refuses: a number and a text, so that stock clients know what to do."""
    code, text = what
    body = orjson.dumps({"code": code, "message": message or text})
    return web.Response(
        status=403 if code == _FORBIDDEN[0] else 400, body=body, headers=headers | {"Content-Type": "application/json"}
    )
