"""Log lines leave by a thread, and nobody waits for whoever reads them."""

from __future__ import annotations

import io
import os
import threading

from hubbub.loglines import LineLogger, LineWriter


class TestLines:
    def test_lines_are_written_in_order_before_it_is_closed(self) -> None:
        stream = io.StringIO()
        writer = LineWriter(stream)
        writer.start()
        log = LineLogger(writer)
        log.msg("one")
        log.info("two")  # type: ignore[operator]  # Looked up by structlog, by name.
        writer.close()
        assert stream.getvalue() == "one\ntwo\n"

    def test_a_reader_that_stays_away_holds_up_nobody_and_is_told_what_it_missed(self) -> None:
        reading, writing = os.pipe()
        with open(reading, "rb") as reader, open(writing, "w") as stream:
            writer = LineWriter(stream, most_lines=100, node="n1")
            writer.start()
            line = "x" * 10_000
            # The pipe holds six such lines, the writer what it took last and a hundred more.
            while writer._dropped == 0:
                writer.add(line)
            taken: list[bytes] = []
            collector = threading.Thread(target=lambda: taken.append(reader.read()))
            collector.start()
            writer.close(timeout_s=30)
            stream.close()
            collector.join(30)
        text = taken[0].decode()
        assert '"log.dropped"' in text
        assert '"node": "n1"' in text
        assert text.count("\n") == text.count(line) + text.count("log.dropped")

    def test_a_stream_that_is_gone_ends_nothing(self) -> None:
        stream = io.StringIO()
        writer = LineWriter(stream)
        stream.close()
        writer.start()
        writer.add("into the void")
        writer.close()
        assert not writer._thread.is_alive()
