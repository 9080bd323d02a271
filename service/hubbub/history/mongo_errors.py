"""What MongoDB's failures mean for those who asked.

Whatever may have been the server's, the network's or an election's fault is `unavailable`: a write that failed so may
have happened, and whoever repeats it with its key learns of it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final

import pymongo
from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

from hubbub.errors import HubbubError, StoreError

__all__ = ["DUPLICATE", "RETRY_AFTER_S", "as_hubbub_error", "as_store_error", "duplicate_index", "translated"]

logger: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1.0
"""An election takes a few seconds, and a client may ask once a second."""

QUIET_S: Final = 10.0

DUPLICATE: Final = 11000
"""The server's code for a key that a unique index has already."""

NOT_ALLOWED: Final = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, and the hosted service's own code for the latter."""

UNWRITTEN: Final = frozenset({64, 75, 79, 91, 100, 189, 10107, 11600, 11602, 13435, 13436})
"""Codes of a write concern or of a primary that is going: the write may stand, and may be rolled back yet."""

FULL: Final = frozenset({14031, 39, 4})
"""OutOfDiskSpace and what goes with it."""


class _Throttle:
    """Lets the same text through once in ten seconds: an outage fails hundreds of calls a second in the same way."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def lets(self, text: str) -> bool:
        now = time.monotonic()
        if now - self._last.get(text, -QUIET_S) < QUIET_S:
            return False
        if len(self._last) > 100:
            self._last.clear()
        self._last[text] = now
        return True


_throttle: Final = _Throttle()


def duplicate_index(details: Mapping[str, Any]) -> frozenset[str]:
    """The fields of the unique index that refused a write, from the write error's document."""
    pattern = details.get("keyPattern")
    if pattern:
        return frozenset(pattern)
    # A server behind a proxy may leave the pattern out; the index is named in the text then: `room_1_sender_1_key_1`.
    text = str(details.get("errmsg", ""))
    name = text.partition("index: ")[2].split(" ")[0]
    return frozenset(part for part in name.split("_") if part and part not in ("1", "-1")) or frozenset({"_id"})


@asynccontextmanager
async def translated(within_s: float | None = None) -> AsyncIterator[None]:
    """Raise the driver's errors as `HubbubError`. All calls in it together take at most `within_s` seconds; None leaves
    each its own time.
    """
    try:
        with pymongo.timeout(within_s) if within_s is not None else nullcontext():
            yield
    except HubbubError:
        raise
    except (PyMongoError, BSONError, UnicodeError, OverflowError) as error:
        raise as_hubbub_error(error) from error


def as_hubbub_error(error: Exception) -> HubbubError:
    """The error for whoever asked: theirs as it is, the store's as `unavailable`, ours logged and `internal`."""
    if isinstance(error, HubbubError):
        return error
    if isinstance(error, DocumentTooLarge):
        return HubbubError("too_large", "What is to be stored is larger than the store allows.")
    if isinstance(error, (UnicodeError, BSONError, OverflowError)):
        return HubbubError("bad_request", "The request has text or numbers that cannot be stored.")
    text = _sentence(error)
    if text is not None:
        if _throttle.lets(text):
            logger.warning("history: %s (%s)", text, _named(error))
        return HubbubError("unavailable", text, retry_after=RETRY_AFTER_S)
    logger.error("history: unexpected failure: %s", _named(error), exc_info=_trace_of(error))
    return HubbubError("internal")


def as_store_error(error: Exception, where: str) -> Exception:
    """What a failed start means: `StoreError` where only the operator can help, else `unavailable`: it may be tried
    again. `where` names the server without its password.
    """
    if isinstance(error, (HubbubError, StoreError)):
        return error
    if isinstance(error, OperationFailure) and error.code in NOT_ALLOWED:
        return StoreError(f"The store at {where} refuses this user or password.")
    if isinstance(error, OperationFailure) and error.code in (85, 86):
        return StoreError(f"The store at {where} has an index of ours with other options: {_named(error)}.")
    if isinstance(error, DuplicateKeyError) or (isinstance(error, OperationFailure) and error.code == DUPLICATE):
        return StoreError(f"The store at {where} holds documents that break a unique index of ours.")
    if isinstance(error, ConnectionFailure):
        # For the operator alone: nobody is connected yet. What the driver adds about the whole topology is left out.
        reason = re.split(r" \(configured timeouts|, Timeout:|, Topology", str(error))[0][:200].rstrip(".")
        return HubbubError("unavailable", f"No server at {where} can be used: {reason}.", retry_after=RETRY_AFTER_S)
    if isinstance(error, ConfigurationError):
        return StoreError(f"The store at {where} cannot be used: {error}.")
    return as_hubbub_error(error)


def _sentence(error: Exception) -> str | None:
    """What is wrong with the store, as one sentence; None if the error says nothing about it."""
    if isinstance(error, ConnectionFailure):  # An election, a lost reply, a timeout, an exhausted pool: all of them.
        return "The store does not answer."
    if isinstance(error, ExecutionTimeout) or getattr(error, "timeout", False):
        return "The store took too long."
    if isinstance(error, InvalidOperation):
        return "The store is closed."
    if isinstance(error, OperationFailure):
        if _codes(error) & NOT_ALLOWED:
            return "The store refuses this user or password."
        if _codes(error) & FULL:
            return "The store has no space left."
        if _codes(error) & UNWRITTEN or _labels(error):
            return "The store changes its primary, or cannot say that a write stands."
    return None


def _codes(error: OperationFailure) -> set[int]:
    details: Mapping[str, Any] = error.details or {}
    codes = {error.code} if error.code is not None else set()
    if isinstance(error, BulkWriteError):
        for each in (*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())):
            codes.add(each.get("code", 0))
    concern = details.get("writeConcernError")
    if concern:
        codes.add(concern.get("code", 0))
    # A write concern that failed in whatever way says that the write may not stand.
    if concern or (isinstance(error, BulkWriteError) and details.get("writeConcernErrors")):
        codes.add(64)
    return codes


def _labels(error: OperationFailure) -> bool:
    return error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError")


def _named(error: Exception) -> str:
    """The error without what the server quotes of documents: class and code."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"


def _trace_of(error: Exception) -> Exception | None:
    """A traceback ends with the error's text, and that of a refused write quotes the document."""
    return None if isinstance(error, OperationFailure) else error
