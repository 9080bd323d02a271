"""What all tests share: the loop is not blocked, nothing is skipped in the main run, no example has a deadline."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import hypothesis
import pytest

from tests.support.blocking import refuse_blocking_calls
from tests.support.driver import close_what_was_connecting
from tests.support.mongodb import MongoProcess, SharedMongo, own_mongo, shared_mongo
from tests.support.patience import patient_calls
from tests.support.tree import TESTS

refuse_blocking_calls()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A run in the background ignores Ctrl-C, and so would every process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
close_what_was_connecting()

# A deadline would judge the machine: tests run beside each other on two cores. Failing examples are printed, not kept.
hypothesis.settings.register_profile("hubbub", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("hubbub")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests of tests/chaos and tests/rolling at full size")
    parser.addoption("--seed", type=int, help="run tests/chaos and tests/rolling with this seed alone")
    parser.addoption("--store", choices=("sqlite", "mongo"), help="run tests/chaos on this store alone")


LONG = ("chaos", "rolling", "deploy", "integration")
"""Folders whose files take long. They begin first, so that at the end no process works on while the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] not in LONG)


LONGEST_TEST_S = 600
"""A test that takes longer hangs. It fails then, so that the run ends and says which one it was."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"{item.nodeid} hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_TEST_S if item.config.getoption("--full") else LONGEST_TEST_S // 4)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedMongo]:
    """The MongoDB of this process, started for the first test that wants it."""
    with shared_mongo(tmp_path_factory.mktemp("mongo")) as shared:
        yield shared


@pytest.fixture
def mongo_uri(mongo: SharedMongo) -> Iterator[str]:
    """The address of a fresh database of the test's own."""
    with mongo.database() as uri, patient_calls():
        yield uri


@pytest.fixture
def mongo_server(tmp_path: Path) -> Iterator[MongoProcess]:
    """A MongoDB of the test's own, to be killed or frozen."""
    with own_mongo(tmp_path / "mongo") as server, patient_calls():
        yield server


def skipped_count(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None else 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where `CI` is set everything that tests need is there, so a skipped test is a failure."""
    if os.environ.get("CI") and exitstatus == pytest.ExitCode.OK and skipped_count(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
