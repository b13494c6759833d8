"""Writes small GGUF files by hand, from the format's specification."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

STRING, ARRAY, UINT8, UINT32, FLOAT32, BOOL, UINT64 = 8, 9, 0, 4, 6, 7, 10

CHAT_MODEL: Mapping[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.context_length": 2048,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.tokens": ["<s>", "a", "é" * 40],
    "tokenizer.ggml.scores": [0.5, 1.5],
    "tokenizer.chat_template": "{% for message in messages %}...",
}


def gguf(
    metadata: Mapping[str, Any] = CHAT_MODEL,
    *,
    tensors: int = 2,
    version: int = 3,
    magic: bytes = b"GGUF",
) -> bytes:
    """Return a file with these entries and as many tensors of eight float32 values each."""
    head = struct.pack("<4sIQQ", magic, version, tensors, len(metadata))
    entries = b"".join(text(key) + typed(value) for key, value in metadata.items())
    infos = b"".join(
        text(f"blk.{n}.weight") + struct.pack("<IQIQ", 1, 8, 0, n * 32) for n in range(tensors)
    )
    header = head + entries + infos
    return header + bytes(-len(header) % 32) + bytes(32 * tensors)


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def typed(value: Any) -> bytes:
    if isinstance(value, list):
        kind, _ = _scalar(value[0])
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(
            _scalar(item)[1] for item in value
        )
    kind, raw = _scalar(value)
    return struct.pack("<I", kind) + raw


def _scalar(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        return UINT32, struct.pack("<I", value)
    if isinstance(value, float):
        return FLOAT32, struct.pack("<f", value)
    return STRING, text(value)
