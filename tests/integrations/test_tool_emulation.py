from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ModelResponseError
from orchestrator.core.params import Message, ToolSpec
from orchestrator.core.results import FinishReason
from orchestrator.integrations.tool_emulation import (
    EmulatedReply,
    ToolEmulation,
    emulate_tools,
)
from orchestrator.integrations.tool_messages import as_plain_messages, with_instructions

USER: list[Message] = [{"role": "user", "content": "Weather in Paris?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: ToolSpec = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Current weather.", "parameters": CITY},
}
TIME: ToolSpec = {"type": "function", "function": {"name": "get_time"}}
BOTH = [WEATHER, TIME]


def emulation(tools: list[ToolSpec] = BOTH, **options: Any) -> ToolEmulation:
    return emulate_tools(USER, tools, **options)


# -- what is asked for -------------------------------------------------------------------------


def test_one_possible_function_is_asked_for_its_arguments_only():
    assert emulation([WEATHER]).schema == CITY
    assert emulation(name="get_weather").schema == CITY


def test_one_of_several_functions_is_named_in_the_output():
    assert emulation().schema == {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "function": {"const": name},
                    "arguments": {"$ref": f"#/$defs/{name}"},
                },
                "required": ["function", "arguments"],
                "additionalProperties": False,
            }
            for name in ("get_weather", "get_time")
        ],
        "$defs": {"get_weather": CITY, "get_time": {"type": "object", "properties": {}}},
    }


def test_where_the_model_may_choose_a_reply_is_one_of_the_forms():
    schema = emulation([TIME], may_reply=True).schema
    assert schema["anyOf"][0]["properties"] == {"reply": {"$ref": "#/$defs/$reply"}}
    assert schema["$defs"]["$reply"] == {"type": "string"}
    assert len(schema["anyOf"]) == 2


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        ({"type": "text"}, {"type": "string"}),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": CITY}}, CITY),
    ],
)
def test_a_reply_keeps_to_the_response_format(response_format: dict[str, Any], schema: Any):
    found = emulation(may_reply=True, response_format=response_format)
    assert found.schema["$defs"]["$reply"] == schema


def test_references_within_a_functions_schema_still_lead_where_they_did():
    parameters = {
        "type": "object",
        "properties": {
            "where": {"$ref": "#/$defs/Place"},
            "again": {"anyOf": [{"$ref": "#"}, {"$ref": "https://example.org/schema#/x"}]},
        },
        "$defs": {"Place": CITY},
    }
    tool: ToolSpec = {"type": "function", "function": {"name": "go", "parameters": parameters}}
    moved = emulation([tool, TIME]).schema["$defs"]["go"]
    assert moved["properties"]["where"] == {"$ref": "#/$defs/go/$defs/Place"}
    assert moved["properties"]["again"]["anyOf"] == [
        {"$ref": "#/$defs/go"},
        {"$ref": "https://example.org/schema#/x"},
    ]
    assert emulation([tool]).schema == parameters


def test_the_functions_are_described_to_the_model():
    (system, user) = emulation().messages
    assert system["role"] == "system"
    assert "get_weather: Current weather." in str(system["content"])
    assert orjson.dumps(CITY).decode() in str(system["content"])
    assert user == USER[0]


def test_only_the_named_function_is_described():
    (system, _) = emulation(name="get_time").messages
    assert "get_weather" not in str(system["content"])


# -- what comes of it --------------------------------------------------------------------------


def read(found: ToolEmulation, output: str, reason: FinishReason = "stop") -> EmulatedReply:
    return found.read(output, reason)


def test_arguments_become_a_call_of_the_only_function():
    reply = read(emulation([WEATHER]), '{\n "city": "Paris" }')
    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("get_weather", '{"city":"Paris"}')
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


def test_a_named_call_becomes_that_call():
    (call,) = read(emulation(), '{"function": "get_time", "arguments": {}}').tool_calls
    assert (call.name, call.arguments) == ("get_time", "{}")


def test_a_reply_becomes_text():
    found = emulation(may_reply=True)
    assert read(found, '{"reply": "21 °C"}') == EmulatedReply("21 °C", (), "stop")


def test_a_reply_in_json_becomes_its_text():
    found = emulation(may_reply=True, response_format={"type": "json_object"})
    assert read(found, '{"reply": {"a": 1}}').text == '{"a":1}'


@pytest.mark.parametrize(
    "output",
    [
        "Paris is sunny.",
        "",
        "5",
        "[]",
        '"reply"',
        '{"function": "rm_rf", "arguments": {}}',
        '{"function": "get_time"}',
        '{"function": "get_time", "arguments": []}',
        '{"function": ["get_time"], "arguments": {}}',
    ],
)
def test_output_that_no_schema_allows_is_the_servers_failure(output: str):
    with pytest.raises(ModelResponseError, match="did not keep to the schema"):
        read(emulation(), output)


def test_half_a_call_is_no_call():
    reply = read(emulation(), '{"function": "get_weather", "arguments": {"ci', "length")
    assert reply == EmulatedReply("", (), "length")


def test_a_call_that_is_whole_counts_even_at_the_limit():
    assert read(emulation([TIME]), "{}", "length").finish_reason == "tool_calls"


@given(st.text(), st.data())
def test_a_cut_reply_is_the_beginning_of_the_reply(text: str, data: st.DataObject):
    output = orjson.dumps({"reply": text}).decode()
    cut = data.draw(st.integers(0, len(output) - 1))
    reply = read(emulation(may_reply=True), output[:cut], "length")
    assert reply.tool_calls == ()
    assert text.startswith(reply.text)
    # All of it but an escape that was cut, and the four bytes of its frame.
    assert len(reply.text) >= min(len(text), (cut - len('{"reply":"') - 5) // 6)


def test_the_id_is_the_same_in_each_replay_and_another_in_each_turn():
    longer: list[Message] = [*USER, {"role": "assistant", "content": "21 °C"}, *USER]
    assert emulation().call_id == emulation().call_id
    assert emulation().call_id != emulate_tools(longer, BOTH).call_id


# -- conversations -----------------------------------------------------------------------------


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_calls_and_results_become_sentences():
    assert as_plain_messages(
        [
            *USER,
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [call("a", "get_weather", '{"city":"Paris"}'), call("b", "now", "")],
            },
            {"role": "tool", "tool_call_id": "a", "content": "sunny"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "14:32"}]},
            {"role": "assistant", "content": "Sunny."},
        ]
    ) == [
        USER[0],
        {
            "role": "assistant",
            "content": 'Let me see.\nI called get_weather with {"city":"Paris"}.\n'
            "I called now with {}.",
        },
        {"role": "user", "content": "Result of get_weather: sunny\nResult of now: 14:32"},
        {"role": "assistant", "content": "Sunny."},
    ]


def test_a_result_of_an_unknown_call_is_still_told():
    (message,) = as_plain_messages([{"role": "tool", "content": "7"}])
    assert message == {"role": "user", "content": "Result of the function: 7"}


def test_instructions_follow_the_callers_own():
    system: Message = {"role": "system", "content": "Be brief."}
    assert with_instructions([system, *USER], "Call it.") == [
        {"role": "system", "content": "Be brief.\n\nCall it."},
        *USER,
    ]
