"""What the events of a stream have in common that carry nothing but a piece of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

import orjson

__all__ = ["TextMold"]


class TextMold(NamedTuple):
    """The bytes before and behind the text of such an event.

    Nearly all events of a stream are alike but for their text. Whoever knows the rest need not
    parse it again: reading an event by its mold takes a fifth of the time.
    """

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, payload: bytes, event: dict[str, Any]) -> Self | None:
        """Return the mold of an event, or None if there is more to it than text.

        Args:
            payload: The event as it came.
            event: The same, parsed, with a choice in it.
        """
        choice = event["choices"][0]
        delta = choice.get("delta")
        if not delta or choice.get("index") or choice.get("finish_reason") or event.get("usage"):
            return None
        if len(delta) > 1 or not isinstance(delta.get("content"), str):
            return None
        text = orjson.dumps(delta["content"])
        at = payload.find(text, payload.find(b'"content"'))
        head, tail = payload[:at], payload[at + len(text) :]
        emptied = {**event, "choices": [{**choice, "delta": {"content": ""}}]}
        # The same bytes may stand elsewhere too: emptying them has to empty the text, and change
        # nothing else.
        return cls(head, tail) if at >= 0 and _parsed(head + b'""' + tail) == emptied else None

    def read(self, payloads: Sequence[bytes], start: int) -> tuple[str, int]:
        """Return the text of the events from ``start`` on, up to the first of another mold.

        Returns:
            The text, and the position of the event behind it; this is ``start`` if there is none.
        """
        head, tail = self
        n_head, n_tail = len(head), len(tail)
        pieces: list[bytes] = []
        for payload in islice(payloads, start, None):
            if not (payload.startswith(head) and payload.endswith(tail)):
                break
            pieces.append(payload[n_head:-n_tail])
        if not pieces:
            return "", start
        # All in one call. What is no text, or more than one, shows in what comes back.
        texts = _parsed(b"[%b]" % b",".join(pieces))
        try:
            if len(texts) == len(pieces):
                return "".join(texts), start + len(pieces)
        except TypeError:
            pass
        return "", start


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
