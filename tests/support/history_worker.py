"""A process that writes to one room, and says what it was told: `python -m tests.support.history_worker`.

Its arguments are the store's address, the room's uid, a user, a seed, and how many batches it writes. When the store
is open it prints a line, and begins when it is sent one. It prints a line of JSON for every outcome once it has it, so
that whoever reads knows what was acknowledged before the process was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final

from hubbub.errors import StoreError
from hubbub.history.base import History, Insert, Message, Sender, Written
from tests.support.history import Op
from tests.support.ledger import Ledger, random_op
from tests.support.stores import open_history
from tests.support.tree import PACKAGE, ROOT

__all__ = ["READY", "REFUSED", "Worker"]

LINES_WAIT_S: Final = 60.0
REFUSED: Final = "refused"
READY: Final = "ready"
DONE: Final = "done"


class Worker:
    """The process from outside."""

    def __init__(self, address: str, uid: str, user: str, seed: str, batches: int) -> None:
        self._arguments = [address, uid, user, seed, str(batches)]
        self._process: Process | None = None

    async def start(self) -> str:
        """Start it; returns what it says first: that it is ready, or that the store was refused to it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            *self._arguments,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{PACKAGE.parent}"},
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        return await self._line()

    async def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(LINES_WAIT_S):
            return (await self._process.stdout.readline()).decode().strip()

    async def write(self, ledger: Ledger, *, kill_after: int | None = None) -> bool:
        """Have it write, and note what it says, until it is done. It is killed once it has had `kill_after` outcomes.
        Returns whether it was done.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        count = 0
        while (line := await self._line()) not in ("", DONE):
            _note(ledger, line)
            count += 1
            if count == kill_after:
                self.kill()
        await self.end()
        return line == DONE

    def kill(self) -> None:
        """`kill -9`; what it has said by then is still read."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """It is gone then."""
        if self._process is not None:
            self.kill()
            await self._process.communicate()
            self._process = None


def _note(ledger: Ledger, line: str) -> None:
    said = json.loads(line)
    if "unavailable" in said:
        ledger.unavailable += 1
        return
    message = Message(ledger.uid, said["seq"], said["rev"], said["key"], Sender(said["sender"], ""), "", None, (), 0)
    ledger.note(message, said["claimed"], was_sent=said["sent"])


async def _write(address: str, uid: str, user: str, seed: str, *, batches: int) -> None:
    chance = random.Random(seed)
    ledger = Ledger(uid)
    try:
        async with open_history(address) as history:
            print(READY, flush=True)
            sys.stdin.readline()
            again: list[Op] = []
            while batches or again:
                if not again:
                    batches -= 1
                    head = max(ledger.newest.values(), default=0)
                    again = [random_op(uid, chance, user, head) for _ in range(chance.randint(1, 8))]
                again = await _commit(history, again, ledger)
    except StoreError:
        print(REFUSED, flush=True)
    else:
        print(DONE, flush=True)


async def _commit(history: History, ops: list[Op], ledger: Ledger) -> list[Op]:
    outcomes = await history.commit(ops)
    for op, outcome in zip(ops, outcomes, strict=True):
        if isinstance(outcome, Written):
            message = outcome.message
            said: dict[str, object] = {"seq": message.seq, "rev": message.rev, "key": message.key}
            said |= {"sender": message.sender.id, "claimed": outcome.claimed, "sent": isinstance(op, Insert)}
            print(json.dumps(said), flush=True)
        elif outcome.code == "unavailable":
            print(json.dumps({"unavailable": 1}), flush=True)
    return ledger.take(ops, outcomes)


if __name__ == "__main__":
    _, *texts, count = sys.argv
    asyncio.run(_write(*texts, batches=int(count)))
