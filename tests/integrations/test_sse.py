from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorClass, ModelResponseError
from orchestrator.integrations.sse import SseDecoder
from tests.integrations.recordings import FOLDER, recorded

STREAMS = sorted(path.name for path in FOLDER.glob("*.sse"))


def events(*pieces: bytes) -> list[bytes]:
    decoder = SseDecoder()
    found = [payload for piece in pieces for payload in decoder.feed(piece)]
    return found + decoder.flush()


def test_each_event_gives_its_data():
    assert events(b"data: one\n\ndata: two\n\n") == [b"one", b"two"]


def test_lines_of_data_are_joined_by_newlines():
    assert events(b"data: one\ndata: two\n\n") == [b"one\ntwo"]


def test_one_space_after_the_colon_is_not_part_of_the_data():
    assert events(b"data:one\n\ndata:  two\n\n") == [b"one", b" two"]


def test_comments_and_other_fields_are_skipped():
    assert events(b": ping\n\nevent: chunk\nid: 7\ndata: one\nretry: 3\n\n") == [b"one"]


def test_a_field_whose_name_only_begins_with_data_is_another_field():
    assert events(b"database: no\n\ndata: yes\n\n") == [b"yes"]


def test_data_without_a_colon_is_an_empty_payload():
    assert events(b"data\n\n") == [b""]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_ends_a_line(end: bytes):
    body = end.join([b"data: one", b"data: two", b"", b"data: three", b"", b""])
    assert events(body) == [b"one\ntwo", b"three"]


def test_a_byte_order_mark_is_skipped_at_the_start_only():
    mark = b"\xef\xbb\xbf"
    assert events(mark + b"data: one\n\n" + b"data: " + mark + b"\n\n") == [b"one", mark]


def test_an_event_without_its_blank_line_comes_with_the_flush():
    decoder = SseDecoder()
    assert decoder.feed(b"data: one\n\ndata: [DONE]\n") == [b"one"]
    assert decoder.flush() == [b"[DONE]"]
    assert decoder.flush() == []


def test_an_event_comes_out_as_soon_as_its_blank_line_is_there():
    decoder = SseDecoder()
    assert decoder.feed(b"data: one\n") == []
    assert decoder.feed(b"\n") == [b"one"]


def test_every_event_that_is_whole_comes_out_at_once():
    decoder = SseDecoder()
    assert decoder.feed(b"data: o") == []
    assert decoder.feed(b"ne\n\ndata: two\n\ndata: th") == [b"one", b"two"]


def test_the_line_feed_of_a_cut_crlf_ends_no_second_line():
    decoder = SseDecoder()
    assert decoder.feed(b"data: one\r") == []
    assert decoder.feed(b"\ndata: two\r\n\r\n") == [b"one\ntwo"]


@pytest.mark.parametrize(
    "pieces",
    [[b"data: " + b"x" * 100], [b"data: " + b"x" * 20] * 5, [b"data: " + b"x" * 100 + b"\n\n"]],
    ids=["unfinished", "in pieces", "finished"],
)
def test_an_event_longer_than_the_limit_is_an_error(pieces: list[bytes]):
    decoder = SseDecoder(max_event_bytes=64)
    with pytest.raises(ModelResponseError, match="longer than 64 bytes") as caught:
        for piece in pieces:
            decoder.feed(piece)
    assert caught.value.classification is ErrorClass.INVALID_RESPONSE


def test_many_short_events_together_may_be_longer_than_the_limit():
    decoder = SseDecoder(max_event_bytes=64)
    for _ in range(3):
        assert decoder.feed(b"data: one\n\n" * 100) == [b"one"] * 100


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_bytes_cut_at_every_boundary_give_the_same_events(name: str):
    body = recorded(name)
    whole = events(body)
    assert whole[-1] == b"[DONE]"
    for cut in range(len(body) + 1):
        assert events(body[:cut], body[cut:]) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_bytes_one_at_a_time_give_the_same_events(name: str):
    body = recorded(name)
    assert events(*(body[i : i + 1] for i in range(len(body)))) == events(body)


LINES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b"data", b": c", b"event: x", b"", b"\xc3\xa9"]),
    max_size=12,
)


@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans(), st.data())
def test_no_cutting_changes_the_events(
    lines: list[bytes], end: bytes, mark: bool, data: st.DataObject
):
    body = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert events(*pieces) == reference(lines)


def reference(lines: list[bytes]) -> list[bytes]:
    """The events by the letter of the standard, line by line; the end dispatches too."""
    found: list[bytes] = []
    values: list[bytes] = []
    for line in [*lines, b""]:
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
        elif not line and values:
            found.append(b"\n".join(values))
            values = []
    return found
