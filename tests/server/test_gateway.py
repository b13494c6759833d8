"""The gateway's life: its address, its beginning and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from pydantic import SecretStr

from orchestrator import ConfigurationError, Orchestrator
from orchestrator.server import Gateway, build_app
from tests.server.serving import door_to


@asynccontextmanager
async def engine() -> AsyncIterator[Orchestrator]:
    async with Orchestrator() as orchestrator:
        yield orchestrator


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "gateway.lan"])
@pytest.mark.parametrize("key", [None, SecretStr("")])
def test_an_address_that_others_reach_needs_a_key(host: str, key: SecretStr | None):
    with pytest.raises(ConfigurationError, match="ORCHESTRATOR_API_KEY"):
        Gateway(Orchestrator(), host=host, api_key=key)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_a_configuration_error(port: int):
    with pytest.raises(ConfigurationError, match=str(port)):
        Gateway(Orchestrator(), port=port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3001"),
        ("::1", "http://[::1]:3001"),
        ("localhost", "http://localhost:3001"),
        ("0.0.0.0", "http://127.0.0.1:3001"),
        ("::", "http://[::1]:3001"),
    ],
)
def test_the_url_is_one_that_can_be_called(host: str, url: str):
    assert Gateway(Orchestrator(), host=host, api_key=SecretStr("k")).url == url


async def test_port_0_is_any_that_is_free():
    async with engine() as orchestrator, Gateway(orchestrator, port=0) as gateway:
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/healthz") as r:
            assert r.status == 200
        assert not gateway.url.endswith(":0")


async def test_a_port_in_use_names_itself_and_what_to_try():
    async with engine() as orchestrator, Gateway(orchestrator, port=0) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"port {port}.*another port"):
            await Gateway(orchestrator, port=port).__aenter__()


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70])
async def test_a_host_that_is_not_of_this_machine_is_a_configuration_error(
    host: str, monkeypatch: pytest.MonkeyPatch
):
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # no test asks a name server
    async with engine() as orchestrator:
        gateway = Gateway(orchestrator, host=host, api_key=SecretStr("k"), port=0)
        with pytest.raises(ConfigurationError, match=host):
            await gateway.__aenter__()


async def test_after_a_failed_start_it_can_be_started():
    async with engine() as orchestrator:
        async with Gateway(orchestrator, port=0) as first:
            second = Gateway(orchestrator, port=int(first.url.rpartition(":")[2]))
            with pytest.raises(ConfigurationError):
                await second.__aenter__()
        async with (
            second,
            aiohttp.ClientSession() as session,
            session.get(f"{second.url}/healthz") as response,
        ):
            assert response.status == 200


async def test_it_serves_until_cancelled():
    with anyio.fail_after(30):
        async with engine() as orchestrator:
            gateway = Gateway(orchestrator, port=0)
            serving = asyncio.create_task(gateway.serve_forever())
            async with aiohttp.ClientSession() as session:
                await anyio.wait_all_tasks_blocked()
                async with session.get(f"{gateway.url}/healthz") as response:
                    assert response.status == 200
                serving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await serving
                with pytest.raises(aiohttp.ClientConnectionError):
                    await session.get(f"{gateway.url}/healthz")


async def test_its_end_ends_the_event_streams_of_those_who_listen():
    with anyio.fail_after(30):
        async with engine() as orchestrator, aiohttp.ClientSession() as session:
            async with Gateway(orchestrator, port=0) as gateway:
                listening = await session.get(f"{gateway.url}/api/v1/events")
            assert await listening.read() == b""


async def test_a_host_has_to_be_configured_where_it_listens_on_every_address():
    key = {"Authorization": "Bearer k"}
    async with door_to(host="0.0.0.0", api_key=SecretStr("k"), allowed_hosts=["gw.lan"]) as door:
        configured = await door.get("/v1/models", headers=key | {"Host": "gw.lan:3001"})
        wildcard = await door.get("/v1/models", headers=key | {"Host": "0.0.0.0:3001"})
        other = await door.get("/v1/models", headers=key | {"Host": "10.0.0.1"})

    assert [reply.status for reply in (configured, wildcard, other)] == [200, 421, 421]


async def test_the_application_stands_by_itself():
    app = build_app(Orchestrator())

    assert isinstance(app, web.Application)
    assert {
        str(r.method) + " " + r.resource.canonical for r in app.router.routes() if r.resource
    } >= {
        "POST /v1/chat/completions",
        "POST /v1/embeddings",
        "GET /v1/models",
        "GET /v1/models/{id}",
        "GET /api/v1/models",
        "GET /api/v1/events",
        "POST /api/v1/feedback",
        "POST /api/v1/explain",
        "GET /healthz",
    }
