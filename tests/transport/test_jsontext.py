"""JSON within bounds: what is refused before anything is decoded, and that everything else is as orjson has it."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport.bounds import Bounds
from hubbub.transport.jsontext import JsonError, NestingError, dumps, loads

BOUNDS = Bounds()

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('[]{}"\\,:', max_size=20)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)

NO_JSON = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000),
    *("", " ", "{", "[", "]", "'a'", "[1,]", '{"a":1,}', "01", "+1", ".5", "1.", "undefined", "nul", "True"),
    *('"', '"\\"', '"\\x"', '"\n"', '"\\u12"', "[1] 2", "/* */ 1", "\ufeff1", '{"a"}', "{1:2}"),
]


def nested(depth: int, inner: str = "") -> bytes:
    return ("[" * depth + inner + "]" * depth).encode()


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def containers_in(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(containers_in, value.values()))
    return 1 + sum(map(containers_in, value)) if isinstance(value, list) else 0


class TestReading:
    @given(VALUES)
    def test_what_json_holds_is_read_as_it_was(self, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False).encode()
        assert loads(text, BOUNDS) == value

    @given(st.binary(max_size=40) | st.text('[]{}",:\\u0d81e-. atrulsn', max_size=40).map(str.encode))
    def test_what_orjson_takes_is_taken_and_means_the_same(self, text: bytes) -> None:
        try:
            expected = orjson.loads(text)
        except orjson.JSONDecodeError:
            try:
                value = loads(text, BOUNDS)
            except (JsonError, NestingError):
                return
            assert b"\\ud" in text.lower(), value  # Only lone surrogates are taken that orjson refuses.
        else:
            assert loads(text, BOUNDS) == expected

    @pytest.mark.parametrize("text", NO_JSON, ids=lambda text: repr(text[:16]))
    def test_what_is_not_json_is_refused(self, text: str) -> None:
        with pytest.raises(JsonError):
            loads(text.encode(), BOUNDS)

    @pytest.mark.parametrize("text", [b"\xff", b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'["\xff"]'])
    def test_what_is_not_utf_8_is_refused(self, text: bytes) -> None:
        with pytest.raises(JsonError):
            loads(text, BOUNDS)

    @pytest.mark.parametrize("text", ['"\\ud800"', '["e","\\udfff x"]', '{"\\ud83d":1}'])
    def test_a_lone_surrogate_is_left_to_whoever_checks_the_fields(self, text: str) -> None:
        assert loads(text.encode(), BOUNDS) == json.loads(text)

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_a_surrogate_beside_it_does_not_let_a_constant_in(self, constant: str) -> None:
        with pytest.raises(JsonError):
            loads(f'["\\ud800",{constant}]'.encode(), BOUNDS)


class TestNesting:
    @pytest.mark.parametrize("depth", [1, 8, 32])
    def test_within_the_bound_it_is_read(self, depth: int) -> None:
        assert depth_of(loads(nested(depth), BOUNDS)) == depth
        assert depth_of(loads(b'{"a":' * depth + b"1" + b"}" * depth, BOUNDS)) == depth

    @pytest.mark.parametrize("depth", [33, 100, 9_999])
    @pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    def test_beyond_it_is_refused(self, depth: int, pair: tuple[str, str]) -> None:
        with pytest.raises(NestingError):
            loads((pair[0] * depth + "1" + pair[1] * depth).encode(), BOUNDS)

    def test_without_an_end_it_is_refused_before_it_is_decoded(self) -> None:
        with pytest.raises(NestingError):
            loads(b"[" * 100_000, BOUNDS)

    def test_closing_first_earns_no_depth(self) -> None:
        with pytest.raises((NestingError, JsonError)):
            loads(b"]" * 50 + nested(60), BOUNDS)

    def test_as_many_arrays_and_objects_as_the_bound_are_read(self) -> None:
        text = b"[" + b",".join([b"[]", b"{}"] * 4_999 + [b"[]"]) + b"]"
        assert containers_in(loads(text, BOUNDS)) == 10_000

    def test_one_more_is_refused(self) -> None:
        with pytest.raises(NestingError):
            loads(b"[" + b",".join([b"[]", b"{}"] * 5_000) + b"]", BOUNDS)

    def test_brackets_in_strings_do_not_count(self) -> None:
        value = ["[" * 20_000, "{" * 20_000, '\\"[[[' * 100, {"[{" * 50: "]" * 50}]
        assert loads(orjson.dumps(value), BOUNDS) == value

    @given(VALUES, st.integers(1, 4), st.integers(1, 8))
    def test_exactly_what_is_beyond_the_bounds_is_refused(self, value: Any, depth: int, containers: int) -> None:
        bounds = Bounds(depth=depth, containers=containers)
        text = json.dumps(value, ensure_ascii=False).encode()
        # Who stays below the bound of the depth with all of its brackets together needs no closer look.
        counted = text.count(b"[") + text.count(b"{") > depth
        if counted and (depth_of(value) > depth or containers_in(value) > containers):
            with pytest.raises(NestingError):
                loads(text, bounds)
        else:
            assert loads(text, bounds) == value

    @pytest.mark.parametrize(
        "tail",
        [b'"' + b'\\"' * 60_000, b'"' + b'\\"' * 60_000 + b"\\", b'"a"' * 40_000, b'"' * 120_001, b"\\" * 120_000],
        ids=["escaped quotes", "an open escape", "strings", "quotes", "backslashes"],
    )
    def test_a_string_without_an_end_costs_no_more_than_it_is_long(self, tail: bytes) -> None:
        before = time.process_time()
        with pytest.raises(JsonError):
            loads(nested(20) + nested(20)[:20] + tail, BOUNDS)
        # It takes some milliseconds; a search that starts anew at each quote would take more than a minute.
        assert time.process_time() - before < 5


class TestWriting:
    @given(VALUES)
    def test_what_is_written_reads_back(self, value: Any) -> None:
        try:
            text = dumps(value)
        except TypeError:  # An integer of more than 64 bits.
            return
        assert json.loads(text) == value

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_in_json_is_written_as_null(self, value: float) -> None:
        assert dumps([value]) == b"[null]"

    @pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, b"bytes", object(), {1: 2}])
    def test_what_no_client_could_read_is_refused(self, value: object) -> None:
        with pytest.raises(TypeError):
            dumps(value)
