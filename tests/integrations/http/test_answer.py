"""Every answer is read alike, wherever the network cut it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import pytest
from httptools import HttpParserError, HttpParserUpgrade
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ModelResponseError
from orchestrator.integrations.http.answer import AnswerParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PACKED = gzip.compress(b"onetwo", mtime=0)
LIMIT = 1000


class Read(NamedTuple):
    status: int
    body: bytes
    complete: bool
    keep_alive: bool


def read(
    pieces: Iterable[bytes], *, bodiless: bool = False, parser: AnswerParser | None = None
) -> Read:
    parser = parser or AnswerParser()
    parser.expect(bodiless=bodiless)
    body = b""
    for piece in pieces:
        parser.feed(piece)
        body += parser.take(LIMIT)
    return Read(parser.status, body, parser.complete, parser.keep_alive)


def cut(data: bytes) -> Iterable[list[bytes]]:
    """Cut at each boundary, at all of them, and at none."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield from ([data[:i], data[i:]] for i in range(1, len(data)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK + b"Content-Length: 6\r\n\r\nonetwo", Read(200, b"onetwo", True, True)),
        (OK + b"content-length:0\r\nX-Empty:\r\n\r\n", Read(200, b"", True, True)),
        (CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", Read(200, b"onetwo", True, True)),
        (
            CHUNKED + b"3;a=b\r\none\r\n3 \r\ntwo\r\n0\r\nX: y\r\n\r\n",
            Read(200, b"onetwo", True, True),
        ),
        (OK + b"\r\nonetwo", Read(200, b"onetwo", False, False)),
        (b"HTTP/1.0 200 OK\r\n\r\nonetwo", Read(200, b"onetwo", False, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", Read(200, b"one", True, False)),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\none",
            Read(200, b"one", True, True),
        ),
        (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\none", Read(200, b"one", True, False)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Read(204, b"", True, True)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Read(304, b"", True, True)),
        (b"HTTP/1.1 429\r\nContent-Length: 3\r\n\r\none", Read(429, b"one", True, True)),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            + OK
            + b"Content-Length: 3\r\n\r\none",
            Read(200, b"one", True, True),
        ),
        (b"\r\n" + OK + b"Content-Length: 3\r\n\r\none", Read(200, b"one", True, True)),
        (
            OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED),
            Read(200, b"onetwo", True, True),
        ),
    ],
)
def test_an_answer_is_read_alike_wherever_it_is_cut(answer: bytes, expected: Read):
    for pieces in cut(answer):
        assert read(pieces) == expected, pieces


def test_one_parser_reads_answer_after_answer():
    parser = AnswerParser()
    for number in range(3):
        answer = OK + b"X-Number: %d\r\nContent-Length: 1\r\n\r\n%d" % (number, number)
        for pieces in cut(answer):
            assert read(pieces, parser=parser) == Read(200, b"%d" % number, True, True)
            assert parser.headers[b"x-number"] == b"%d" % number


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.sets(st.integers(1, 500), max_size=8),
)
def test_chunks_are_no_boundaries(pieces: list[bytes], cuts: set[int]):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    answer = CHUNKED + chunks + b"0\r\n\r\n"
    ends = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    cuts_of_it = [answer[a:b] for a, b in pairwise(ends)]

    assert read(cuts_of_it) == Read(200, b"".join(pieces), True, True)


def test_the_answer_to_a_head_has_no_body_whatever_its_length():
    answer = OK + b"Content-Length: 6\r\n\r\n"

    assert read([answer], bodiless=True) == Read(200, b"", True, False)
    assert not read([answer]).complete


def test_repeated_headers_are_one_and_trailers_none():
    parser = AnswerParser()
    head = OK + b"X-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    read([head, b"0\r\nX-A: 3\r\nRetry-After: 9\r\n\r\n"], parser=parser)

    assert parser.headers == {b"x-a": b"1, 2", b"transfer-encoding": b"chunked"}


def test_headers_of_interim_answers_are_not_the_answers():
    parser = AnswerParser()
    read([b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"], parser=parser)

    assert parser.headers == {b"content-length": b"0"}


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (OK + b"\r\nbody", True),
        (b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n", True),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nbody", True),
        (OK + b"Content-Length: 5\r\n\r\nbody", False),
        (CHUNKED + b"4\r\nbody\r\n", False),
        (OK + b"X: y\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_connections_end_ends_only_an_answer_of_no_known_length(answer: bytes, whole: bool):
    parser = AnswerParser()
    read([answer], parser=parser)

    assert parser.end() is whole
    assert not parser.keep_alive


@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"])
def test_what_follows_an_answer_spoils_the_connection_but_not_the_answer(closing: bytes):
    one = OK + closing + b"Content-Length: 3\r\n\r\none"
    for second in (OK + b"X: 2\r\nContent-Length: 3\r\n\r\ntwo", b"garbage"):
        parser = AnswerParser()
        parser.expect(bodiless=False)

        with pytest.raises((HttpParserError, HttpParserUpgrade)):
            parser.feed(one + second)

        assert parser.complete
        assert (parser.status, parser.take(LIMIT)) == (200, b"one")
        assert b"x" not in parser.headers


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html><body>502</body></html>",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"3\r\nonetwo",
        OK + b"Content-Length: x\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\none",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
def test_what_is_no_answer_is_refused_wherever_it_is_cut(garbage: bytes):
    for pieces in cut(garbage):
        parser = AnswerParser()
        with pytest.raises((HttpParserError, HttpParserUpgrade)):
            read(pieces, parser=parser)
        assert not parser.complete


def test_a_packed_body_that_is_cut_short_within_its_length_is_refused():
    short = PACKED[:-3]
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(short)

    with pytest.raises(ModelResponseError, match="cut short"):
        read([head, short])
