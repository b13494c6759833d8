"""What the header of a GGUF model file says.

Source: the format's specification, ``docs/gguf.md`` of the ggml project: magic, version, number
of tensors, number of metadata entries, the entries, then one entry per tensor, all little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.core.errors import ConfigurationError

__all__ = ["GgufHeader", "read_gguf"]

_Scalar: TypeAlias = str | int | float | bool

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_FIXED_PART: Final = struct.Struct("<4sIQQ")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_STRING, _ARRAY = 8, 9
_NUMBERS: Final = {
    number: struct.Struct(f"<{letter}")
    for number, letter in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
    }.items()
}  # fmt: skip
_DEFAULT_ALIGNMENT: Final = 32
_HALF_PRECISION: Final = 2
_MOST_DIMENSIONS: Final = 4
# The largest vocabularies in use take about 20 MB; a longer header is garbage.
_LONGEST_HEADER: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The header of one file.

    Attributes:
        size_bytes: Of the whole file.
        metadata: Every entry that is not an array, such as ``general.architecture``.
    """

    path: Path
    version: int
    size_bytes: int
    metadata: Mapping[str, _Scalar]

    @property
    def architecture(self) -> str | None:
        """The family of models it belongs to, such as ``llama``."""
        return self._text("general.architecture")

    @property
    def name(self) -> str | None:
        """What its makers call it."""
        return self._text("general.name")

    @property
    def context_length(self) -> int | None:
        """The window it was trained with, in tokens."""
        return self._number("context_length")

    @property
    def chat_template(self) -> str | None:
        """How it writes a conversation; a model without one was not trained to chat."""
        return self._text("tokenizer.chat_template")

    def cache_bytes(self, tokens: int) -> int:
        """Return what the key-value cache of so many tokens takes, in half precision; 0 if unsaid.

        Keys and values of every layer: ``block_count`` times ``head_count_kv`` heads, each of
        ``key_length`` and ``value_length`` numbers, which are ``embedding_length / head_count``
        unless the file says otherwise.
        """
        heads = self._number("attention.head_count")
        layers = self._number("block_count")
        width = self._number("embedding_length")
        if not heads or not layers or not width or min(heads, layers, width) < 0:
            return 0
        kept = self._number("attention.head_count_kv") or heads
        length = self._number("attention.key_length") or width // heads
        length += self._number("attention.value_length") or width // heads
        return max(0, tokens * layers * kept * length * _HALF_PRECISION)

    def _number(self, key: str) -> int | None:
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else None

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


def read_gguf(path: Path) -> GgufHeader:
    """Read a file's header, and check that the file reaches as far as its last tensor begins.

    Raises:
        ConfigurationError: There is no such file, it cannot be read, it is not GGUF of a version
            in use, or part of it is missing.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < _FIXED_PART.size:
                raise ConfigurationError(f"{path} is too short for a GGUF model: {size} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(path, data)
    except OSError as error:
        raise ConfigurationError(f"cannot read the model file {path}: {error.strerror}") from error
    except (struct.error, IndexError) as error:
        raise ConfigurationError(
            f"the model file {path} is cut short after {size} bytes", hint="fetch it again"
        ) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(
            f"the header of {path} is damaged: {error}", hint="fetch it again"
        ) from error


def _header(path: Path, data: mmap.mmap) -> GgufHeader:
    magic, version, n_tensors, n_entries = _FIXED_PART.unpack_from(data)
    if magic != _MAGIC:
        raise ConfigurationError(
            f"{path} is not a GGUF model: it begins with {magic!r}",
            hint="the embedded engine runs GGUF files only",
        )
    if version not in _VERSIONS:
        raise ConfigurationError(
            f"{path} is GGUF of version {version}, and {_VERSIONS} are in use",
            hint="convert it with a current llama.cpp",
        )
    reader = _Reader(data)
    metadata: dict[str, _Scalar] = {}
    for _ in range(n_entries):
        key = reader.string()
        kind = reader.number(_U32)
        if kind == _ARRAY:
            reader.skip_array()
        else:
            metadata[key] = reader.scalar(kind)
    last_tensor = max((reader.tensor_offset() for _ in range(n_tensors)), default=0)
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"its alignment is {alignment!r}")
    data_begins = -(-reader.position // alignment) * alignment
    if n_tensors and data_begins + last_tensor >= len(data):
        raise IndexError("the last tensor is missing")
    return GgufHeader(path, version, len(data), metadata)


class _Reader:
    """Reads on from a position; raises `struct.error` or `IndexError` at the end of the data."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = _FIXED_PART.size

    def number(self, form: struct.Struct) -> int:
        value: int = form.unpack_from(self._data, self.position)[0]
        self.position += form.size
        return value

    def string(self) -> str:
        length = self.number(_U64)
        begin = self.position
        self._advance(length)
        return self._data[begin : self.position].decode()

    def scalar(self, kind: int) -> _Scalar:
        return self.string() if kind == _STRING else self.number(_number_form(kind))

    def skip_array(self) -> None:
        kind, count = self.number(_U32), self.number(_U64)
        if kind == _STRING:
            # Vocabularies: the strings are stepped over, not read.
            for _ in range(count):
                self._advance(self.number(_U64))
        else:
            self._advance(count * _number_form(kind).size)

    def tensor_offset(self) -> int:
        """Read one tensor's entry and return where its values begin after the header."""
        self._advance(self.number(_U64))
        n_dimensions = self.number(_U32)
        if n_dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {n_dimensions} dimensions")
        self._advance(n_dimensions * _U64.size + _U32.size)
        return self.number(_U64)

    def _advance(self, length: int) -> None:
        self.position += length
        if self.position > len(self._data):
            raise IndexError("the data ends before the header does")
        if self.position > _LONGEST_HEADER:
            raise ValueError(f"it is longer than {_LONGEST_HEADER} bytes")


def _number_form(kind: int) -> struct.Struct:
    try:
        return _NUMBERS[kind]
    except KeyError:
        raise ValueError(f"an entry is of the unknown type {kind}") from None
