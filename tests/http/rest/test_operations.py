"""The table of operations fits together."""

from __future__ import annotations

import re

import pytest

from hubbub.errors import CATALOGUE
from hubbub.http.rest.operations import OPERATIONS, Operation, operation

EACH = pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)


class TestOperations:
    """What is said of each."""

    def test_names_and_routes_are_unique(self) -> None:
        assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
        assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)
        assert all(operation(one.name) is one for one in OPERATIONS)

    @EACH
    def test_what_is_in_the_path_has_a_schema(self, one: Operation) -> None:
        names = re.findall(r"{(\w+)}", one.path)
        assert names == ([] if one.path_schema is None else list(one.path_schema.fields))

    @EACH
    def test_every_code_has_its_status(self, one: Operation) -> None:
        assert sorted(code for codes in one.statuses.values() for code in codes) == sorted(one.codes)
        assert all(CATALOGUE[code].http_status == status for status, codes in one.statuses.items() for code in codes)
        assert list(one.statuses) == sorted(one.statuses)

    @EACH
    def test_whoever_asks_for_a_token_says_what_a_bad_one_gets(self, one: Operation) -> None:
        assert one.token == ("unauthorized" in one.codes) == ("rate_limited" in one.codes)
