"""The catalogue of errors is complete, and its objects are those of the contract."""

from __future__ import annotations

from typing import get_args

import pytest

from hubbub.errors import CATALOGUE, Code, HubbubError

IN_THE_CONTRACT = [
    "bad_request",
    "unauthorized",
    "token_expired",
    "forbidden",
    "banned",
    "muted",
    "not_found",
    "conflict",
    "room_full",
    "too_large",
    "rate_limited",
    "slow_mode",
    "draining",
    "unavailable",
    "internal",
]


class TestCatalogue:
    def test_it_has_the_codes_of_the_contract_and_no_other(self) -> None:
        assert list(CATALOGUE) == IN_THE_CONTRACT == list(get_args(Code))

    def test_every_row_is_found_by_its_own_code(self) -> None:
        assert all(kind.code == code for code, kind in CATALOGUE.items())

    def test_what_can_be_repeated_is_what_passes_by_itself(self) -> None:
        retryable = {code for code, kind in CATALOGUE.items() if kind.retryable}
        assert retryable == {"rate_limited", "slow_mode", "draining", "unavailable", "internal"}

    def test_the_fault_decides_the_class_of_the_status(self) -> None:
        for kind in CATALOGUE.values():
            assert kind.http_status // 100 == (4 if kind.fault == "client" else 5), kind.code

    def test_every_meaning_is_a_sentence(self) -> None:
        assert all(kind.meaning.endswith(".") for kind in CATALOGUE.values())


class TestErrors:
    def test_an_error_without_words_says_what_its_code_means(self) -> None:
        error = HubbubError("banned")
        assert error.message == CATALOGUE["banned"].meaning
        assert str(error) == f"banned: {error.message}"

    def test_its_document_has_only_what_there_is_to_say(self) -> None:
        assert HubbubError("not_found", "Gone.").document() == {
            "code": "not_found",
            "message": "Gone.",
            "retryable": False,
        }

    def test_its_document_says_when_to_come_back_in_seconds(self) -> None:
        document = HubbubError("slow_mode", retry_after=1.23456).document()
        assert document["retry_after"] == 1.235
        assert document["retryable"] is True

    def test_waiting_no_time_at_all_is_said_too(self) -> None:
        assert HubbubError("rate_limited", retry_after=0).document()["retry_after"] == 0
        assert HubbubError("rate_limited", retry_after=0.0001).document()["retry_after"] == 0.001

    def test_its_document_names_the_fields(self) -> None:
        document = HubbubError("bad_request", fields={"members.0": ("Not a string.",)}).document()
        assert document["fields"] == {"members.0": ["Not a string."]}

    def test_an_unknown_code_cannot_be_made(self) -> None:
        with pytest.raises(KeyError):
            HubbubError("nonsense")  # type: ignore[arg-type]
