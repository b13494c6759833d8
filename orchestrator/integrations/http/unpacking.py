"""Bodies that a server compressed although nobody asked it to."""

from __future__ import annotations

import zlib
from typing import Final

from orchestrator.core.errors import ModelResponseError

__all__ = ["Unpacker"]

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_CODINGS: Final = frozenset((b"gzip", b"x-gzip", b"deflate"))


class Unpacker:
    """Unpacks one body, bytes cut anywhere.

    Args:
        coding: The answer's ``Content-Encoding``.

    Raises:
        ModelResponseError: The coding is not gzip or deflate.
    """

    __slots__ = ("_coding", "_zlib")

    def __init__(self, coding: bytes) -> None:
        self._coding = coding.strip().lower()
        if self._coding not in _CODINGS:
            raise ModelResponseError(
                f"the answer came unasked in the coding {self._coding.decode('latin-1')!r}",
                hint="gzip and deflate are understood; none is best",
            )
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, data: bytes, limit: int) -> bytes:
        """Return what this unpacks to, or so much of it that it is more than ``limit`` bytes.

        Raises:
            ModelResponseError: It is not what the coding promises.
        """
        try:
            return self._zlib.decompress(data, limit + 1)
        except zlib.error as error:
            raise ModelResponseError(
                f"the answer is not the {self._coding.decode()} it claims to be ({error})"
            ) from error

    def finish(self) -> None:
        """Say that this was all; raises `ModelResponseError` if something is missing."""
        if not self._zlib.eof:
            raise ModelResponseError(f"the answer's {self._coding.decode()} body is cut short")
