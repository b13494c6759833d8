"""The default reply keeps to what the request asks for."""

from __future__ import annotations

import enum
from typing import Any, Literal

import orjson
import pytest
from pydantic import BaseModel, Field

from orchestrator.testing.echo import echo, example


def chat(*messages: tuple[str, Any], **options: Any) -> dict[str, Any]:
    said = [{"role": role, "content": content} for role, content in messages]
    return {"model": "m", "messages": said, **options}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


class Colour(enum.Enum):
    RED = "red"


class Leaf(BaseModel):
    kind: Literal["leaf"]
    size: int = Field(ge=3)
    share: float = Field(gt=0, lt=1)
    below: float = Field(lt=0)


class Tree(BaseModel):
    name: str = Field(min_length=8, max_length=9)
    colour: Colour
    ripe: bool
    leaves: list[Leaf] = Field(min_length=2)
    parent: Tree | None
    either: int | str


class TestText:
    def test_the_users_last_words_come_back(self) -> None:
        request = chat(("user", "first"), ("assistant", "and"), ("user", "last"))
        assert echo(request).text == "last"

    def test_words_in_parts_come_back_without_the_picture(self) -> None:
        parts = [{"type": "text", "text": "what is"}, {"type": "image_url"}]
        assert echo(chat(("user", parts))).text.strip() == "what is"

    def test_without_a_user_the_last_message_comes_back(self) -> None:
        assert echo(chat(("system", "be brief"))).text == "be brief"


class TestTools:
    offered = (tool("weather", city={"type": "string"}), tool("clock"))

    def test_an_offered_tool_is_called_with_arguments_its_schema_admits(self) -> None:
        [call] = echo(chat(("user", "Oslo"), tools=self.offered)).tool_calls
        assert call.name == "weather"
        assert orjson.loads(call.arguments) == {"city": "Oslo"}

    def test_a_named_tool_is_the_one_called(self) -> None:
        named = {"type": "function", "function": {"name": "clock"}}
        [call] = echo(chat(("user", "Oslo"), tools=self.offered, tool_choice=named)).tool_calls
        assert call.name == "clock"

    def test_no_tool_is_called_when_none_is_chosen_or_results_are_in(self) -> None:
        chosen = echo(chat(("user", "Oslo"), tools=self.offered, tool_choice="none"))
        answered = echo(chat(("user", "Oslo"), ("tool", "sunny"), tools=self.offered))
        assert chosen.tool_calls == answered.tool_calls == ()
        assert chosen.text == answered.text == "Oslo"

    def test_required_calls_a_tool_even_after_results(self) -> None:
        request = chat(("user", "x"), ("tool", "y"), tools=self.offered, tool_choice="required")
        assert len(echo(request).tool_calls) == 1


class TestFormats:
    def test_json_mode_gives_an_object(self) -> None:
        reply = echo(chat(("user", 'say "hi"'), response_format={"type": "json_object"}))
        assert orjson.loads(reply.text) == {"echo": 'say "hi"'}

    def test_a_schema_admits_what_it_gets(self) -> None:
        form = {
            "type": "json_schema",
            "json_schema": {"name": "tree", "schema": Tree.model_json_schema()},
        }
        tree = Tree.model_validate_json(echo(chat(("user", "oak"), response_format=form)).text)
        assert tree.name == "oak....."
        assert tree.parent is None
        assert len(tree.leaves) == 2

    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ({"const": 4}, 4),
            ({"enum": ["b", "a"]}, "b"),
            ({"type": ["string", "null"]}, "t"),
            ({"type": "object", "properties": {"a": {"type": "null"}}}, {"a": None}),
            ({"type": "object"}, {}),
            ({"type": "array", "items": {"type": "integer"}}, []),
            ({"type": "integer", "maximum": -2}, -2),
            ({"oneOf": [{"type": "boolean"}, {"type": "null"}]}, None),
            ({"type": "string", "maxLength": 0}, ""),
            ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer", "minimum": 9}}}, 9),
        ],
    )
    def test_a_schema_has_one_example(self, schema: dict[str, Any], value: Any) -> None:
        assert example(schema, "t") == value
