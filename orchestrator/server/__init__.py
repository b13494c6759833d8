"""The door: an HTTP server that speaks OpenAI's wire format in front of one engine.

It reads requests, asks the engine and writes answers; whatever is decided is decided there.
"""

from orchestrator.server.app import build_app
from orchestrator.server.gateway import Gateway

__all__ = ["Gateway", "build_app"]
