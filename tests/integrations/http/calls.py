"""Calls through a transport, as the tests make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.core.errors import ModelError
from orchestrator.core.ports import HttpRequest, Timeouts
from orchestrator.integrations.http.transport import MAX_BODY_BYTES, HttpTransport

PATIENT = Timeouts(connect_s=10, first_token_s=10, idle_s=10)
KEY = "sk-canary-0123456789"


def post(url: str, body: bytes = b"{}") -> HttpRequest:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return HttpRequest("POST", url, headers, body)


@asynccontextmanager
async def opened(max_body_bytes: int = MAX_BODY_BYTES) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(max_body_bytes=max_body_bytes)
    try:
        yield transport
    finally:
        await transport.aclose()


async def failure_of(url: str, timeouts: Timeouts = PATIENT) -> ModelError:
    async with opened() as transport:
        with pytest.raises(ModelError) as caught:
            await transport.request(post(url), timeouts)
        return caught.value
