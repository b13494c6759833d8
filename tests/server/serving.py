"""A gateway on a free port with its engine, and what talks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai
import orjson

from orchestrator import Model, OpenAICompatibleModel, Orchestrator, Price
from orchestrator.server import Gateway
from orchestrator.testing.provider_server import ProviderServer

CHAT: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "one two three"}],
}
EVERYTHING = ("chat_completion", "streaming", "function_calling", "json_schema", "embeddings")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> Any:
        """The error in the envelope, which has no more and no less than OpenAI's fields."""
        assert self.headers["Content-Type"] == "application/json"
        assert self.json.keys() == {"error"}
        assert self.json["error"].keys() == {"message", "type", "param", "code"}
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The data of a chat stream's events, without the end mark."""
        data = [part for part in self.body.split(b"\n\n") if part.startswith(b"data: ")]
        return [orjson.loads(part[6:]) for part in data if part != b"data: [DONE]"]


@dataclass(frozen=True)
class Door:
    orchestrator: Orchestrator
    gateway: Gateway
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.gateway.url

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> Reply:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.request("POST", path, data=data, **options)

    async def chat(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        return await self.post("/v1/chat/completions", CHAT | fields, headers=headers)

    async def request(self, method: str, path: str, **options: Any) -> Reply:
        async with self.session.request(method, self.url + path, **options) as response:
            return Reply(response.status, response.headers, await response.read())


@asynccontextmanager
async def door_to(
    *models: Model,
    engine: Mapping[str, Any] | None = None,
    **gateway: Any,
) -> AsyncIterator[Door]:
    """Serve these models; without any, one that a provider's server echoes."""
    async with AsyncExitStack() as stack:
        pool: Iterable[Model] = models
        if not models:
            pool = [remote(await stack.enter_async_context(ProviderServer()))]
        orchestrator = await stack.enter_async_context(Orchestrator(pool, seed=1, **(engine or {})))
        opened = await stack.enter_async_context(Gateway(orchestrator, port=0, **gateway))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30))
        )
        yield Door(orchestrator, opened, session)


@asynccontextmanager
async def client_to(
    *models: Model, client_key: str = "any", **options: Any
) -> AsyncIterator[openai.AsyncOpenAI]:
    """Serve these models to the official client; further arguments as for `door_to`."""
    async with (
        door_to(*models, **options) as door,
        openai.AsyncOpenAI(
            base_url=f"{door.url}/v1", api_key=client_key, max_retries=0, timeout=30
        ) as client,
    ):
        yield client


def remote(server: ProviderServer, name: str = "echo", **facts: Any) -> OpenAICompatibleModel:
    """Return a model that a provider's server serves."""
    return OpenAICompatibleModel(
        name,
        facts.pop("provider", "acme"),
        server.base_url,
        facts.pop("api_key", "sk-provider"),
        wire_name="echo",
        **{"capabilities": EVERYTHING, "price": Price.free(), **facts},
    )
