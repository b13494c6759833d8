from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ModelResponseError
from orchestrator.integrations.http.unpacking import Unpacker

LIMIT = 100_000


@pytest.mark.parametrize("coding", [b"gzip", b"X-GZIP", b" deflate "])
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 250), max_size=3))
def test_what_was_packed_comes_out_however_it_is_cut(coding: bytes, data: bytes, cuts: list[int]):
    pack = gzip.compress if b"zip" in coding.lower() else zlib.compress
    packed, unpacker = pack(data), Unpacker(coding)
    ends = sorted({0, len(packed), *(min(cut, len(packed)) for cut in cuts)})

    pieces = [packed[a:b] for a, b in pairwise(ends)]
    assert b"".join(unpacker.feed(piece, LIMIT) for piece in pieces) == data
    unpacker.finish()


def test_a_body_that_lacks_its_end_is_noticed():
    packed, unpacker = gzip.compress(b"text" * 100), Unpacker(b"gzip")
    unpacker.feed(packed[:-1], LIMIT)

    with pytest.raises(ModelResponseError, match="cut short"):
        unpacker.finish()


def test_little_that_unpacks_to_very_much_is_not_unpacked():
    bomb = gzip.compress(bytes(50 * 1024 * 1024))

    assert len(Unpacker(b"gzip").feed(bomb, 1000)) == 1001


def test_a_body_that_is_not_what_it_claims_to_be_is_refused():
    with pytest.raises(ModelResponseError, match="not the gzip it claims to be"):
        Unpacker(b"gzip").feed(b'{"text": "plain"}', LIMIT)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br", b""])
def test_other_codings_are_refused_by_name(coding: bytes):
    with pytest.raises(ModelResponseError, match=f"in the coding '{coding.decode()}'"):
        Unpacker(coding)
