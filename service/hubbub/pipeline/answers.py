"""Every event is answered, whatever happens: results and errors become acks here, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from hubbub.errors import HubbubError
from hubbub.pipeline.base import Call, Proceed

__all__ = ["DEADLINE_S", "Answers", "error_answer"]

_log = structlog.get_logger("hubbub.pipeline")

DEADLINE_S: Final = 30.0
"""Within this time an event is answered even if the store hangs; stock clients give up at about the same time. The wire
cancels what takes longer.
"""


def error_answer(error: HubbubError) -> dict[str, Any]:
    """The ack that tells of an error."""
    return {"ok": False, "error": error.document()}


class Answers:
    """For events: `{"ok": true, "data": …}` or `{"ok": false, "error": …}`. For connects, every failure is a
    `HubbubError`.

    A handler that raises what is not a `HubbubError` has a fault: it is logged with its traceback, and the client is
    told `internal` and no more. One that is cancelled, because it takes too long, has an outcome that nobody knows:
    `unavailable`.
    """

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        try:
            result = await proceed(call)
        except HubbubError as error:
            failure = error
        except (TimeoutError, asyncio.CancelledError):
            failure = HubbubError("unavailable", retry_after=1)
        except Exception as error:
            _log.exception("call.failed", call=call.label, connection=call.connection.id)
            failure = HubbubError("internal")
            failure.__cause__ = error
        else:
            return result if call.incoming is None else {"ok": True, "data": result}
        if call.is_connect:
            raise failure
        return error_answer(failure)
