"""Errors as RFC 9457 problem documents, one place that knows which error is which status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import Conflict, InvalidMessage, NotFound, Unavailable

log = structlog.get_logger()

TITLES: Mapping[int, str] = {
    400: "The request cannot be understood",
    401: "Nobody has said who is reading",
    403: "The request did not come from the page",
    404: "Not on the list",
    405: "This address does not take that method",
    409: "Somebody else was first",
    413: "The request is too large",
    429: "Too much is asked at once",
    500: "Something went wrong here",
    503: "The worklist's store does not answer",
}


def problem(status: int, detail: str, **extra: Any) -> Response:
    """A problem document; `extra` are extension members (RFC 9457 section 3.2)."""
    body = {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail, **extra}
    return Response(msgspec.json.encode(body), status, media_type="application/problem+json")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = problem(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidMessage)
    return problem(400, error.explanation, reason=error.reason)


async def _not_found(request: Request, error: Exception) -> Response:
    return problem(404, str(error) or "no open study matches")


async def _conflict(request: Request, error: Exception) -> Response:
    return problem(409, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("worklist_store_unavailable", path=request.scope.get("route_name"))
    response = problem(503, "The list cannot be read at the moment; it will be tried again.")
    response.headers["Retry-After"] = "2"
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    return problem(500, "An error that nobody foresaw; it is in the server's log.")


HANDLERS: dict[Any, Any] = {
    HTTPException: _http,
    InvalidMessage: _invalid,
    NotFound: _not_found,
    Conflict: _conflict,
    Unavailable: _unavailable,
    Exception: _unexpected,
}
