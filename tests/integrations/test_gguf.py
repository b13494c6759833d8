from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.integrations.gguf import read_gguf
from tests.integrations.tiny_gguf import ARRAY, CHAT_MODEL, gguf, text

WHOLE = gguf()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_the_header_says_what_the_model_is(path: Path):
    path.write_bytes(WHOLE)
    header = read_gguf(path)

    assert header.path == path
    assert (header.version, header.size_bytes) == (3, len(WHOLE))
    assert header.architecture == "llama"
    assert header.name == "Tiny"
    assert header.context_length == 2048
    assert header.chat_template == CHAT_MODEL["tokenizer.chat_template"]


def test_every_entry_that_is_no_array_is_kept_with_its_type(path: Path):
    path.write_bytes(WHOLE)

    assert dict(read_gguf(path).metadata) == {
        key: value for key, value in CHAT_MODEL.items() if not isinstance(value, list)
    }


def test_what_the_header_does_not_say_is_none(path: Path):
    path.write_bytes(gguf({"general.architecture": "llama", "general.name": 7}))
    header = read_gguf(path)

    assert (header.name, header.context_length, header.chat_template) == (None, None, None)


def test_the_cache_is_keys_and_values_of_every_layer_and_token(path: Path):
    # SmolLM2-135M: 94,371,840 bytes for 4,096 tokens, as measured.
    sizes = {"block_count": 30, "embedding_length": 576, "attention.head_count": 9}
    entries = {f"llama.{key}": value for key, value in sizes.items()}
    path.write_bytes(
        gguf({"general.architecture": "llama", **entries, "llama.attention.head_count_kv": 3})
    )

    assert read_gguf(path).cache_bytes(4_096) == 4_096 * 30 * 3 * (64 + 64) * 2 == 94_371_840


@pytest.mark.parametrize("heads", [None, 0])
def test_a_cache_whose_size_is_not_said_counts_as_nothing(path: Path, heads: int | None):
    entries = {"general.architecture": "llama", "llama.block_count": 30}
    entries |= {} if heads is None else {"llama.attention.head_count": heads}
    path.write_bytes(gguf({**entries, "llama.embedding_length": 576}))

    assert read_gguf(path).cache_bytes(4_096) == 0


def test_a_file_that_is_not_there_is_named(path: Path):
    with pytest.raises(ConfigurationError, match=r"model.gguf: No such file"):
        read_gguf(path)


def test_a_folder_is_no_model(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_gguf(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GGUF", WHOLE[:23]])
def test_a_file_shorter_than_any_header_is_refused(path: Path, content: bytes):
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"too short for a GGUF model: {len(content)} b"):
        read_gguf(path)


def test_a_file_of_another_kind_is_named_with_how_it_begins(path: Path):
    path.write_bytes(gguf(magic=b"PK\x03\x04"))

    with pytest.raises(ConfigurationError, match=r"not a GGUF model: it begins with b'PK"):
        read_gguf(path)


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
def test_a_version_that_is_not_in_use_is_refused(path: Path, version: int):
    path.write_bytes(gguf(version=version))

    with pytest.raises(ConfigurationError, match=f"GGUF of version {version}"):
        read_gguf(path)


def test_a_file_cut_anywhere_before_its_last_tensor_is_refused(path: Path):
    last_tensor = len(WHOLE) - 32
    for length in range(24, last_tensor + 1):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(ConfigurationError, match=f"cut short after {length} bytes"):
            read_gguf(path)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (text("k") + struct.pack("<I", 13), "unknown type 13"),
        (text("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1), "unknown type 9"),
        (text("general.alignment") + struct.pack("<II", 4, 0), "alignment is 0"),
        (struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<IB", 0, 0), "codec can't decode"),
    ],
)
def test_a_damaged_header_says_where_it_is_damaged(path: Path, entry: bytes, complaint: str):
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + entry)

    with pytest.raises(ConfigurationError, match=f"header of .* is damaged: .*{complaint}"):
        read_gguf(path)


def test_a_tensor_of_absurd_shape_is_refused(path: Path):
    tensor = text("t") + struct.pack("<I", 2**31)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1, 0) + tensor + bytes(100))

    with pytest.raises(ConfigurationError, match="2147483648 dimensions"):
        read_gguf(path)


def test_absurd_counts_are_refused_without_reading_on(path: Path):
    array = text("k") + struct.pack("<IIQ", ARRAY, 10, 2**62)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 2**63, 2**63) + array + bytes(100))

    with pytest.raises(ConfigurationError, match="cut short"):
        read_gguf(path)


@given(content=st.binary(max_size=300))
def test_whatever_follows_the_magic_gives_a_header_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    path = tmp_path_factory.getbasetemp() / "random.gguf"
    path.write_bytes(WHOLE[:24] + content)

    with pytest.raises(ConfigurationError, match=r"random\.gguf"):
        read_gguf(path)


@given(position=st.integers(0, len(WHOLE) - 1), bits=st.integers(1, 255))
def test_one_damaged_byte_gives_a_header_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, bits: int
):
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    damaged = bytearray(WHOLE)
    damaged[position] ^= bits
    path.write_bytes(damaged)

    try:
        assert read_gguf(path).size_bytes == len(WHOLE)
    except ConfigurationError as error:
        assert "damaged.gguf" in str(error)  # noqa: PT017
