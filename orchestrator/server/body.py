"""Bodies: JSON objects, whatever the content type of a request says."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from orchestrator.core.errors import InvalidRequestError

__all__ = ["json_response", "read_json"]


async def read_json(request: web.Request) -> dict[str, Any]:
    """Read the body.

    Raises:
        InvalidRequestError: It is not a JSON object, or not what its headers say.
        HTTPRequestEntityTooLarge: It is larger than the application takes.
    """
    try:
        data = orjson.loads(await request.read())
    except web.RequestPayloadError as error:
        raise InvalidRequestError(
            "the body cannot be read",
            hint="it has to be what its Content-Encoding and Transfer-Encoding say",
        ) from error
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidRequestError("the body is JSON, but not an object")
    return data


def json_response(data: dict[str, Any]) -> web.Response:
    """Return an answer with this body."""
    return web.Response(body=orjson.dumps(data), content_type="application/json")
