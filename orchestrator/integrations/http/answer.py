"""Reading answers: bytes cut anywhere go in; status, headers and pieces of the body come out."""

from __future__ import annotations

from httptools import HttpResponseParser

from orchestrator.integrations.http.unpacking import Unpacker

__all__ = ["AnswerParser"]


class AnswerParser:
    """Parses the answers of one connection, one after the other.

    Attributes:
        feed: Takes the next bytes; raises one of the parser's errors where they are no answer, or
            where something follows the answer. ``complete`` tells the two apart.
        headed: Whether status and headers are there. Those of 1xx answers are passed over.
        complete: Whether the whole answer is there.
        keep_alive: Whether the connection may carry another request; known once it is complete.
        status: HTTP status.
        headers: Values by names in lower case, repeated ones joined by commas. Trailers are not
            among them: nobody has checked who wrote these.
        parts: Pieces of the body that nobody has taken yet, as they came.
    """

    __slots__ = (
        "_arriving",
        "_bodiless",
        "_parser",
        "_unpacker",
        "complete",
        "feed",
        "headed",
        "headers",
        "keep_alive",
        "on_body",
        "parts",
        "status",
    )

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.on_body = self.parts.append
        self.expect(bodiless=False)
        self._parser = HttpResponseParser(self)
        # As strict as aiohttp's client: what only confuses those who forward messages is allowed.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self.feed = self._parser.feed_data

    def expect(self, *, bodiless: bool) -> None:
        """Forget the last answer; the next one has no body if it answers a HEAD."""
        self.headed = self.complete = self.keep_alive = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.parts.clear()
        self._arriving: dict[bytes, bytes] = {}
        self._bodiless = bodiless
        self._unpacker: Unpacker | None = None

    def end(self) -> bool:
        """Say that no more bytes will come; return whether the answer is complete."""
        headers = self.headers
        chunked = headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        if self.headed and not chunked and b"content-length" not in headers:
            self.complete = True
        return self.complete

    def take(self, limit: int) -> bytes:
        """Return what has come of the body since the last call, unpacked.

        Args:
            limit: At most one byte more than these is unpacked; the rest is lost.

        Raises:
            ModelResponseError: It is not what its Content-Encoding says.
        """
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if b"content-encoding" in self.headers and data:
            if self._unpacker is None:
                self._unpacker = Unpacker(self.headers[b"content-encoding"])
            data = self._unpacker.feed(data, limit)
        if self._unpacker is not None and self.complete and len(data) <= limit:
            self._unpacker.finish()
        return data

    # -- what the parser calls -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("something follows the answer")  # ends the parsing; see `feed`

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        arriving = self._arriving
        if name in arriving:
            value = b"%b, %b" % (arriving[name], value)
        arriving[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self.headers = self._arriving
            self.headed = True
            self.complete = self._bodiless
        self._arriving = {}

    def on_message_complete(self) -> None:
        if self.headed:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()
