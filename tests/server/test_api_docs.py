"""The OpenAPI document is one, tells of every address, and what it says of answers is true."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib import import_module
from typing import Any

import pytest
from aiohttp import web

from orchestrator import Orchestrator
from orchestrator.server import build_app
from tests.conftest import require
from tests.server.local import local, local_door
from tests.server.serving import Door
from tests.server.test_management import GPT

STATUSES = re.compile(r"[1-5]\d\d")


def routes() -> set[tuple[str, str]]:
    """Return method and address of everything that the application routes."""
    found = set()
    for route in build_app(Orchestrator([GPT])).router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            found.add((route.method.lower(), route.resource.canonical))
    return found


@pytest.fixture(scope="module")
def validators() -> Any:
    require("jsonschema", "what checks JSON schemas: pip install jsonschema")
    return import_module("jsonschema")


async def document_of(door: Door) -> Any:
    reply = await door.get("/api-docs/openapi.json")
    assert reply.headers["Content-Type"] == "application/json"
    return reply.json


async def test_every_address_is_in_it_and_nothing_else():
    async with local_door(GPT) as door:
        described = await document_of(door)

    told = {(method, path) for path, item in described["paths"].items() for method in item}
    assert told == routes()


async def test_it_is_an_openapi_document(validators: Any):
    async with local_door(GPT) as door:
        described = await document_of(door)

    assert re.fullmatch(r"3\.1\.\d+", described["openapi"])
    assert described["info"].keys() >= {"title", "version"}
    operations = [op for item in described["paths"].values() for op in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for path, item in described["paths"].items():
        assert path.startswith("/")
        for operation in item.values():
            parameters = [(p["in"], p["name"]) for p in operation["parameters"]]
            assert len(parameters) == len(set(parameters))
            in_path = {name for where, name in parameters if where == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            assert all(p.get("required") for p in operation["parameters"] if p["in"] == "path")
            assert all(STATUSES.fullmatch(status) for status in operation["responses"])
            assert all(answer["description"] for answer in operation["responses"].values())
            assert "requestBody" not in operation or operation["requestBody"]["content"]
    for schema in described["components"]["schemas"].values():
        validators.Draft202012Validator.check_schema(schema)
    for reference in re.findall(r'"\$ref": "([^"]*)"', json.dumps(described)):
        where: Any = described
        for part in reference.removeprefix("#/").split("/"):
            where = where[part]
    requirements = [name for one in described["security"] for name in one]
    assert set(requirements) <= described["components"]["securitySchemes"].keys()


ASKED = [
    ("get", "/api/v1/models", "", None),
    ("get", "/api/v1/models/loaded", "", None),
    ("get", "/api/v1/models/current", "", None),
    ("get", "/api/v1/models/statistics", "", None),
    ("get", "/api/v1/models/{name}", "openai", None),
    ("get", "/api/v1/models/{name}", "embedded:a", None),
    ("get", "/api/v1/models/{key}/capabilities", "embedded:a", None),
    ("get", "/api/v1/health", "", None),
    ("get", "/api/v1/health/{key}", "embedded:a", None),
    ("post", "/api/v1/models/load", "", {"model": "a"}),
    ("post", "/api/v1/models/load", "", {"model": "b", "dryRun": True}),
    ("post", "/api/v1/models/switch", "", {"model": "b"}),
    ("post", "/api/v1/models/unload", "", {"model": "a"}),
    ("post", "/api/v1/models/discover", "", {}),
    ("post", "/api/v1/models/{key}/profile", "embedded:a", {"testCount": 1}),
    ("post", "/api/v1/models/{key}/profile", "embedded:a", {"dryRun": True}),
    ("post", "/api/v1/models/{key}/pin", "embedded:a", {}),
    ("get", "/api/v1/models/{name}", "nobody", None),
]


async def test_answers_and_requests_are_as_it_says(validators: Any):
    async with local_door(local("a"), local("b"), GPT) as door:
        await door.post("/api/v1/models/switch", {"model": "a"})
        described = await document_of(door)
        for method, path, name, body in ASKED:
            address = re.sub(r"\{\w+\}", name, path)
            if body is None:
                reply = await door.get(address)
            else:
                reply = await door.post(address, body)
            operation = described["paths"][path][method]
            content = operation["responses"][str(reply.status)]["content"]
            fits(validators, described, content["application/json"]["schema"], reply.json)
            if body is not None:
                wanted = operation["requestBody"]["content"]["application/json"]["schema"]
                fits(validators, described, wanted, body)


def fits(validators: Any, described: Any, schema: Any, data: Any) -> None:
    whole = {**schema, "components": described["components"]}
    validators.Draft202012Validator(whole).validate(data)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action")]


async def test_the_page_shows_every_address_and_loads_nothing_from_elsewhere():
    async with local_door(GPT) as door:
        reply = await door.get("/api-docs")
        described = await document_of(door)

    page = Links()
    page.feed(reply.body.decode())
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.found == ["/api-docs/openapi.json"]
    assert not page.tags & {"script", "link", "img", "iframe"}
    for path, item in described["paths"].items():
        for method in item:
            assert f"{method.upper()} {path}" in reply.body.decode()


def test_static_addresses_are_routed_before_names():
    app: web.Application = build_app(Orchestrator([GPT]))
    order = [route.resource.canonical for route in app.router.routes() if route.resource]

    named = order.index("/api/v1/models/{name}")
    for word in ("loaded", "current", "statistics"):
        assert order.index(f"/api/v1/models/{word}") < named
