"""An ack is sent after the sync of the disk that makes it true, seen in the system calls of the running service."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.chat import chat_client
from tests.support.service import running_service, start_service, stop_traced

CALLS = "pwrite64,pwritev,fsync,fdatasync,write,writev,sendto,sendmsg"
MESSAGES = 20


def strace(output: Path) -> list[str]:
    return ["strace", "-f", "-y", "-s", "65536", "-e", f"trace={CALLS}", "-o", str(output)]


def position(lines: list[str], pattern: str, *, after: int = -1) -> int:
    """The first line behind `after` in which the pattern is found."""
    for number in range(after + 1, len(lines)):
        if re.search(pattern, lines[number]):
            return number
    raise AssertionError(f"{pattern} is not in the trace behind line {after}")


class TestDurability:
    """Promise 1: no ack, and no event, before the change is on disk."""

    async def test_between_the_write_of_a_message_and_its_ack_and_event_lies_a_sync(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        service = await start_service(tmp_path, prefix=strace(trace), limits="off")
        try:
            async with (
                chat_client(service.url, service.token(user="alice")) as alice,
                chat_client(service.url, service.token(user="bob")) as bob,
            ):
                await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
                await bob.ok("room:join", {"room": "lobby"})
                for number in range(MESSAGES):
                    request = {"room": "lobby", "key": f"key-{number}-", "body": f"body-{number}-"}
                    await alice.ok("message:send", request)
                await bob.wait_count("message", MESSAGES)
            await stop_traced(service)
        finally:
            await service.kill()
        lines = trace.read_text(errors="replace").splitlines()
        for number in range(MESSAGES):
            written = position(lines, rf"pwrite.*hubbub\.db-wal>.*body-{number}-")
            synced = position(lines, r"f(data)?sync\(\d+<[^>]*hubbub\.db-wal>\)?", after=written)
            finished = synced
            if "unfinished" in lines[synced]:
                thread = lines[synced].split()[0]
                finished = position(lines, rf"^{thread} .*f(data)?sync resumed.*= 0", after=synced)
            ack = position(lines, rf"(write|send)[a-z]*\(\d+<(socket|TCP).*43/chat,.*key-{number}-")
            event = position(lines, rf"(write|send)[a-z]*\(\d+<(socket|TCP).*42/chat,.*key-{number}-")
            assert finished < ack, f"message {number} was acknowledged before it was on disk"
            assert finished < event, f"message {number} was sent to others before it was on disk"


class TestFullDisk:
    """The disk is full: nothing is acknowledged that was not written, and reading goes on."""

    async def test_sends_are_unavailable_and_what_was_acknowledged_is_there_after_a_restart(
        self, tmp_path: Path
    ) -> None:
        bounded = ["prlimit", "--fsize=1000000"]
        acknowledged: dict[str, str] = {}
        service = await start_service(tmp_path, prefix=bounded, limits="off")
        try:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
                for number in range(1000):
                    request = {"room": "lobby", "key": f"k{number}", "body": "x" * 8000}
                    ack = await alice.call("message:send", request)
                    if not ack["ok"]:
                        break
                    acknowledged[f"k{number}"] = ack["data"]["message"]["id"]
                assert ack["error"]["code"] == "unavailable"
                assert ack["error"]["retryable"]
                assert ack["error"]["retry_after"] > 0
                page = await alice.ok("history:fetch", {"room": "lobby", "limit": 1})
                assert page["messages"][0]["id"] in acknowledged.values()
            assert "Traceback" not in service.log
        finally:
            await service.kill()
        async with running_service(tmp_path, limits="off") as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                for key, message_id in acknowledged.items():
                    data = await alice.ok("message:send", {"room": "lobby", "key": key, "body": "again"})
                    assert (data["duplicate"], data["message"]["id"]) == (True, message_id)
