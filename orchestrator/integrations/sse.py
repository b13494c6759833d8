"""Server-sent events: bytes cut anywhere go in, the payloads of whole events come out."""

from __future__ import annotations

from typing import Final

from orchestrator.core.errors import ModelResponseError

__all__ = ["MAX_EVENT_BYTES", "SseDecoder"]

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""No chunk of a completion comes near; past it, the sender has lost the format."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class SseDecoder:
    """Decodes one event stream.

    An event's payload is its ``data`` lines joined by newlines; comments and other fields are
    skipped, and events without data are none. Lines may end in LF, CRLF or CR.

    Source:
        WHATWG HTML Living Standard, section 9.2, "Server-sent events".
    """

    __slots__ = ("_after_cr", "_limit", "_parts", "_size", "_start")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._parts: list[bytes] = []  # of the event that is still arriving, joined only once
        self._size = 0
        self._after_cr = False
        self._start: bytes | None = b""  # until it is clear whether there is a byte order mark

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the payloads of the events they complete.

        Raises:
            ModelResponseError: An event is longer than the limit.
        """
        if self._start is not None or self._after_cr or b"\r" in data:
            data = self._plain(data)
        parts = self._parts
        end = data.rfind(b"\n\n")
        if parts:
            if end < 0 and not (data.startswith(b"\n") and parts[-1].endswith(b"\n")):
                self._keep(data)
                return []
            parts.append(data)
            data = b"".join(parts)
            parts.clear()
            self._size = 0
            end = data.rfind(b"\n\n")
        self._keep(data if end < 0 else data[end + 2 :])
        return [] if end < 0 else self._payloads(data[:end])

    def flush(self) -> list[bytes]:
        """Return the payload of an event that the body's end has cut off, if there is one.

        The standard drops such an event; some servers leave the last blank line out.
        """
        rest = b"".join(self._parts)
        self._parts.clear()
        return self._payloads(rest)

    def _plain(self, data: bytes) -> bytes:
        """Return the bytes without byte order mark and with LF as the only line end."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(data):
                self._start = data
                return b""
            self._start = None
            data = data.removeprefix(_BYTE_ORDER_MARK)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise self._too_long()

    def _payloads(self, events: bytes) -> list[bytes]:
        if events.startswith(b"data: ") and len(events) <= self._limit:
            payloads = events[6:].split(b"\n\ndata: ")
            # No newline but those two: every event is one line of data, as is usual.
            if events.count(b"\n") == 2 * (len(payloads) - 1):
                return payloads
        payloads = []
        for event in events.split(b"\n\n"):
            if len(event) > self._limit:
                raise self._too_long()
            if lines := _data_lines(event):
                payloads.append(b"\n".join(lines))
        return payloads

    def _too_long(self) -> ModelResponseError:
        return ModelResponseError(f"an event of the stream is longer than {self._limit} bytes")


def _data_lines(event: bytes) -> list[bytes]:
    fields = (line.partition(b":") for line in event.split(b"\n"))
    return [value.removeprefix(b" ") for name, _, value in fields if name == b"data"]
