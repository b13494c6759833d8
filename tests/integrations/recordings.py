"""Answers of a real llama.cpp server (xllamacpp 2026.10, SmolLM2-135M-Instruct), byte for byte."""

from __future__ import annotations

from pathlib import Path

from orchestrator.core.params import ToolSpec

FOLDER = Path(__file__).parent / "recorded"

TOOLS: list[ToolSpec] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the current weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "get_time", "description": "Tell the time."}},
]
"""The tools that were offered in the recordings named after them."""


def recorded(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
