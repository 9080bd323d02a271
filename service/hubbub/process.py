"""The process around the service: its signals, its event loop, what Python is told to do otherwise, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from hubbub.app import Service
from hubbub.loglines import LineWriter
from hubbub.settings import Settings
from hubbub.telemetry import configure_logging
from hubbub.transport.tcp import DESCRIPTORS_WANTED, raise_descriptor_limit
from hubbub.version import VERSION

__all__ = ["run"]

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may keep the interpreter from another that wants it. Python's default of 5 ms is what a commit on
the writer's thread would wait at each of its steps while the loop is busy with fan-out.
"""

GC_THRESHOLDS: Final = (20_000, 50, 100)
"""How many new objects, younger and older collections it takes for the next one. Nothing on the way of an event makes
cycles that hold much, so collecting seldom costs little memory; measured: 13 % less CPU per ack than with Python's own.
"""

LEFT_OVER_S: Final = 1.0
"""How long the process may take to end once the service has stopped. By then the store is closed, and what is left over
is nobody's: filters that do not let themselves be cancelled, and threads of theirs.
"""

_log = structlog.get_logger("hubbub.process")


def run(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; a second signal ends the process at once.

    Raises `OSError` (the address) before anything listens, and `StoreError` once it is clear that waiting for the store
    is in vain: that is before anything listens too, unless the store was out of reach until then.
    """
    lines = LineWriter(sys.stderr, node=settings.name_of_node)
    configure_logging(level=settings.log_level, json=settings.json_logs, writer=lines, node=settings.name_of_node)
    descriptors = raise_descriptor_limit()
    if descriptors < DESCRIPTORS_WANTED:
        raise OSError(
            errno.EMFILE,
            f"this process may open {descriptors} files, and each connection takes one; "
            f"allow {DESCRIPTORS_WANTED} at least (ulimit -n, or LimitNOFILE= of systemd)",
        )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # What is loaded by now stays; looking through it again at each collection is a tenth of the CPU of an ack.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    lines.start()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            failure: BaseException | None = None
            try:
                runner.run(_serve(settings))
            except BaseException as error:
                failure = error
                raise
            finally:
                _end_in_time(runner.get_loop(), lines, failure)
    finally:
        lines.close()


def _end_in_time(loop: asyncio.AbstractEventLoop, lines: LineWriter, failure: BaseException | None) -> None:
    """The service has stopped: let the process end within `LEFT_OVER_S`, whatever its tasks and threads are up to.

    Python waits for each of them for ever. A thread that nobody waits for is there until the process is not.
    """

    def end() -> None:
        left: list[str] = []
        with contextlib.suppress(RuntimeError):  # The loop is at its tasks just now.
            left += [task.get_name() for task in asyncio.all_tasks(loop) if not task.done()]
        left += [
            thread.name
            for thread in threading.enumerate()
            if not thread.daemon and thread is not threading.main_thread()
        ]
        if left:
            reason = {} if failure is None else {"failure": f"{type(failure).__name__}: {failure}"}
            _log.warning("stop.left_over", what=sorted(left), **reason)
        lines.close()
        os._exit(0 if failure is None else 1)

    timer = threading.Timer(LEFT_OVER_S, end)
    timer.name, timer.daemon = "end-in-time", True
    timer.start()


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            sys.stderr.write("Stopped at once.\n")
            sys.stderr.flush()
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    stopped = asyncio.ensure_future(stop.wait())
    async with contextlib.AsyncExitStack() as stack:
        service = Service(settings)
        service.on_drain = stop.set
        if not await _first(stack.enter_async_context(service), stopped):
            return
        print(f"Hubbub {VERSION} is open at {service.url}  (Ctrl-C stops it)", flush=True)
        if service.readiness().status == "starting":
            print(f"It takes no clients yet: {service.readiness().reasons[0]}", flush=True)
        if not await _first(service.watch.wait_failed(), stopped):
            print("Stopping: clients are told, what was begun is finished. Once more to stop at once.", flush=True)


async def _first(work: Coroutine[Any, Any, object], stopped: asyncio.Future[Any]) -> bool:
    """Whether the work was done before somebody asked to stop; else it is cancelled. Raises what the work raises."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled():
        return False
    task.result()
    return True


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (`pip install hubbub[speed]`); the standard loop works too."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
