"""What all tests share: the loop is not blocked, nothing is skipped in the main run, no example has a deadline."""

from __future__ import annotations

import os

import hypothesis
import pytest

from tests.support.blocking import refuse_blocking_calls

refuse_blocking_calls()

# A deadline would judge the machine: tests run beside each other on two cores. Failing examples are printed, not kept.
hypothesis.settings.register_profile("hubbub", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("hubbub")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests of tests/chaos at full length")


def skipped_count(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None else 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where `CI` is set everything that tests need is there, so a skipped test is a failure."""
    if os.environ.get("CI") and exitstatus == pytest.ExitCode.OK and skipped_count(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
