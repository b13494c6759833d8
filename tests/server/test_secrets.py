"""A key that a model holds is told to its provider and to nobody else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import SecretStr

from orchestrator import AttemptPolicy, Orchestrator
from orchestrator.core.events import Event
from orchestrator.server import Gateway, build_app
from orchestrator.testing.faults import Fault, FaultPlan, Instead, failure, html_page
from orchestrator.testing.provider_server import ProviderServer
from tests.server.serving import CHAT, Door, door_to, remote

CANARY = "sk-canary-4711-of-the-provider"
OUR_CANARY = "sk-canary-0815-of-the-gateway"
NO_RETRIES = {"attempts": AttemptPolicy(retries=0)}
IN_BAND = f'{{"error": {{"message": "what is {CANARY}?"}}}}'.encode()
KEY = {"Authorization": f"Bearer {OUR_CANARY}"}


async def everything(door: Door, **fields: Any) -> str:
    """Ask for all there is, well and badly, and return all that comes back."""
    replies = [
        await door.chat(headers=KEY, **fields),
        await door.chat(headers=KEY, **fields, stream=True),
        await door.post("/v1/embeddings", {"model": "auto", "input": "a"}, headers=KEY),
        await door.post("/api/v1/explain", CHAT, headers=KEY),
        await door.post("/api/v1/feedback", {"decision_id": "d", "quality": 1}, headers=KEY),
        await door.chat(headers={"Authorization": "Bearer wrong"}),
        *[
            await door.get(path, headers=KEY)
            for path in ("/v1/models", "/v1/models/acme:echo", "/api/v1/models", "/healthz")
        ],
    ]
    return "\n".join(f"{reply.status} {reply.headers} {reply.body!r}" for reply in replies)


@pytest.mark.parametrize(
    "fault",
    [
        None,
        failure(401, message=f"Incorrect API key provided: {CANARY}."),
        failure(400, message=f"what is {CANARY}?"),
        failure(500, message=f"key {CANARY} crashed us"),
        Instead(200, IN_BAND),
        Instead(200, b"data: " + IN_BAND + b"\n\n", "text/event-stream"),
        Instead(302, b"", headers={"location": f"http://127.0.0.1/?key={CANARY}"}),
        html_page(502),
    ],
    ids=["well", "401", "400", "500", "error in a 200", "error in a stream", "redirect", "page"],
)
async def test_no_key_is_in_any_answer_event_or_log(
    fault: Fault | None, caplog: pytest.LogCaptureFixture
):
    faults = FaultPlan() if fault is None else FaultPlan(faults=[(fault, 1.0)])
    events: list[Event] = []
    with caplog.at_level(logging.DEBUG):
        async with (
            ProviderServer(faults=faults) as server,
            door_to(
                remote(server, api_key=CANARY), api_key=SecretStr(OUR_CANARY), engine=NO_RETRIES
            ) as door,
        ):
            door.orchestrator.on(Event, events.append)
            told = await everything(door)
            presented = {request.headers.get("Authorization") for request in server.requests}

    seen = [told, *[str(event.to_dict()) for event in events], caplog.text]
    assert presented == {f"Bearer {CANARY}"}, "the canary was never sent, so it proves nothing"
    assert events
    assert [text for text in seen if "canary" in text] == []


def test_no_key_is_in_what_prints_a_gateway_or_its_application():

    key = SecretStr(OUR_CANARY)
    gateway = Gateway(Orchestrator(), api_key=key)

    assert (
        "canary" not in f"{gateway!r} {vars(gateway)!r} {build_app(Orchestrator(), api_key=key)!r}"
    )
