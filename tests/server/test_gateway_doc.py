"""The commands in docs/gateway.md answer what is printed below them."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from aiohttp import ClientResponse

from orchestrator import Price
from orchestrator.testing.provider_server import ProviderServer
from tests.server.serving import CHAT, Door, door_to, remote

DOC = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
BLOCKS = re.findall(r"```console\n\$ (curl .*?)\n(?=HTTP|\{|data|id)(.*?)\n```", DOC, re.DOTALL)
ADDRESS = "http://127.0.0.1:3001"
DECISION = r"\bd-\w+-\w+-\w+\b"
TIMES = {"created", "latency_s", "first_token_s", "at", "wall", "last_answer_at", "response_s"}
ESTIMATES = {"score", "penalty", "pulls", "mean", "cost_usd"}  # what was measured moves them
VARYING = TIMES | ESTIMATES


def test_the_document_has_an_example_of_every_kind():
    assert len(BLOCKS) == 13
    assert len(BLOCKS) == DOC.count("$ curl")


async def test_every_command_answers_what_is_printed():
    price = Price.per_million(1, 2)
    async with (
        ProviderServer() as server,
        door_to(remote(server, price=price, aliases=["friend"], context_window=8192)) as door,
    ):
        decision_id = "there is none yet"
        for command, printed in BLOCKS:
            answered, ids = await run(door, re.sub(DECISION, decision_id, command), printed)
            decision_id = ids[-1] if ids else decision_id

            assert steady(answered) == steady(printed), command


async def run(door: Door, command: str, printed: str) -> tuple[str, list[str]]:
    """Do what the command does; returns as much as is printed, and the decisions named in it."""
    parser = ArgumentParser()
    parser.add_argument("-d", dest="data")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    for flag in "siN":
        parser.add_argument(f"-{flag}", action="store_true")
    parser.add_argument("url")
    asked = parser.parse_args(shlex.split(command)[1:])
    headers = dict(header.split(": ", 1) for header in asked.headers)
    method = "GET" if asked.data is None else "POST"
    url = asked.url.replace(ADDRESS, door.url)
    async with door.session.request(method, url, data=asked.data, headers=headers) as response:
        if "/events" in url:
            body = await first_event(door, response)
        else:
            body = (await response.text()).rstrip("\n")
        head = head_of(response, printed) if asked.i else ""
    return head + body, re.findall(DECISION, body)


async def first_event(door: Door, response: ClientResponse) -> str:
    with anyio.fail_after(30):
        await door.chat()
        return (await response.content.readuntil(b"\n\n")).decode().rstrip("\n")


def head_of(response: ClientResponse, printed: str) -> str:
    """Return the head with those headers that are printed, in their order."""
    head = printed.partition("\n\n")[0].split("\n")[1:]
    names = [line.partition(":")[0] for line in head]
    lines = [f"{name}: {response.headers.get(name)}" for name in names]
    return "\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines, "", ""])


def steady(text: str) -> list[Any]:
    """Return an answer as data, without what differs each time."""
    head, _, body = text.rpartition("\n\n") if text.startswith("HTTP") else ("", "", text)
    text = re.sub(r"\b[rd]-\w+(-\w+)+\b", "id", body)
    lines = [text] if text.startswith("{") else text.split("\n")
    return [re.sub(r"\b[rd]-\w+(-\w+)+\b", "id", head), *map(_steady_line, lines)]


def _steady_line(line: str) -> Any:
    label, brace, rest = line.partition("{")
    if not brace:
        return re.sub(r"^id: \d+$", "id: n", line)
    return label, _without_varying(orjson.loads(brace + rest))


def _without_varying(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "varies" if name in VARYING or _counts(name, inner) else _without_varying(inner)
            for name, inner in value.items()
        }
    return [_without_varying(inner) for inner in value] if isinstance(value, list) else value


def _counts(name: str, value: Any) -> bool:
    return name == "id" and isinstance(value, int)


def test_what_differs_each_time_is_all_that_is_forgiven():
    assert steady('{"created": 1, "a": {"score": 2}}') == steady('{"created":5,"a":{"score":7}}')
    assert steady("data: [DONE]") == ["", "data: [DONE]"]
    with pytest.raises(AssertionError):
        assert steady('{"model": "a"}') == steady('{"model": "b"}')
    assert steady("HTTP/1.1 200 OK\nA: b\n\n{}") != steady("HTTP/1.1 400 Bad\nA: b\n\n{}")
    assert CHAT["messages"][0]["content"] in DOC
