from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ModelError
from orchestrator.core.params import TextGenerationParams
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.openai_stream import ChatStreamDecoder
from orchestrator.integrations.text_mold import TextMold


def chunk(content: Any, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    return {"id": "c-1", "choices": [choice], **fields}


def mold(event: dict[str, Any], payload: bytes | None = None) -> TextMold | None:
    return TextMold.of(payload or orjson.dumps(event), event)


def known(event: dict[str, Any]) -> TextMold:
    found = mold(event)
    assert found is not None
    return found


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@given(texts=st.lists(st.text(), min_size=1), ascii_only=st.booleans())
def test_every_text_is_read_as_json_would(
    texts: list[str], ascii_only: bool, separators: tuple[str, str]
):
    def written(text: str) -> bytes:
        return json.dumps(chunk(text), ensure_ascii=ascii_only, separators=separators).encode()

    found = mold(chunk("first"), written("first"))
    assert found is not None
    payloads = [b"{}", *map(written, texts), b"{}"]
    assert found.read(payloads, 1) == ("".join(texts), len(texts) + 1)


@pytest.mark.parametrize(
    "event",
    [
        chunk(None),
        chunk(["a", "b"]),
        chunk("a", reason="stop"),
        chunk("a", usage={"total_tokens": 1}),
        {"choices": [{"index": 1, "delta": {"content": "a"}}]},
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}}]},
        {"choices": [{"index": 0, "delta": {}}]},
    ],
)
def test_an_event_that_says_more_than_text_has_no_mold(event: dict[str, Any]):
    assert mold(event) is None


@pytest.mark.parametrize(
    "payload",
    [
        b'{"choices":[{"logprobs":{"content":"a"},"index":0,"delta":{"content":"a"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"\\u0061"}}]}',
    ],
)
def test_a_text_that_cannot_be_told_from_other_bytes_gives_no_mold(payload: bytes):
    assert mold(orjson.loads(payload), payload) is None


@pytest.mark.parametrize(
    "middle", [b"null", b"1", b'"a","b"', b'"a","role":"x"', b'"a', b"", b'["a"]', b'"\n"']
)
def test_what_is_no_text_is_left_to_others(middle: bytes):
    event = chunk("a")
    found = known(event)
    odd = found.head + middle + found.tail
    assert found.read([odd], 0) == ("", 0)
    assert found.read([found.head + b'"fine"' + found.tail, odd], 0) == ("", 0)


EVENTS = st.one_of(
    st.builds(chunk, st.text(max_size=3)),
    st.builds(chunk, st.one_of(st.none(), st.integers(), st.lists(st.text(max_size=2)))),
    st.builds(chunk, st.text(max_size=3), usage=st.just({"prompt_tokens": 1})),
    st.builds(chunk, st.text(max_size=3), reason=st.sampled_from(["stop", "length"])),
    st.just({"choices": [{"index": 1, "delta": {"content": "other"}}]}),
    st.just({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
    st.just({"error": {"message": "no more"}}),
)


@given(st.lists(EVENTS, max_size=12), st.integers(1, 12))
def test_a_decoder_that_knows_the_mold_reads_what_one_without_reads(
    events: list[dict[str, Any]], at_once: int
):
    payloads = [b"data: %b\n\n" % orjson.dumps(event) for event in events]
    reads = [b"".join(payloads[n : n + at_once]) for n in range(0, len(payloads), at_once)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextMold, "of", lambda payload, event: None)
        expected = _decoded(reads)
    assert _decoded(reads) == expected


def _decoded(reads: list[bytes]) -> list[Any]:
    codec = OpenAICodec(Dialect(name="plain"))
    wire = codec.encode_text("gpt", TextGenerationParams(prompt="Hi"), {}, stream=True)
    decoder: ChatStreamDecoder = codec.stream_decoder(wire)
    found: list[Any] = []
    try:
        for data in reads:
            found += decoder.feed(data)
        found += decoder.finish()
    except ModelError as error:
        found.append((type(error), error.message))
    return found
