"""The calls that reached the providers of a simulated world, as these saw them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from orchestrator.testing.arms import Pool
from orchestrator.testing.openai_provider import OpenAIProvider
from orchestrator.testing.openai_wire import (
    Reply,
    embedding_inputs,
    includes_usage,
    prompt_text,
    reply_tokens,
    tokens_of,
    usage,
)
from orchestrator.testing.scripted import ScriptedCall
from orchestrator.testing.simulated_server import Exchange, SimulatedServer
from orchestrator.testing.trace import ProviderCall
from orchestrator.testing.troubles import Trouble, TroubledTurn
from orchestrator.testing.voices import tag_of

__all__ = ["calls_of"]


def calls_of(pool: Pool, processes: Iterable[tuple[str, SimulatedServer]]) -> list[ProviderCall]:
    """Return every call, in the order in which they began.

    Args:
        pool: Its hosted servers and plain models.
        processes: Name of the resident and server of each process that ever was.
    """
    calls: list[ProviderCall] = []
    for site in pool.sites.values():
        if site.server is not None:
            calls += _on_the_wire(site.server, f"{site.name}:")
    for resident, server in processes:
        calls += _on_the_wire(server, resident, shared=True)
    for arm in pool.arms.values():
        if arm.script is not None:
            calls += (_plain(arm.key, call) for call in arm.script.calls)
    return sorted(calls, key=lambda call: call.begun_s)


def _on_the_wire(
    server: SimulatedServer, owner: str, *, shared: bool = False
) -> Iterator[ProviderCall]:
    for exchange in server.exchanges:
        if exchange.method == "POST":
            request = exchange.json
            key = owner if shared else owner + request["model"]
            yield _exchanged(server.provider, exchange, request, key)


def _exchanged(
    provider: OpenAIProvider, exchange: Exchange, request: dict[str, Any], key: str
) -> ProviderCall:
    trouble = exchange.fault if isinstance(exchange.fault, Trouble) else None
    text, tokens, n_partials = "", None, 0
    if "messages" in request:
        asked = " ".join(prompt_text(message) for message in request["messages"])
        n_partials = sum(message["role"] == "assistant" for message in request["messages"])
        reply = provider.responder(request)
        assert isinstance(reply, Reply), "they answer at once"
        text = "".join(reply_tokens(request, reply))
        if includes_usage(request) or not request.get("stream"):
            counts = usage(request, reply)
            tokens = counts["prompt_tokens"], counts["completion_tokens"]
    else:
        asked = " ".join(embedding_inputs(request))
        tokens = sum(len(tokens_of(text)) for text in embedding_inputs(request)), 0
    return ProviderCall(
        tag_of(asked),
        key,
        exchange.begun_s,
        exchange.ended_s,
        None if trouble is None else trouble.name,
        "none" if trouble is None else trouble.harm,
        exchange.end,
        text,
        tokens,
        n_partials,
    )


def _plain(key: str, call: ScriptedCall) -> ProviderCall:
    turn = call.turn
    assert isinstance(turn, TroubledTurn), "as the world's models behave"
    return ProviderCall(
        tag_of(call.prompt),
        key,
        call.begun_s,
        call.ended_s,
        turn.name,
        turn.harm,
        {"answered": "whole", "failed": "broken", "left": "left", None: None}[call.end],
        turn.text,
        None,
        call.prompt.count("assistant: "),
    )
