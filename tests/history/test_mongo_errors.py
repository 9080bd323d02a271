"""What MongoDB's failures mean: whose fault, and whether to try again."""

from __future__ import annotations

import logging
from typing import Any

import bson.errors
import pytest
from pymongo import errors

from hubbub.errors import HubbubError, StoreError
from hubbub.history.mongo_errors import as_hubbub_error, as_store_error, duplicate_index, translated

SECRET = "what somebody said"


def bulk(*, write: int | None = None, concern: int | None = None) -> errors.BulkWriteError:
    details: dict[str, Any] = {"writeErrors": [], "writeConcernErrors": []}
    if write is not None:
        details["writeErrors"] = [{"index": 0, "code": write, "errmsg": SECRET, "op": {"body": SECRET}}]
    if concern is not None:
        details["writeConcernErrors"] = [{"code": concern, "errmsg": "waiting for replication timed out"}]
    return errors.BulkWriteError(details)


class TestHubbubErrors:
    @pytest.mark.parametrize(
        "error",
        [
            errors.AutoReconnect("lost"),
            errors.NetworkTimeout("late"),
            errors.NotPrimaryError("not primary", {"code": 10107}),
            errors.ServerSelectionTimeoutError("nobody"),
            errors.WaitQueueTimeoutError("full"),
            errors.ExecutionTimeout("slow", 50),
            errors.WTimeoutError("majority", 64),
            errors.WriteConcernError("majority", 64, {"writeConcernError": {"code": 64}}),
            errors.OperationFailure("shutting down", 91),
            errors.OperationFailure("who are you", 18),
            errors.OperationFailure("no space", 14031),
            errors.InvalidOperation("Cannot use AsyncMongoClient after close"),
            bulk(concern=64),
            bulk(write=10107),
            bulk(write=11000, concern=91),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_is_the_stores_fault_may_be_tried_again(self, error: Exception) -> None:
        translated_error = as_hubbub_error(error)
        assert translated_error.code == "unavailable"
        assert translated_error.retry_after is not None

    @pytest.mark.parametrize(
        "error",
        [
            bson.errors.InvalidDocument("no"),
            bson.errors.InvalidStringData("no"),
            OverflowError("8 bytes"),
            UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_cannot_be_stored_is_the_callers(self, error: Exception) -> None:
        assert as_hubbub_error(error).code == "bad_request"

    def test_what_is_too_large_says_so(self) -> None:
        assert as_hubbub_error(errors.DocumentTooLarge("17 MB")).code == "too_large"

    def test_an_error_of_ours_stays_as_it_is(self) -> None:
        error = HubbubError("room_full")
        assert as_hubbub_error(error) is error

    def test_a_fault_of_the_adapter_is_logged_without_what_was_said(self, caplog: pytest.LogCaptureFixture) -> None:
        assert as_hubbub_error(errors.OperationFailure(f"unknown operator, {SECRET}", 2)).code == "internal"
        assert as_hubbub_error(bulk(write=121)).code == "internal"
        assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR]
        assert SECRET not in caplog.text

    def test_an_outage_is_logged_once_a_second(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(50):
            as_hubbub_error(errors.ExecutionTimeout("slow", 50))
        assert len(caplog.records) <= 1

    async def test_the_driver_raises_no_error_of_its_own_through_it(self) -> None:
        with pytest.raises(HubbubError) as raised:
            async with translated():
                raise errors.AutoReconnect("lost")
        assert raised.value.code == "unavailable"
        with pytest.raises(ZeroDivisionError):
            async with translated():
                _ = 1 // 0


class TestStoreErrors:
    @pytest.mark.parametrize(
        "error",
        [
            errors.OperationFailure("auth", 18),
            errors.OperationFailure("not allowed", 13),
            errors.OperationFailure("options", 85),
            errors.DuplicateKeyError("E11000 " + SECRET, 11000),
            errors.ConfigurationError("unknown option"),
        ],
        ids=lambda error: type(error).__name__ + str(getattr(error, "code", "")),
    )
    def test_what_only_the_operator_can_mend_ends_the_start(self, error: Exception) -> None:
        found = as_store_error(error, "db.example.org")
        assert isinstance(found, StoreError)
        assert "db.example.org" in str(found)
        assert SECRET not in str(found)

    def test_what_may_pass_is_waited_for(self) -> None:
        found = as_store_error(errors.ServerSelectionTimeoutError("nobody"), "db.example.org")
        assert isinstance(found, HubbubError)
        assert found.code == "unavailable"


class TestDuplicates:
    def test_the_index_is_known_by_its_pattern(self) -> None:
        assert duplicate_index({"keyPattern": {"room": 1, "seq": 1}, "errmsg": ""}) == {"room", "seq"}

    def test_or_by_its_name(self) -> None:
        text = "E11000 duplicate key error collection: c.messages index: room_1_sender_1_key_1 dup key: { … }"
        assert duplicate_index({"errmsg": text}) == {"room", "sender", "key"}
        assert duplicate_index({"errmsg": "E11000 duplicate key error index: _id_ dup key"}) == {"id"}
        assert duplicate_index({}) == {"_id"}
