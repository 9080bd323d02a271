"""Every failure of an HTTP request is a coded JSON document, the same as in an ack (WIRE, "HTTP")."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from hubbub.errors import Code, HubbubError

__all__ = ["Handler", "answer_failures", "failure_response"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger("hubbub.http")

_CODES: Final[dict[int, Code]] = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}
"""What aiohttp's own refusals mean; any other is a `bad_request` with its own status, such as 405."""


def failure_response(error: HubbubError, *, status: int | None = None) -> web.Response:
    """The error object with its fitting status, or with a more exact one."""
    response = web.json_response(
        error.document(),
        status=status or error.kind.http_status,
        headers={"Cache-Control": "no-store"},
    )
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if response.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


@web.middleware
async def answer_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what is raised into an answer. What nobody expected is logged, and told to the client without detail."""
    try:
        return await handler(request)
    except HubbubError as error:
        return failure_response(error)
    except web.HTTPException as answer:
        if answer.status < 400 or not request.path.startswith("/api/"):
            raise
        return _coded(answer)
    except ConnectionError:
        raise
    except Exception:
        # The path alone: a query may carry a token or a session id.
        _log.exception("http_failed", method=request.method, path=request.path)
        return failure_response(HubbubError("internal"))


def _coded(answer: web.HTTPException) -> web.Response:
    message = f"The method or path does not fit: {answer.reason}." if answer.status == 405 else None
    error = HubbubError(_CODES.get(answer.status, "bad_request"), message)
    response = failure_response(error, status=answer.status)
    if "Allow" in answer.headers:
        response.headers["Allow"] = answer.headers["Allow"]
    return response
