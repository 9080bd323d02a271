"""Pages and searches in one room of a million messages: is the oldest page as cheap as the newest?

    python bench/history_pages.py --messages 1000000

The room is built through the adapter, in batches as the writer would commit them. What is measured is the time of one
call on the event loop, from the call to its answer, on an otherwise idle service: medians of `--rounds` calls each,
taken in turns so that a warm cache favours none, at random places near the end, the middle and the beginning.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hubbub.history.base import Insert, Message, Person, Room, Sender, Standing
from hubbub.history.sqlite import SqliteHistory

UID = "bench"
BATCH = 2000
PAGE = 50
PAGE_BYTES = 256 * 1024
RARE = "xylophone"
SENTENCE = "the quick brown fox jumps over a lazy dog while we talk about lunch and the weather in a chat room"
WORDS = SENTENCE.split()


def bodies(seed: int) -> Iterator[str]:
    """Sentences of five to thirty common words."""
    chance = random.Random(seed)
    while True:
        yield " ".join(chance.choices(WORDS, k=chance.randint(5, 30)))


def batches(count: int, rare_every: int) -> Iterator[list[Insert]]:
    text = bodies(1)
    for start in range(0, count, BATCH):
        batch = []
        for number in range(start, min(start + BATCH, count)):
            body = f"{next(text)} {RARE}" if number % rare_every == rare_every // 2 else next(text)
            sender = Sender(f"user{number % 500}", "A User")
            batch.append(Insert(Message(UID, 0, 0, f"key{number}", sender, body, None, (), 1_700_000_000_000 + number)))
        yield batch


async def build(history: SqliteHistory, count: int, rare_every: int, progress: Progress) -> float:
    """Fill the room; returns seconds."""
    room = Room(UID, "bench", "public", "", "", 10, 0, 1)
    await history.create_room(room, [(Standing("ann", "owner"), Person("ann", "Ann"))])
    task = progress.add_task("messages", total=count)
    started = time.perf_counter()
    for batch in batches(count, rare_every):
        await history.commit(batch)
        progress.advance(task, len(batch))
    return time.perf_counter() - started


async def wait_until_indexed(history: SqliteHistory, expected: int, progress: Progress) -> float:
    """Wait until the search finds all; returns seconds."""
    task = progress.add_task("rare words in the index", total=expected)
    started = time.perf_counter()
    found = 0
    while found < expected:
        page = await history.search(uids=[], public=True, phrases=[RARE], limit=expected, cursor=None)
        found = len(page.messages)
        progress.update(task, completed=found)
        await asyncio.sleep(0.2)
    return time.perf_counter() - started


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    await call()
    return (time.perf_counter() - started) * 1000


def calls(history: SqliteHistory, count: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is measured, by name."""

    def page(low: float, high: float) -> Callable[[], Awaitable[object]]:
        def call() -> Awaitable[object]:
            before = max(PAGE + 1, int(count * random.uniform(low, high)))
            return history.page(UID, before=before, limit=PAGE, max_bytes=PAGE_BYTES)

        return call

    def search(*phrases: str) -> Callable[[], Awaitable[object]]:
        return lambda: history.search(uids=[], public=True, phrases=phrases, limit=PAGE, cursor=None)

    return {
        "page, newest": lambda: history.page(UID, limit=PAGE, max_bytes=PAGE_BYTES),
        "page, newest 1 %": page(0.99, 1.0),
        "page, middle": page(0.45, 0.55),
        "page, oldest 1 %": page(0.0, 0.01),
        "changes since the middle": lambda: history.changes(UID, since=count // 2, limit=PAGE, max_bytes=PAGE_BYTES),
        "view of the room": lambda: history.view(UID, "ann"),
        f"search, rare word ({RARE})": search(RARE),
        "search, common word (fox)": search("fox"),
        "search, rare and common": search(RARE, "fox"),
        "search, phrase (lazy dog)": search("lazy dog"),
        "search, word that is not there": search("zeppelin"),
    }


async def measure(path: Path, count: int, rounds: int, console: Console) -> None:
    history = SqliteHistory(path)
    await history.open()
    rare_every = max(1, count // 40)
    expected = len(range(rare_every // 2, count, rare_every))
    times: dict[str, list[float]] = {}
    with Progress(console=console) as progress:
        built_s = await build(history, count, rare_every, progress)
        indexed_s = await wait_until_indexed(history, min(expected, PAGE), progress)
        task = progress.add_task("measuring", total=rounds)
        for _ in range(rounds):
            for name, call in calls(history, count).items():
                times.setdefault(name, []).append(await timed(call))
            progress.advance(task)
    await history.close()
    report(console, times)
    sizes = await asyncio.to_thread(sizes_of, path)
    pages = [statistics.median(values) for name, values in times.items() if name.startswith("page")]
    console.print(f"dearest page / cheapest page: [bold]{max(pages) / min(pages):.2f}[/]")
    console.print(
        f"built in {built_s:.1f} s ({count / built_s:,.0f} messages/s), index {indexed_s:.1f} s behind at the end; "
        f"{sizes[0] / count:.0f} bytes per message, {sizes[1] / count:.0f} in the index"
    )


def sizes_of(path: Path) -> tuple[int, int]:
    """Bytes of the database and of its search index."""
    return path.stat().st_size, path.with_name(f"{path.name}-search").stat().st_size


def report(console: Console, times: dict[str, list[float]]) -> None:
    table = Table("call", "median ms", "p99 ms", title=f"{PAGE} messages each")
    for name, values in times.items():
        p99 = statistics.quantiles(values, n=100)[98]
        table.add_row(name, f"{statistics.median(values):.2f}", f"{p99:.2f}")
    console.print(table)


@click.command()
@click.option("--messages", default=1_000_000, show_default=True, help="How many messages the room has.")
@click.option("--rounds", default=200, show_default=True, help="How often each call is measured.")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where; default: a temporary one.")
def main(messages: int, rounds: int, directory: Path | None) -> None:
    """Measure pages and searches in one large room."""
    console = Console()
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        asyncio.run(measure(Path(folder) / "hubbub.db", messages, rounds, console))


if __name__ == "__main__":
    main()
