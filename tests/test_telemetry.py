"""Metrics and logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog
from aiohttp.http_exceptions import BadStatusLine
from prometheus_client import generate_latest

from hubbub.http.health import STATUSES
from hubbub.telemetry import Metrics, configure_logging


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    config = structlog.get_config()
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**config)


class TestMetrics:
    def test_two_services_in_one_process_count_apart(self) -> None:
        one, other = Metrics(), Metrics()
        one.deliveries.inc(3)
        assert one.registry.get_sample_value("hubbub_deliveries_total") == 3
        assert other.registry.get_sample_value("hubbub_deliveries_total") == 0

    def test_a_commit_is_counted_with_its_size_and_its_duration(self) -> None:
        metrics = Metrics()
        metrics.committed(5, 0.02)
        metrics.committed(1, 0.5)
        value = metrics.registry.get_sample_value
        assert value("hubbub_commit_batch_sum") == 6
        assert value("hubbub_commit_batch_bucket", {"le": "4.0"}) == 1
        assert value("hubbub_commit_seconds_count") == 2
        assert value("hubbub_commit_seconds_bucket", {"le": "0.025"}) == 1

    def test_an_event_is_counted_with_its_outcome_and_its_duration(self) -> None:
        metrics = Metrics()
        for code, seconds in (("ok", 0.0005), ("ok", 0.001), ("muted", 0.004), ("ok", 60.0)):
            metrics.events.add("typing", code, seconds)
        value = metrics.registry.get_sample_value
        assert value("hubbub_events_total", {"event": "typing", "code": "ok"}) == 3
        assert value("hubbub_events_total", {"event": "typing", "code": "muted"}) == 1
        buckets = {le: value("hubbub_event_seconds_bucket", {"event": "typing", "le": le}) for le in ("0.001", "0.005")}
        assert buckets == {"0.001": 2, "0.005": 3}  # As Prometheus has it, a bucket holds what is equal to its bound.
        assert value("hubbub_event_seconds_bucket", {"event": "typing", "le": "10.0"}) == 3
        assert value("hubbub_event_seconds_bucket", {"event": "typing", "le": "+Inf"}) == 4
        assert value("hubbub_event_seconds_count", {"event": "typing"}) == 4
        assert value("hubbub_event_seconds_sum", {"event": "typing"}) == pytest.approx(60.0055)
        metrics.events.add("read:mark", "ok", 0.001)
        assert metrics.events.totals() == (5, 1)

    def test_the_status_of_a_node_is_one_of_all_and_is_asked_for_whenever_somebody_asks(self) -> None:
        status, hears = "starting", False
        metrics, lone = Metrics(), Metrics()
        metrics.watch_readiness(lambda: status, statuses=STATUSES, hears=lambda: hears)
        lone.watch_readiness(lambda: status, statuses=STATUSES, hears=None)
        value = metrics.registry.get_sample_value
        assert value("hubbub_cluster_hears") == 0
        hears = True
        assert value("hubbub_cluster_hears") == 1
        assert lone.registry.get_sample_value("hubbub_cluster_hears") is None
        for status in STATUSES:
            found = {each: value("hubbub_readiness", {"status": each}) for each in STATUSES}
            assert found == {each: float(each == status) for each in STATUSES}

    def test_the_writer_is_looked_at_when_somebody_asks(self) -> None:
        @dataclass
        class Writer:
            queued: int = 3
            queued_bytes: int = 4096
            refused: int = 2
            failed: int = 1
            oldest_s: float = 1.5

        metrics, writer = Metrics(), Writer()
        metrics.watch_writer(writer)
        value = metrics.registry.get_sample_value
        assert value("hubbub_writer_queue") == 3
        assert value("hubbub_writer_queue_bytes") == 4096
        assert value("hubbub_writer_oldest_seconds") == 1.5
        assert value("hubbub_writer_refused_total") == 2
        assert value("hubbub_commit_failures_total") == 1
        writer.queued = 0
        assert value("hubbub_writer_queue") == 0

    def test_the_follower_of_the_control_log_is_looked_at_when_somebody_asks(self) -> None:
        @dataclass
        class Control:
            applied: int = 42
            lag_s: float = 0.5

        metrics = Metrics()
        metrics.watch_control(Control())
        metrics.control_records.labels("ban").inc()
        value = metrics.registry.get_sample_value
        assert value("hubbub_control_applied") == 42
        assert value("hubbub_control_lag_seconds") == 0.5
        assert value("hubbub_control_records_total", {"kind": "ban"}) == 1

    def test_every_metric_is_ours_and_says_what_it_is(self) -> None:
        text = generate_latest(Metrics().registry).decode()
        described = [line.split(" ", 3) for line in text.splitlines() if line.startswith("# HELP")]
        assert described
        assert all(name.startswith("hubbub_") and words for _, _, name, words in described)


class TestVerdicts:
    def test_they_are_counted_by_filter_and_verdict(self) -> None:
        metrics = Metrics()
        for verdict in ("allow", "refuse", "allow"):
            metrics.verdicts.add("site:f", verdict)
        shown = generate_latest(metrics.registry).decode()
        assert 'hubbub_filter_verdicts_total{filter="site:f",verdict="allow"} 2.0' in shown
        assert 'hubbub_filter_verdicts_total{filter="site:f",verdict="refuse"} 1.0' in shown


@pytest.mark.usefixtures("_logging_as_before")
class TestLogging:
    def test_a_line_for_machines_is_one_json_object(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="info", json=True)
        structlog.get_logger("x").info("connection.opened", code="ok", ms=1.5)
        out, err = capsys.readouterr()
        line = json.loads(err)
        assert out == ""
        assert line["event"] == "connection.opened"
        assert line["level"] == "info"
        assert (line["code"], line["ms"]) == ("ok", 1.5)
        assert line["timestamp"].endswith("Z")

    @pytest.mark.parametrize("as_json", [True, False])
    def test_every_line_of_a_node_with_a_name_has_it(self, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
        configure_logging(level="info", json=as_json, node="node-7")
        structlog.get_logger("x").info("connection.opened")
        logging.getLogger("engineio").warning("trouble")
        logging.getLogger("hubbub.history").warning("trouble")
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 3
        for line in lines:
            assert json.loads(line)["node"] == "node-7" if as_json else "node=node-7" in line

    def test_a_line_that_speaks_of_a_node_is_left_as_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="info", json=True, node="node-7")
        structlog.get_logger("x").info("node.gone", node="node-8")
        configure_logging(level="info", json=True)
        structlog.get_logger("x").info("connection.opened")
        about, nameless = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert about["node"] == "node-8"
        assert "node" not in nameless

    def test_a_line_for_people_is_plain_where_there_is_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="info", json=False)
        structlog.get_logger("x").info("connection.opened", code="ok")
        err = capsys.readouterr().err
        assert "connection.opened" in err
        assert "\x1b" not in err

    def test_what_is_below_the_level_is_not_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="warning", json=True)
        structlog.get_logger("x").info("quiet")
        structlog.get_logger("x").warning("loud")
        assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]

    def test_an_exception_comes_with_its_traceback_in_the_same_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="info", json=True)
        try:
            raise ValueError("broken")
        except ValueError:
            structlog.get_logger("x").exception("call.failed")
        (line,) = capsys.readouterr().err.splitlines()
        assert "ValueError: broken" in json.loads(line)["exception"]

    def test_requests_that_are_not_http_fill_no_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="info", json=True)
        try:
            raise BadStatusLine("GET / nonsense")
        except BadStatusLine:
            logging.getLogger("aiohttp.server").exception("Error handling request")
        assert capsys.readouterr().err == ""

    def test_libraries_are_heard_from_warnings_upwards(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging(level="debug", json=True)
        logging.getLogger("engineio").info("chatter")
        logging.getLogger("engineio").warning("trouble")
        err = capsys.readouterr().err
        assert "trouble" in err
        assert "chatter" not in err
