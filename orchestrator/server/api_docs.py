"""``/api-docs``: every address of the gateway, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from aiohttp import web

from orchestrator.server.body import json_response
from orchestrator.server.openapi import document
from orchestrator.server.operations import Operation

__all__ = ["ApiDocs"]

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:1rem;"
    "background:#8881}h2{font-size:1rem;margin:2rem 0 0}table{border-spacing:1rem 0}"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded from anywhere, and nothing runs."""


class ApiDocs:
    """Describes what is served, itself included.

    Args:
        operations: What else is served.
        version: Of this program.
    """

    def __init__(self, operations: Sequence[Operation], version: str) -> None:
        self.operations = [*operations, *self._own()]
        self._version = version

    async def read(self, request: web.Request) -> web.Response:
        """``GET /api-docs/openapi.json``."""
        return json_response(document(self.operations, self._version))

    async def show(self, request: web.Request) -> web.Response:
        """``GET /api-docs``."""
        return web.Response(
            text=_page(document(self.operations, self._version)),
            content_type="text/html",
            headers={"Content-Security-Policy": _POLICY},
        )

    def _own(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/api-docs",
                handler=self.show,
                about="Show this.",
                answer={"type": "string"},
                answer_type="text/html",
            ),
            Operation(
                method="GET",
                path="/api-docs/openapi.json",
                handler=self.read,
                about="Describe every address as OpenAPI 3.1 does.",
            ),
        ]


def _page(described: dict[str, Any]) -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>orchestrator {escape(described['info']['version'])}</title>",
        f"<style>{_STYLE}</style><h1>orchestrator</h1>",
        f"<p>{escape(described['info']['description'])} The same for programs: ",
        "<a href='/api-docs/openapi.json'>openapi.json</a>.</p>",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['summary'])}</p>")
            parts += _details(operation)
    parts.append("<h1>Shapes</h1>")
    for name, schema in described["components"]["schemas"].items():
        parts.append(f"<details id='{escape(name)}'><summary><code>{escape(name)}</code>")
        parts.append(f"</summary><pre>{_json(schema)}</pre></details>")
    return "\n".join(parts)


def _details(operation: dict[str, Any]) -> list[str]:
    shown = {
        "takes": operation.get("requestBody", {}).get("content"),
        "asks": operation["parameters"],
        "gives": operation["responses"]["200"]["content"],
    }
    statuses = ", ".join(status for status in operation["responses"] if status != "200")
    return [
        *(
            f"<details><summary>{word}</summary><pre>{_json(what)}</pre></details>"
            for word, what in shown.items()
            if what
        ),
        f"<p>May refuse with {statuses}.</p>",
    ]


def _json(data: Any) -> str:
    return escape(json.dumps(data, indent=2))
