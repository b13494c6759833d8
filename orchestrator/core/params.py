"""What callers ask for, typed per kind of work and validated at the border."""

import difflib
from typing import Annotated, Any, Final, Literal, NotRequired, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.requirements import RequirementOptions

__all__ = [
    "ContentPart",
    "EmbeddingParams",
    "Message",
    "OwnParams",
    "Params",
    "TextGenerationParams",
    "TextRequest",
    "ToolSpec",
    "as_text_params",
    "validated",
]


_NO_CONTENT: Final = "no_content"


class ContentPart(TypedDict, total=False):
    """One part of a message's content, in the shape of the OpenAI wire format."""

    type: str
    text: str
    image_url: dict[str, Any]
    input_audio: dict[str, Any]
    file: dict[str, Any]


class Message(TypedDict):
    """One message, a plain dict in the shape of the OpenAI wire format.

    Messages stay dicts because every hop between here and the socket speaks that shape; a class
    would be built and taken apart once per request for nothing.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: NotRequired[str | list[ContentPart] | None]
    name: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    refusal: NotRequired[str | None]


class ToolSpec(TypedDict):
    """A function the model may call: ``{"type": "function", "function": {...}}``."""

    type: Literal["function"]
    function: dict[str, Any]


class Params(BaseModel):
    """Base of all parameters: immutable, strict about names, camelCase accepted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        loc_by_alias=False,
    )


class TextGenerationParams(Params):
    """A request for text.

    Either ``prompt`` or ``messages`` is needed; ``messages`` wins. ``tool_choice`` is ``auto``,
    ``none``, ``required``, a function's name, or the wire format's object. ``model`` names another
    model of the same provider than the one that was registered.
    """

    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    system_prompt: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    model: str | None = None
    extra: dict[str, Any] | None = None
    """Further fields for the provider, sent as they are."""

    @field_validator("messages")
    @classmethod
    def _say_something(cls, messages: list[Message] | None) -> list[Message] | None:
        """Refuse messages without content, but an assistant's: it may have called a tool instead.

        Its empty ones pass whether it did or not, since clients send back what they were given.
        """
        for index, message in enumerate(messages or ()):
            if message.get("content") in (None, []) and message["role"] != "assistant":
                raise PydanticCustomError(
                    _NO_CONTENT, "give a text or parts of content", {"index": index}
                )
        return messages

    @model_validator(mode="after")
    def _has_something_to_say(self) -> "TextGenerationParams":
        if self.messages is None and self.prompt is None:
            raise ValueError("give a prompt or messages")
        return self

    def conversation(self) -> list[Message]:
        """Return the messages to send, the system prompt first."""
        messages = self.messages
        if messages is None:
            messages = [{"role": "user", "content": self.prompt}]
        if self.system_prompt is not None:
            return [{"role": "system", "content": self.system_prompt}, *messages]
        return messages


class EmbeddingParams(Params):
    """A request for vectors: one text gives one, a list gives as many in the same order."""

    input: str | list[str]
    model: str | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None

    @field_validator("input")
    @classmethod
    def _has_something_to_turn(cls, value: str | list[str]) -> str | list[str]:
        if not value and isinstance(value, list):
            raise ValueError("give at least one text")
        if "" in ([value] if isinstance(value, str) else value):
            raise ValueError("an empty text has no vector")
        return value

    @property
    def texts(self) -> list[str]:
        """The input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class OwnParams(Params):
    """What a handler for a kind of work of the user's own is called with."""

    value: Any = None


TextRequest: TypeAlias = str | list[Message] | TextGenerationParams
"""What the text calls take: a prompt, messages, or full parameters."""


def validated(kind: type[Params], values: dict[str, Any]) -> Any:
    """Build parameters; a wrong value becomes our error, which names the field.

    Raises:
        InvalidRequestError: A field is missing, unknown, of the wrong type or out of range.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        # Every branch of a union reports a fault; whichever was meant came furthest.
        same = [first, *(other for other in others if other["loc"][:1] == first["loc"][:1])]
        fault = max(same, key=lambda found: len(found["loc"]))
        location = fault["loc"]
        if fault["type"] == _NO_CONTENT:
            location = (*location, fault["ctx"]["index"], "content")
        path = _path(location)
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            raise _unknown(kind, str(fault["loc"][0])) from error
        what = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "too_short":
            what = "give at least one"
        raise InvalidRequestError(f"{path}: {what}" if path else what, param=path) from error


def _unknown(kind: type[Params], name: str) -> InvalidRequestError:
    """Return the error for an option that is none; demands stand beside parameters in a call."""
    if kind.model_config.get("loc_by_alias"):  # the body of a request, which stands alone
        known = [field.alias or name for name, field in kind.model_fields.items()]
    else:
        known = [*kind.model_fields, *RequirementOptions.__annotations__]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return InvalidRequestError(f"there is no option {name!r}", param=name, hint=hint)


def _path(location: tuple[int | str, ...]) -> str | None:
    """Return where in the parameters a fault lies, such as ``messages[0].content``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part != "str":  # else the name of a union's branch
            path += f".{part}"
    return path.removeprefix(".") or None


def as_text_params(request: TextRequest, options: dict[str, Any]) -> TextGenerationParams:
    """Turn what a caller passed into parameters.

    Raises:
        InvalidRequestError: See `validated`.
    """
    if isinstance(request, TextGenerationParams):
        if not options:
            return request
        options = {**request.model_dump(exclude_unset=True), **options}
    elif isinstance(request, str):
        options = {"prompt": request, **options}
    else:
        options = {"messages": request, **options}
    result: TextGenerationParams = validated(TextGenerationParams, options)
    return result
