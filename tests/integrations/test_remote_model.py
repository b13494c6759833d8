from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from orchestrator.core.errors import (
    ConfigurationError,
    ErrorClass,
    InvalidRequestError,
    ModelAPIError,
    ModelError,
    ModelRateLimitError,
    ModelResponseError,
    UnsupportedCapabilityError,
)
from orchestrator.core.model import Call
from orchestrator.core.params import EmbeddingParams, Params, TextGenerationParams
from orchestrator.core.ports import Endpoint, Timeouts
from orchestrator.core.results import TextAnswer, TextChunk, ToolCallDelta, Usage
from orchestrator.integrations.llama_cpp import LLAMA_CPP
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.remote import RemoteModel
from tests.integrations.recordings import TOOLS, recorded
from tests.integrations.scripted_transport import Scripted, ScriptedTransport, streamed

KEY = "sk-canary-0123456789"
HOST = Endpoint("https://host/v1", SecretStr(KEY))
PLAIN = Dialect(name="plain")
CALL = Call(None, Timeouts(1, 2, 3))
HELLO = TextGenerationParams(prompt="Hello")
CHAT = Scripted([recorded("llama_cpp_chat.json")])
STREAM = streamed(recorded("llama_cpp_chat.sse"))
TEXT = "L'Étoile, la Marseillaise,"


def model(
    *answers: Scripted,
    dialect: Dialect = PLAIN,
    endpoint: Endpoint | None = HOST,
    **options: Any,
) -> tuple[RemoteModel, ScriptedTransport]:
    found = RemoteModel("m", "plain", codec=OpenAICodec(dialect), endpoint=endpoint, **options)
    transport = ScriptedTransport(*answers)
    found.bind(transport)
    return found, transport


async def collected(found: RemoteModel, params: TextGenerationParams = HELLO) -> list[TextChunk]:
    async with found.stream(params, CALL) as chunks:
        return [chunk async for chunk in chunks]


# -- whole answers -----------------------------------------------------------------------------


async def test_a_text_is_asked_for_and_read():
    found, transport = model(CHAT)
    answer = await found.answer(HELLO, CALL)
    assert isinstance(answer, TextAnswer)
    assert answer.text == TEXT
    (request,) = transport.requests
    assert (request.method, request.url) == ("POST", "https://host/v1/chat/completions")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body is not None
    assert orjson.loads(request.body)["model"] == "m"
    assert transport.timeouts == [CALL.timeouts]


async def test_vectors_are_asked_for_and_read():
    found, transport = model(Scripted([recorded("llama_cpp_embeddings.json")]))
    assert [len(v) for v in await found.embed(["a", "b c"])] == [576, 576]
    assert transport.requests[0].url == "https://host/v1/embeddings"


async def test_other_work_is_refused_before_anything_is_sent():
    found, transport = model()
    with pytest.raises(UnsupportedCapabilityError):
        await found.answer(Params(), CALL)
    assert transport.requests == []


async def test_an_arm_sends_the_servers_name_for_it_and_its_own_defaults():
    defaults = {"system_prompt": "One word.", "temperature": 1.5}
    found, transport = model(CHAT, wire_name="smollm2", defaults=defaults)
    await found.answer(HELLO, CALL)
    body = orjson.loads(transport.requests[0].body or b"")
    assert body["model"] == "smollm2"
    assert body["temperature"] == 1.5
    assert body["messages"][0] == {"role": "system", "content": "One word."}


@pytest.mark.parametrize("defaults", [{"temperature": 9}, {"temprature": 1}, {"max_tokens": 0}])
def test_a_default_that_is_no_parameter_is_refused(defaults: dict[str, Any]):
    with pytest.raises(InvalidRequestError, match=next(iter(defaults))):
        model(defaults=defaults)


async def test_further_headers_are_sent_with_every_request():
    found, transport = model(CHAT, STREAM, Scripted(), headers={"OpenAI-Organization": "org-1"})
    await found.answer(HELLO, CALL)
    await collected(found)
    await found.health_check()
    assert [r.headers["OpenAI-Organization"] for r in transport.requests] == ["org-1"] * 3


# -- endpoints and transports ------------------------------------------------------------------


async def test_a_leased_endpoint_is_used_as_each_call_brings_it():
    found, transport = model(CHAT, CHAT, CHAT, endpoint=None)
    first = Endpoint("http://127.0.0.1:1/v1", SecretStr("key-1"))
    second = Endpoint("http://127.0.0.1:2/v1", SecretStr("key-2"))
    for endpoint in (first, first, second):
        await found.answer(HELLO, Call(endpoint, Timeouts()))
    assert [(r.url[:18], r.headers["Authorization"]) for r in transport.requests] == [
        ("http://127.0.0.1:1", "Bearer key-1"),
        ("http://127.0.0.1:1", "Bearer key-1"),
        ("http://127.0.0.1:2", "Bearer key-2"),
    ]


async def test_a_model_without_any_endpoint_says_so():
    found, _ = model(endpoint=None)
    with pytest.raises(ConfigurationError, match="no endpoint"):
        await found.answer(HELLO, CALL)


async def test_a_model_without_a_transport_says_what_to_do():
    found = RemoteModel("m", "plain", codec=OpenAICodec(PLAIN), endpoint=HOST)
    with pytest.raises(ConfigurationError, match="register it"):
        await found.generate_response("Hello")
    assert not await found.health_check()


def test_a_transport_of_its_own_is_kept():
    found, own = model()
    found.bind(ScriptedTransport())
    assert found.transport is own


def test_the_key_is_in_no_repr():
    found, _ = model()
    request = found._address(CALL).get("/models")
    assert KEY in request.headers["Authorization"]
    assert KEY not in f"{found!r} {found.spec!r} {request!r} {found._own!r}"


# -- errors ------------------------------------------------------------------------------------


async def test_an_error_answer_is_classified_and_names_the_model():
    limited = Scripted([b"{}"], status=429, headers={"Retry-After": "7"})
    found, _ = model(limited, limited)
    for ask in (found.answer(HELLO, CALL), collected(found)):
        with pytest.raises(ModelRateLimitError) as caught:
            await ask
        assert (caught.value.model, caught.value.retry_after_s) == ("plain:m", 7)


async def test_what_the_transport_raises_names_the_model():
    broken = ModelAPIError("reset", classification=ErrorClass.NETWORK_ERROR)
    found, _ = model(Scripted(failure=broken))
    with pytest.raises(ModelAPIError) as caught:
        await found.answer(HELLO, CALL)
    assert caught.value is broken
    assert broken.model == "plain:m"


async def test_a_server_that_quotes_our_key_does_not_get_it_into_the_error():
    body = f'{{"error":{{"message":"no such key: {KEY}"}}}}'.encode()
    found, _ = model(Scripted([body], status=401), Scripted([body], status=401))
    for ask in (found.answer(HELLO, CALL), collected(found)):
        with pytest.raises(ModelError) as caught:
            await ask
        assert KEY not in f"{caught.value} {vars(caught.value)}"
        assert caught.value.provider_message == "no such key: [key]"


@pytest.mark.parametrize(
    ("status", "well"),
    [
        *((200, True), (204, True), (302, False), (401, False), (503, False)),
        *((404, True), (405, True), (429, True)),
    ],
)
async def test_health_is_whether_its_server_is_there_and_lets_us_in(status: int, well: bool):
    found, transport = model(Scripted(status=status))
    assert await found.health_check() is well
    assert (transport.requests[0].method, transport.requests[0].url) == (
        "GET",
        "https://host/v1/models",
    )


async def test_an_unreachable_server_is_not_well():
    found, _ = model(Scripted(failure=ModelAPIError("refused")))
    assert not await found.health_check()


# -- streams -----------------------------------------------------------------------------------


async def test_a_stream_is_asked_for_and_read_to_its_end():
    found, transport = model(STREAM)
    chunks = await collected(found)
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert chunks[-1].usage == Usage(37, 12, 36)
    assert orjson.loads(transport.requests[0].body or b"")["stream"] is True
    assert transport.read_to_the_end  # so that the connection can be used again


async def test_a_whole_answer_in_place_of_a_stream_is_one_chunk():
    found, _ = model(CHAT)
    (chunk,) = await collected(found)
    assert (chunk.text, chunk.finish_reason) == (TEXT, "length")
    assert chunk.usage == Usage(37, 12, 36)


async def test_a_page_in_place_of_a_stream_is_told_apart():
    found, _ = model(Scripted([b"<html>It works!</html>"], content_type="text/html"))
    with pytest.raises(ModelResponseError, match="It works!"):
        await collected(found)


async def test_a_stream_that_breaks_raises_after_the_chunks_that_came():
    broken = ModelAPIError("reset", classification=ErrorClass.NETWORK_ERROR)
    body = recorded("llama_cpp_chat.sse")
    half = body[: body.index(b"\n\n", body.index(b'"content":"L"')) + 30]
    found, _ = model(streamed(half, failure=broken))
    texts = []
    with pytest.raises(ModelAPIError, match="reset"):
        async with found.stream(HELLO, CALL) as chunks:
            async for chunk in chunks:
                texts.append(chunk.text)  # noqa: PERF401 - what comes before the error counts
    assert texts == ["L"]
    assert broken.model == "plain:m"


async def test_a_stream_that_ends_too_early_is_a_partial_failure():
    body = recorded("llama_cpp_chat.sse")
    found, _ = model(streamed(body[: len(body) // 2]))
    with pytest.raises(ModelResponseError) as caught:
        await collected(found)
    assert caught.value.classification is ErrorClass.PARTIAL_FAILURE
    assert caught.value.model == "plain:m"


async def test_nothing_that_breaks_after_the_answer_is_whole_matters():
    body = recorded("llama_cpp_chat.sse")
    whole = body[: body.index(b"\n\n", body.index(b'"finish_reason":"length"')) + 2]
    found, _ = model(streamed(whole, failure=ModelAPIError("reset")))
    chunks = await collected(found)
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert chunks[-1].finish_reason == "length"


async def test_a_stream_left_early_is_not_read_further():
    body = recorded("llama_cpp_chat.sse")
    found, transport = model(streamed(body[:500], body[500:]))
    async with found.stream(HELLO, CALL) as chunks:
        assert (await anext(aiter(chunks))).text == "L"
    assert not transport.read_to_the_end


async def test_text_alone_can_be_streamed_without_an_engine():
    found, _ = model(STREAM)
    assert "".join([text async for text in found.stream_response("Hello", max_tokens=12)]) == TEXT


async def test_options_of_the_simple_calls_are_checked():
    found, _ = model()
    with pytest.raises(InvalidRequestError, match="temperature"):
        await found.generate_response("Hello", temperature=3)


# -- emulated tools ----------------------------------------------------------------------------

ASK = TextGenerationParams(prompt="Weather in Paris?", tools=TOOLS, tool_choice="required")


async def test_an_emulated_call_is_a_call_whole_and_streamed():
    found, transport = model(
        Scripted([recorded("llama_cpp_required_tool.json")]),
        streamed(recorded("llama_cpp_required_tool.sse")),
        dialect=LLAMA_CPP,
    )
    answer = await found.answer(ASK, CALL)
    assert isinstance(answer, TextAnswer)
    (call,) = answer.tool_calls
    assert (answer.text, call.name, call.arguments) == ("", "get_weather", '{"city":"Paris"}')
    chunks = await collected(found, ASK)
    assert [piece for chunk in chunks for piece in chunk.tool_calls] == [
        ToolCallDelta(0, call.id, call.name, call.arguments)
    ]
    assert "".join(chunk.text for chunk in chunks) == ""
    bodies = [orjson.loads(request.body or b"") for request in transport.requests]
    assert all("tools" not in body and "response_format" in body for body in bodies)


async def test_llama_cpp_is_asked_to_close_after_streams_only():
    found, transport = model(CHAT, STREAM, dialect=LLAMA_CPP)
    await found.answer(HELLO, CALL)
    await collected(found)
    assert [request.headers.get("Connection") for request in transport.requests] == [None, "close"]


async def test_an_embedding_model_reports_a_text_that_is_too_long():
    body = recorded("llama_cpp_input_too_large.json")
    found, _ = model(Scripted([body], status=500), dialect=LLAMA_CPP)
    with pytest.raises(ModelError) as caught:
        await found.answer(EmbeddingParams(input="hello"), CALL)
    assert caught.value.classification is ErrorClass.TOKEN_LIMIT
