"""Server-sent events, from the server's side."""

from __future__ import annotations

from typing import Final

__all__ = ["EVENT_STREAM", "NOT_CACHED"]

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
"""Their content type."""
NOT_CACHED: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers that keep proxies from holding events back."""
