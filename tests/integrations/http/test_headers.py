from __future__ import annotations

import pytest

from orchestrator.integrations.http.headers import Headers

HEADERS = Headers({b"retry-after": b"7", b"x-word": b"gr\xf6\xdfe"})


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
def test_a_header_is_found_however_it_is_spelt(name: str):
    assert HEADERS[name] == HEADERS.get(name) == "7"
    assert name in HEADERS


@pytest.mark.parametrize("name", ["x", "", "größe", "€"])
def test_a_header_that_is_not_there_is_none(name: str):
    assert HEADERS.get(name) is None
    with pytest.raises(KeyError):
        HEADERS[name]


def test_headers_are_a_mapping_like_any_other():
    assert dict(HEADERS) == {"retry-after": "7", "x-word": "größe"}
    assert len(HEADERS) == 2
    assert repr(HEADERS) == "Headers({'retry-after': '7', 'x-word': 'größe'})"
