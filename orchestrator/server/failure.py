"""What becomes of an error: an answer in OpenAI's envelope, and a line in the log if it is ours."""

from __future__ import annotations

import logging
from http import HTTPStatus

from aiohttp import hdrs, web

from orchestrator.core.errors import InternalError, OrchestratorError
from orchestrator.server.envelope import Envelope, envelope_of, refusal

__all__ = ["failed", "told"]

_log = logging.getLogger("orchestrator.server")
_CODES = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}


def failed(request: web.Request, error: Exception, *, status: int | None = None) -> web.Response:
    """Return the answer, in the envelope, to a request that was not served.

    Args:
        request: What was asked.
        error: Why it was not served.
        status: What to answer with, if not with the error's own.
    """
    if isinstance(error, web.HTTPException):
        envelope = _refused(request, error)
    else:
        envelope = told(request, error)
    response = web.Response(
        status=status or envelope.status,
        body=envelope.body,
        headers={hdrs.CONTENT_TYPE: "application/json", **envelope.headers},
    )
    if request.content.exception() is not None:
        # The body broke: the next request cannot be told from it, and aiohttp, which reads bodies
        # to their end, would find that unexpected and log it.
        response.force_close()
        request.content.feed_eof()
    return response


def told(request: web.Request, error: Exception) -> Envelope:
    """Return what the client is told of an error; log one that nobody but us can mend."""
    unexpected = not isinstance(error, OrchestratorError) or isinstance(error, InternalError)
    if unexpected and not _has_left(request):
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return envelope_of(error)


def _has_left(request: web.Request) -> bool:
    """Whether the client has closed the connection: writing to it fails, and that is no news."""
    return request.transport is None or request.transport.is_closing()


def _refused(request: web.Request, error: web.HTTPException) -> Envelope:
    """Return the envelope for what aiohttp itself refuses."""
    message = {
        404: f"there is no {request.path}",
        405: f"{request.path} does not take {request.method}",
        413: "the body is larger than this server takes",
    }.get(error.status, HTTPStatus(error.status).phrase)
    allow = error.headers.get(hdrs.ALLOW)
    headers: dict[str, str] = {} if allow is None else {hdrs.ALLOW: allow}
    code = _CODES.get(error.status, "http_error")
    return refusal(error.status, message, code, headers=headers)
