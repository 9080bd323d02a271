"""Packets, frames and requests that nobody should send, by the thousand: the server lives, and says why it hung up.

Each case is made from its seed alone. One that fails says `FUZZ_SEED=…`, which in the environment runs just that;
`FUZZ_SEED=1-25` runs a row of them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import pytest
import structlog
from aiohttp import http_exceptions, web

from hubbub.errors import HubbubError
from hubbub.transport.base import Connection, Incoming, Order
from hubbub.transport.bounds import Bounds
from hubbub.transport.server import Server
from tests.support.faults_peer import CLOSE, PONG, PollingPeer, WebSocketPeer, frame, http, opened

TIMEOUT_S: Final = 10.0
PARTS: Final = 6
CASES: Final = 3_000
AT_ONCE: Final = 25
"""Cases beside each other: an end is dealt with in a slice of time, which would be waited for by each."""

CASES_IN_FULL: Final = 100_000
BOUNDS: Final = Bounds(packet_bytes=20_000, connect_s=1.0, close_s=0.5, ping_interval_s=1.0, ping_timeout_s=TIMEOUT_S)

Packet = str | bytes
Make = Callable[[random.Random], bytes]


# -- what is sent ------------------------------------------------------------------------------------------------------

VALID: Final[Sequence[Sequence[Packet]]] = (
    ("40",),
    ("40/chat,",),
    ('40/chat,{"token":"x"}',),
    ("41",),
    ("41/chat,",),
    ("3",),
    ('42["echo",1]',),
    ('421["echo",{"a":[1,2,{"b":null}]}]',),
    ("40/chat,", '42/chat,7["echo","ü",-1.5e3,true]'),
    ("40/chat,", '42/chat,["free"]', '42/chat,8["send"]', '42/chat,9["echo"]'),
    ("431[1]",),
    ('451-["echo",{"_placeholder":true,"num":0}]', b"abc"),
    ("40/chat,", '452-/chat,3["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', b"abc", b""),
    ('461-1[{"_placeholder":true,"num":0}]', b"abc"),
)

GRAMMAR: Final = re.compile(
    rb"""[136] | 4(?:
        0 (?:/[^,]*(?:,|\Z))? (?:\s*\{.*\}\s*)? |
        1 (?:/[^,]*(?:,|\Z))? |
        2 (?:/[^,]*,)? [0-9]* \s*\[.* |
        3 (?:/[^,]*,)? [0-9]+ \s*\[.*\]\s* |
        [56] 0*(?:[1-9]|10) - (?:/[^,]*,)? [0-9]* \s*\[.* )""",
    re.DOTALL | re.VERBOSE,
)
"""What a text may look like at the most: any other ends the connection. Much that fits has to end it as well."""

DIGITS: Final = "٠١٢٣٤٥٦٧٨٩०१२३४५６７８９²½Ⅷ𝟗"
ODD: Final = (
    *(b"\x00", b"\x1e", b"\xff\xfe", b"\xed\xa0\x80", "\u2028".encode(), b"\\ud800", b"NaN", b"1e999", b"-", b"/"),
    *(b",", b'"', b"\\", b"[]", b"{}", b"null", b'"__proto__"', b'"_placeholder":true,"num":', b"b", b"\r\n"),
)
RESERVED: Final = ("connect", "disconnect", "connect_error", "*", "newListener")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Changed in one to three places."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(MUTATIONS)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> tuple[int, int]:
    start, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return start, end


def flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return bytes((rng.randrange(256),))
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def cut(data: bytes, rng: random.Random) -> bytes:
    start, end = _place(data, rng)
    return data[:start] + data[end:]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start, end = _place(data, rng)
    return data[:start] + data[start:end] * rng.choice((2, 3, 20)) + data[end:]


def splice(data: bytes, rng: random.Random) -> bytes:
    other = as_bytes(rng.choice(rng.choice(VALID)))
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(ODD) + data[at:]


def change_number(data: bytes, rng: random.Random) -> bytes:
    """A number that is huge, negative, a fraction, or of another script in the place of one."""
    found = list(re.finditer(rb"[0-9]+", data))
    if not found:
        return insert(data, rng)
    number = rng.choice(found)
    new = rng.choice(
        (b"9" * rng.choice((10, 16, 40, 5000)), b"-1", b"1.5", b"00", b"1e400", rng.choice(DIGITS).encode())
    )
    return data[: number.start()] + new + data[number.end() :]


def nest(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    depth = rng.choice((5, 40, 3000))
    return data[:at] + rng.choice((b"[", b'{"a":', b"[{}," * 2)) * depth + data[at:]


MUTATIONS: Final = (flip, flip, cut, cut, repeat, splice, insert, insert, change_number, nest)


def as_bytes(packet: Packet) -> bytes:
    return packet.encode() if isinstance(packet, str) else packet


def some_packets(rng: random.Random) -> list[tuple[bool, bytes]]:
    """One of the valid sequences with a mutation in it; whether each is binary, and what it says."""
    packets = [(isinstance(packet, bytes), as_bytes(packet)) for packet in rng.choice(VALID)]
    at = rng.randrange(len(packets))
    is_binary, data = packets[at]
    kind = rng.randrange(8)
    if kind == 0:
        packets[at] = (not is_binary, data)
    elif kind == 1:
        packets.insert(at, packets[rng.randrange(len(packets))])
    elif kind == 2:
        del packets[at]
    else:
        packets[at] = (is_binary, mutated(data, rng))
    return packets


def some_violation(rng: random.Random) -> list[tuple[bool, bytes]]:
    """Packets of which the last has to end the connection."""
    digit = rng.choice(DIGITS)
    texts: list[Packet] = [
        "",
        rng.choice("05789abx٣é\x00"),
        "4",
        "4" + rng.choice("789x٣ -["),
        f"4{digit}" + '["echo"]',
        f'45{digit}-["echo",{{"_placeholder":true,"num":0}}]',
        f"45{rng.randint(11, 10**9)}-" + '["echo"]',
        f"45{'9' * 50}-" + '["echo"]',
        "42" + str(rng.randint(10**15, 10**30)) + '["echo"]',
        "42" + rng.choice(("{}", "[]", "[1]", "[null]", "[[]]", "1", '"echo"', "null")),
        "42" + json.dumps([rng.choice(RESERVED), "forged"]),
        "42" + json.dumps(["x" * rng.randint(129, 3000)]),
        "40" + rng.choice(("[]", "1", '"x"', "{", "{'a'}", '{"a":NaN}', '{"a":' * 100)),
        "43" + rng.choice(("[]", "1", "1{}", "1[", "x[]", "-1[]")),
        "44" + rng.choice(("", "{}", '{"message":"x"}')),
        "41" + rng.choice(("x", "[]", "1")),
        "/".join(("40", "x" * 200)),
        "42" + "x" * BOUNDS.packet_bytes,
        rng.randbytes(rng.randint(0, 50)),
        b"\xff" * BOUNDS.packet_bytes + b"x",
    ]
    before = [(False, as_bytes(text)) for text in rng.sample(("40/chat,", '42["echo"]', "3", "6"), rng.randint(0, 3))]
    packet = rng.choice(texts)
    if rng.randrange(6) == 0:
        before.append((False, b'452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'))
        packet = rng.choice(('42["echo"]', "x", "40/chat,"))
    return [*before, (isinstance(packet, bytes), as_bytes(packet))]


def some_bad_frames(rng: random.Random) -> bytes:
    """Frames of which the last breaks RFC 6455."""
    text = b'42["echo",1]'
    control = rng.choice((CLOSE, 9, PONG))
    data = rng.choice((1, 2))
    bad: list[bytes] = [
        frame(1, text, mask=None),
        frame(1, text, first=0x81 | rng.choice((0x40, 0x20, 0x10, 0x70))),
        frame(rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), text),
        frame(control, b"x" * rng.randint(126, 300)),
        frame(control, b"", first=control),
        frame(0, text),
        frame(0, text, first=0),
        frame(data, text, first=data) + frame(data, text),
        frame(1, b"4", first=1) + frame(0, b"x", first=0) * 200,
        frame(data, b"", length=rng.choice((BOUNDS.packet_bytes + 1, 2**31, 2**32, 2**63 - 1, 2**64 - 1))),
        bytes((0x80 | data, 0xFE, 0, rng.randrange(126))) + bytes(4),
        bytes((0x80 | data, 0xFF)) + rng.randrange(65_536).to_bytes(8, "big") + bytes(4),
        frame(1, rng.choice((b"42\xff", b'42["\xc0\xaf"]', b'42["\xed\xa0\x80"]', b'42["\xf5\x80\x80\x80"]'))),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, rng.choice((0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)).to_bytes(2, "big")),
        frame(CLOSE, b"\x03\xe8\xff\xfe"),
    ]
    before = rng.choice((b"", frame(1, text), frame(9, b"ping"), frame(1, b"4", first=1) + frame(0, text[1:])))
    last = rng.choice(bad)
    return before + (frame(1, b"3") + last if last[:1] == b"\x00" else last)


def some_bytes(rng: random.Random) -> bytes:
    """Frames with bytes changed anywhere."""
    data = b"".join(frame(2 if isinstance(packet, bytes) else 1, as_bytes(packet)) for packet in rng.choice(VALID))
    return mutated(data, rng) if rng.randrange(5) else rng.randbytes(rng.randint(1, 60))


def some_request(rng: random.Random, sid: str) -> bytes:
    """A request with something in it that is not as it should be."""
    query = rng.choice((f"EIO=4&transport=polling&sid={sid}", "EIO=4&transport=polling", "EIO=4&transport=websocket"))
    method = rng.choice(("GET", "POST", "POST", "OPTIONS", "PUT", "DELETE", "HEAD", "PATCH", "FOO"))
    body = b"\x1e".join(as_bytes(rng.choice(rng.choice(VALID))) for _ in range(rng.randint(0, 3)))
    headers = {"Host": "127.0.0.1", "Content-Length": str(len(body))}
    kind = rng.randrange(8)
    if kind == 0:
        query = mutated(query.encode(), rng).decode("latin-1").translate({10: None, 13: None, 32: "+"})
    elif kind == 1:
        query += "&" + rng.choice(("j=0", "EIO=3", "transport=x", "sid=", "sid[]=1", "%", "&" * 500, "a=%ff", "b64=1"))
    elif kind == 2:
        headers["Content-Length"] = rng.choice(("-1", "1e3", "٣", "99999999999999999999", "20001", "0", "", " 5"))
    elif kind == 3:
        del headers["Content-Length"]
        headers["Transfer-Encoding"] = rng.choice(("chunked", "gzip, chunked", "identity", "x"))
        size = rng.choice((f"{len(body):x}", "-1", "fffffffffffffffff", "zz", "", "0", f"{len(body) + 5:x}"))
        body = size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
    elif kind == 4:
        headers |= {"Origin": rng.choice(("http://evil.example", "null", "", "\u2028", "http://127.0.0.1"))}
    elif kind == 5:
        headers |= {
            "Connection": rng.choice(("Upgrade", "upgrade, keep-alive", "x", "")),
            "Upgrade": rng.choice(("websocket", "WebSocket", "h2c", "")),
            "Sec-WebSocket-Version": rng.choice(("13", "8", "x")),
            "Sec-WebSocket-Key": rng.choice(("AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", "", "é", "=" * 24)),
            "Sec-WebSocket-Extensions": rng.choice(("permessage-deflate", ";;;", "x; y=" + "z" * 500)),
        }
    elif kind == 6:
        headers |= {rng.choice(("Cookie", "X-Forwarded-For", "Accept")): mutated(b"a=1; b", rng).decode("latin-1")}
    else:
        body = mutated(body, rng)
        headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"{method} /socket.io/?{query} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace")
    request = head + body
    return mutated(request, rng) if rng.randrange(10) == 0 else request


# -- who is sent it ----------------------------------------------------------------------------------------------------


class EchoHandler:
    """A namespace of ours that lets in everybody and answers."""

    def order(self, event: str) -> Order:
        return {"free": Order.FREE, "send": Order.PIPELINED}.get(event, Order.SERIAL)

    async def connect(self, connection: Connection, auth: Any) -> Callable[[], None] | None:
        return None

    async def event(self, connection: Connection, incoming: Incoming) -> Any:
        incoming.admitted()
        return {"ok": True}

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        """Nothing is kept of anybody."""

    def suspended(self, connection: Connection, group: str) -> None:
        """Nobody is in a group."""

    def outside(self, event: str, data: object, room: object) -> Iterable[Connection]:
        return ()

    def refused(self, error: HubbubError) -> dict[str, Any]:
        return {"ok": False, "error": error.document()}


class _Records(logging.Handler):
    """What the libraries log; that a request is no HTTP is said by the web server, and is not our news."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        if kind is None or not issubclass(kind, http_exceptions.HttpProcessingError):
            self.texts.append(f"{record.name}: {record.getMessage()} {record.exc_info}")


class Target:
    """A served instance, two clients of it that behave, and everything that it says of the others."""

    def __init__(self, server: Server, port: int, lines: list[dict[str, Any]]) -> None:
        self.server = server
        self.port = port
        self.complaints: list[str] = []
        self._lines = lines
        self._ends: dict[str, list[str]] = {}
        self._number = 0

    def ends_of(self, sid: str) -> list[str]:
        """The codes with which a connection was said to end."""
        self._read()
        return self._ends.get(sid, [])

    def check_quiet(self) -> None:
        """Fails if anything was logged that is for an operator to look into."""
        self._read()
        assert self.complaints == []

    def _read(self) -> None:
        for line in self._lines:
            if line["event"] == "link.closing":
                assert line["reason"] or line["code"] != "protocol_violation", line
                self._ends.setdefault(line["link"], []).append(line["code"])
            if line["log_level"] in ("error", "critical") or line.get("exc_info"):
                self.complaints.append(str(line))
        self._lines.clear()

    async def wait_gone(self, sid: str) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while sid in self.server.eio.sessions:
                await asyncio.sleep(0.001)

    async def check_well_behaved(self, peer: WebSocketPeer, polling: PollingPeer) -> None:
        """Fails unless both are answered."""
        self._number += 1
        ack = f"43{self._number}[{self._number}]"
        async with asyncio.timeout(TIMEOUT_S):
            await peer.send(f'42{self._number}["echo",{self._number}]')
            assert await peer.receive() == ack
            assert (await polling.post(f'42{self._number}["echo",{self._number}]')).status == 200
            while ack not in (packets := (await polling.poll()).packets):
                assert set(packets) <= {"2", "6"}
                if "2" in packets:
                    await polling.post("3")
            if "2" in packets:
                await polling.post("3")


@contextlib.contextmanager
def everything_said(target_lines: list[dict[str, Any]], complaints: list[str]) -> Iterator[None]:
    """Collects the lines of our log, those of the libraries, and what the loop is told of."""

    def keep(logger: Any, method: str, line: Any) -> Any:
        target_lines.append(line | {"log_level": method})
        raise structlog.DropEvent

    records = _Records()
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[keep])
    logging.getLogger().addHandler(records)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(str(context)))
    try:
        yield
    finally:
        structlog.configure(processors=before)
        logging.getLogger().removeHandler(records)
        complaints += records.texts


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Target]:
    """A server for many cases. After it nothing is left: no session, no task, no descriptor, no complaint."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    lines: list[dict[str, Any]] = []
    server = Server(bounds=BOUNDS)
    server.mount("/chat", EchoHandler())
    server.on("echo", lambda sid, *args: args)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target = Target(server, runner.addresses[0][1], lines)
    with everything_said(lines, target.complaints):
        try:
            idle = open_descriptors()
            yield target
            async with asyncio.timeout(TIMEOUT_S):
                while server.eio.sessions or server.manager.rooms or open_descriptors() > idle:
                    await asyncio.sleep(0.01)
            assert not server.environ
            assert not server.eio._by_address
        finally:
            await server.close()
            await runner.cleanup()
        async with asyncio.timeout(TIMEOUT_S):
            while asyncio.all_tasks() - tasks or open_descriptors() > descriptors:
                await asyncio.sleep(0.01)
    target.check_quiet()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- the cases ---------------------------------------------------------------------------------------------------------


async def send_over_websocket(target: Target, data: bytes, *, must_end: bool) -> None:
    """Send these bytes and no more, and see how it ends."""
    async with WebSocketPeer.opened(target.port) as peer:
        await peer.connect()
        peer.answers = False
        with contextlib.suppress(ConnectionError):
            peer.write(data)
            await peer.writer.drain()
            peer.writer.write_eof()
        async with asyncio.timeout(TIMEOUT_S):
            await peer.wait_end()
        await target.wait_gone(peer.sid)
    (code,) = target.ends_of(peer.sid)
    assert code in ("protocol_violation", "client_closed", "transport_lost")
    if must_end:
        assert code == "protocol_violation"
    if code == "protocol_violation":
        assert peer.close_code in (1002, 1007, 1009)


def is_against_the_grammar(packets: list[tuple[bool, bytes]]) -> bool:
    """Whether one of the packets cannot be one; what comes behind a farewell does not count."""
    if any(data == b"1" and not is_binary for is_binary, data in packets):
        return False
    return any(not is_binary and not GRAMMAR.fullmatch(data) for is_binary, data in packets)


async def packets_over_websocket(target: Target, rng: random.Random) -> None:
    packets = some_packets(rng)
    data = b"".join(frame(2 if is_binary else 1, data) for is_binary, data in packets)
    await send_over_websocket(target, data, must_end=is_against_the_grammar(packets))


async def violations_over_websocket(target: Target, rng: random.Random) -> None:
    data = b"".join(frame(2 if is_binary else 1, data) for is_binary, data in some_violation(rng))
    await send_over_websocket(target, data, must_end=True)


async def bad_frames(target: Target, rng: random.Random) -> None:
    await send_over_websocket(target, some_bad_frames(rng), must_end=True)


async def changed_bytes(target: Target, rng: random.Random) -> None:
    await send_over_websocket(target, some_bytes(rng), must_end=False)


async def packets_by_polling(target: Target, rng: random.Random) -> None:
    """A body, which is HTTP as it should be: it is answered, and the session ends if the answer says so."""
    must_end = rng.randrange(2) == 0
    packets = some_violation(rng) if must_end else some_packets(rng)
    must_end = must_end or is_against_the_grammar(packets)
    peer = await PollingPeer.opened(target.port)
    parts = [b"b" + base64.b64encode(data) if is_binary else data for is_binary, data in packets]
    answer = await http(target.port, "POST", peer.query, b"\x1e".join(parts), chunked=rng.randrange(4) == 0)
    assert answer.status in (200, 400, 413)
    ended = answer.status != 200
    # A separator in a packet makes two of it, and a "b" at its beginning a binary one.
    plain = not any(b"\x1e" in data or data[:1] == b"b" for _, data in packets)
    assert ended or not must_end or not plain, "what is no packet was taken"
    if not ended:
        await peer.post("1")
    await target.wait_gone(peer.sid)
    (code,) = target.ends_of(peer.sid)
    assert (code == "protocol_violation") == ended or code == "client_closed"


async def requests(target: Target, rng: random.Random) -> None:
    peer = await PollingPeer.opened(target.port)
    request = some_request(rng, peer.sid)
    async with opened(target.port) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
            writer.write_eof()
            async with asyncio.timeout(TIMEOUT_S):
                answer = await reader.read()
            assert re.match(rb"HTTP/1\.[01] [1-4]\d\d |\Z", answer), answer[:100]
    await peer.post("1")
    await target.wait_gone(peer.sid)
    assert len(target.ends_of(peer.sid)) == 1


KINDS: Final = (
    packets_over_websocket,
    violations_over_websocket,
    bad_frames,
    changed_bytes,
    packets_by_polling,
    requests,
)


async def run_case(target: Target, seed: int) -> None:
    try:
        await KINDS[seed % len(KINDS)](target, random.Random(seed))
    except Exception as error:
        raise AssertionError(f"FUZZ_SEED={seed}") from error


async def run(seeds: Sequence[int]) -> None:
    async with served() as target:
        async with WebSocketPeer.opened(target.port) as peer:
            await peer.connect()
            polling = await PollingPeer.opened(target.port)
            for start in range(0, len(seeds), AT_ONCE):
                some = seeds[start : start + AT_ONCE]
                await asyncio.gather(*(run_case(target, seed) for seed in some))
                try:
                    await target.check_well_behaved(peer, polling)
                    target.check_quiet()
                except Exception as error:
                    raise AssertionError(f"FUZZ_SEED={some[0]}-{some[-1]}") from error
            assert target.ends_of(peer.sid) == target.ends_of(polling.sid) == []
            await polling.post("1")


class TestFuzz:
    @pytest.mark.parametrize("part", range(PARTS))
    async def test_nothing_that_a_peer_sends_does_harm(self, part: int, pytestconfig: pytest.Config) -> None:
        first, _, last = os.environ.get("FUZZ_SEED", "").partition("-")
        count = CASES_IN_FULL if pytestconfig.getoption("--full") else CASES
        if first:
            await run(range(int(first), int(last or first) + 1))
        else:
            await run(range(part * count // PARTS, (part + 1) * count // PARTS))
