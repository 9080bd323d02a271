"""One run of chaos: a real service, a real store, sixty clients and a plan.

What the seed decides: the plan, each client's rooms, and what each client draws at each of its steps. What it cannot
decide: how fast processes and threads run, hence which messages a client knows when it draws, how many acks lie
between two faults' effects, and what was in flight when a process was killed. So a seed that fails fails again in most
of its runs rather than in all; the trace in the report says what happened in this one.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.chaos_clients import ChaosClient
from tests.support.chaos_ledger import Ledger
from tests.support.chaos_links import LeanLink
from tests.support.chaos_plan import EVERYWHERE, Fault, Kind, Plan
from tests.support.chaos_replica import Comparison, Violation
from tests.support.chaos_stores import ChaosStore, read_rooms
from tests.support.chat import ChatClient
from tests.support.halting import halt
from tests.support.service import RunningService, start_service

__all__ = ["Run", "Summary"]

ROOMS: Final = 4
STOCK_CLIENTS: Final = 4
START_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 60.0
TRACE_LINES: Final = 120
SECRET: Final = "nothing that is kept outlives a run of chaos"
_SETTINGS: Final = {
    "limits": "off",
    "outbox_bytes": 524_288,
    "drain_s": 2,
    "ping_interval_s": 3,
    "ping_timeout_s": 8,
    "jwt_secret": SECRET,
}


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run that broke no promise has come to."""

    seconds: float
    acks: int
    sends: int
    revisions: int
    events: int
    resumes: int
    compared: int
    owed: int
    gaps: int
    refusals: int
    repeats: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s, {self.acks} acks of {self.sends} sends and their changes, {self.revisions} "
            f"revisions, {self.events} events, {self.resumes} resumes, {self.compared} cuts ({self.owed} newer), "
            f"{self.gaps} gaps, {self.refusals} refusals, {self.repeats} repeats"
        )


class Run:
    """`await Run(…).run()`: the summary, or `Violation` with the plan and the last of the trace.

    A run that takes longer than `timeout_s` has come to a stop. `again` is the command that makes the same run.
    `ledger`, `compared`, `gaps` and `resumes` belong to the clients, and they look at `store_kills`.
    """

    def __init__(self, plan: Plan, directory: Path, store: ChaosStore, *, timeout_s: float, again: str) -> None:
        self.plan = plan
        self._timeout_s = timeout_s
        self._again = again
        self.ledger = Ledger()
        self.compared: list[Comparison] = []
        self.gaps = 0
        self.resumes = 0
        self.store_kills = 0
        self._directory = directory
        self._store = store
        self._rooms = [f"room-{number}" for number in range(ROOMS)]
        self._clients: list[ChaosClient] = []
        self._service: RunningService | None = None
        self._up = asyncio.Event()
        self._over = False
        self._idle = 0
        self._heads: asyncio.Future[Mapping[str, int]] | None = None
        self._trace: collections.deque[str] = collections.deque(maxlen=TRACE_LINES)
        self._started = time.monotonic()
        self._logs: list[str] = []
        self._stalls: set[asyncio.Task[None]] = set()
        self._meanwhile: asyncio.Task[None] | None = None

    async def run(self) -> Summary:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._run()
        except Exception as error:
            await self._end()  # Then its log is whole.
            raise Violation(self._report(error)) from error
        finally:
            await self._end()

    async def _end(self) -> None:
        """Nothing of the run is left. Safe to call twice."""
        if self._service is not None:
            with contextlib.suppress(ProcessLookupError):
                self._service.process.send_signal(signal.SIGCONT)
            await self._service.kill()
        await self._store.stop()

    # -- what clients need -------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self._over

    async def url(self) -> str:
        await self._up.wait()
        assert self._service is not None
        return self._service.url

    def token(self, user: str) -> str:
        assert self._service is not None
        return self._service.token(user=user)

    def note(self, text: str) -> None:
        self._trace.append(f"{time.monotonic() - self._started:7.3f} s, {self.ledger.acks:5} acks: {text}")

    async def heads(self) -> Mapping[str, int]:
        self._idle += 1
        assert self._heads is not None
        if self._idle == len(self._clients):
            self._heads.set_result(await self._read_heads())
        return await asyncio.shield(self._heads)

    # -- the run -----------------------------------------------------------------------------------------------------

    async def _run(self) -> Summary:
        self._heads = asyncio.get_running_loop().create_future()
        await self._store.start()
        await self._start_service()
        await self._make_rooms()
        self._clients = list(self._make_clients())
        tasks = [asyncio.create_task(client.run(), name=client.user) for client in self._clients]
        faults = asyncio.create_task(self._carry_out(), name="faults")
        try:
            await _first_failure([faults, *tasks], until=faults)
            self._over = True
            self.note("no more faults")
            async with asyncio.timeout(END_TIMEOUT_S):
                await _first_failure(tasks)
        except TimeoutError:
            late = [task.get_name() for task in tasks if not task.done()]
            raise Violation(f"these clients do not come to an end: {late}") from None
        finally:
            begun = [faults, *tasks, *self._stalls, *([self._meanwhile] if self._meanwhile is not None else [])]
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)
        return await self._judge()

    def _make_clients(self) -> Iterator[ChaosClient]:
        for number in range(self.plan.clients):
            # Most are in two rooms; a few are in all, so that one which does not read misses much.
            count = ROOMS if number % EVERYWHERE == 0 else 2
            rooms = [self._rooms[(number + step) % ROOMS] for step in range(count)]
            is_stock = number % (self.plan.clients // STOCK_CLIENTS or 1) == 1
            yield ChaosClient(number, self.plan.seed, rooms, self, is_stock=is_stock)

    async def _make_rooms(self) -> None:
        maker = ChatClient()
        try:
            await maker.connect(await self.url(), self.token("maker"))
            for room in self._rooms:
                await maker.ok("room:create", {"kind": "public", "id": room, "title": room})
        finally:
            await maker.close()

    async def _read_heads(self) -> Mapping[str, int]:
        reader = ChatClient()
        try:
            await reader.connect(await self.url(), self.token("reader"))
            heads = {}
            for room in self._rooms:
                heads[room] = (await reader.ok("history:sync", {"room": room, "since": 0, "limit": 1}))["head"]
            return heads
        finally:
            await reader.close()

    async def _judge(self) -> Summary:
        """The service has stopped as it should; then the store is asked itself."""
        assert self._service is not None
        status = await self._service.stop()
        self._logs.append(self._service.log)
        if status != 0:
            raise Violation(f"the service ended with the status {status}")
        if any("Traceback" in log for log in self._logs):
            raise Violation("the service's log has a traceback")
        rooms = await read_rooms(self._store, self._rooms)
        self.ledger.check(rooms)
        return Summary(
            seconds=time.monotonic() - self._started,
            acks=self.ledger.acks,
            sends=len(self.ledger.sends),
            revisions=sum(room.head for room in rooms),
            events=sum(client.events for client in self._clients),
            resumes=self.resumes,
            compared=len(self.compared),
            owed=len(self.ledger.owed),
            gaps=self.gaps,
            refusals=self.ledger.refusals,
            repeats=self.ledger.repeats,
        )

    def _report(self, error: BaseException) -> str:
        log = "".join([*self._logs, self._service.log if self._service is not None else ""])
        warnings = [line for line in log.splitlines() if '"level": "info"' not in line and '"level":"info"' not in line]
        return "\n".join(
            [
                str(error) or repr(error),
                f"again: {self._again}",
                str(self.plan),
                "the last of what happened:",
                *self._trace,
                "the last of the service's log:",
                *warnings[-40:],
            ]
        )

    # -- faults ------------------------------------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        for fault in self.plan.faults:
            await self._acks(fault.after)
            await self._do(fault)
        await self._acks(self.plan.acks)
        await asyncio.gather(*self._stalls)

    async def _acks(self, count: int) -> None:
        await self.ledger.wait(lambda: self.ledger.acks >= count)

    async def _do(self, fault: Fault) -> None:
        self.note(f"{fault}")
        match fault.kind:
            case Kind.KILL_SERVICE:
                await self._kill_service()
                await self._start_service()
            case Kind.RESTART_SERVICE:
                await self._stop_service()
                await self._start_service()
            case Kind.FREEZE_SERVICE:
                await self._freeze_service(fault)
            case Kind.FREEZE_STORE:
                async with self._store.frozen():
                    await self._last(fault)
            case Kind.SLOW_STORE:
                assert self._service is not None
                async with self._store.slow(self._service.process.pid, fault.delay_ms):
                    await self._last(fault)
            case Kind.KILL_STORE:
                self.store_kills += 1
                await self._store.kill()
                await self._last(fault)
                await self._store.start()
            case Kind.KILL_BOTH:
                self.store_kills += 1
                await asyncio.gather(self._store.kill(), self._kill_service())
                await self._last(fault)
                await asyncio.gather(self._store.start(), self._start_service())
            case Kind.CUT_CLIENTS:
                for number in fault.clients:
                    link = self._clients[number].link
                    if link is not None:
                        link.cut()
            case Kind.STALL_CLIENTS:
                self._stalls.add(asyncio.create_task(self._stall(fault)))
        if fault.meanwhile is not None and self._meanwhile is not None:
            await self._meanwhile
            self._meanwhile = None
        self.note(f"{fault.kind}: done")

    async def _last(self, fault: Fault) -> None:
        """Let a fault last, with what happens in the middle of it."""
        if fault.meanwhile is None:
            await asyncio.sleep(fault.seconds)
            return
        await asyncio.sleep(fault.seconds / 2)
        meanwhile = asyncio.create_task(self._do(fault.meanwhile))
        await asyncio.sleep(fault.seconds / 2)
        # A service cannot start on a store that is frozen: what is begun here ends when the fault has, before the next.
        self._meanwhile = meanwhile

    async def _stall(self, fault: Fault) -> None:
        """These clients read nothing until the others have got so many acks."""
        links = [self._clients[number].link for number in fault.clients]
        lean = [link for link in links if isinstance(link, LeanLink)]
        for link in lean:
            link.pause()
        end = self.ledger.acks + fault.acks
        await self._acks(min(end, self.plan.acks))
        for link in lean:
            link.resume()

    async def _freeze_service(self, fault: Fault) -> None:
        assert self._service is not None
        process = self._service.process
        halt(process.pid)
        try:
            await self._last(fault)
        finally:
            process.send_signal(signal.SIGCONT)

    async def _kill_service(self) -> None:
        assert self._service is not None
        self._up.clear()
        await self._service.kill()
        self._logs.append(self._service.log)

    async def _stop_service(self) -> None:
        assert self._service is not None
        self._up.clear()
        status = await self._service.stop()
        self._logs.append(self._service.log)
        if status != 0:
            raise Violation(f"the service ended with the status {status} when it was asked to stop")

    async def _start_service(self) -> None:
        """As a supervisor does: again, until it is open."""
        settings: dict[str, Any] = {**_SETTINGS, **self._store.settings}
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    self._service = await start_service(self._directory, **settings)
                    break
                except (RuntimeError, TimeoutError) as error:
                    self.note(f"the service does not start: {str(error).strip()[-200:]}")
        self.note(f"the service is open as process {self._service.process.pid}")
        self._up.set()


async def _first_failure(tasks: list[asyncio.Task[None]], *, until: asyncio.Task[None] | None = None) -> None:
    """Until these are done, or the one; raises the first failure at once."""
    waiting = set(tasks)
    while waiting and (until is None or not until.done()):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
