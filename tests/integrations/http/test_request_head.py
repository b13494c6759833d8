from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.integrations.http.request_head import Origin, encode_head

KEY = "sk-canary-0123456789"


def lines_of(url: str, *headers: tuple[str, str], method: str = "GET") -> list[str]:
    return encode_head(method, url, headers).alone.decode("latin-1").split("\r\n")


def test_a_request_is_its_head_the_length_of_its_body_and_its_body():
    head = encode_head("POST", "http://host/v1", [("Authorization", "Bearer x")])

    assert head.with_body(b"{}") == (
        b"POST /v1 HTTP/1.1\r\nHost: host\r\nAccept: */*\r\nUser-Agent: orchestrator\r\n"
        b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_only_a_method_that_implies_a_body_tells_the_length_of_none():
    post = encode_head("POST", "http://host/", ()).with_body(None)
    get = encode_head("GET", "http://host/", ()).with_body(None)

    assert post.endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert b"Content-Length" not in get


@pytest.mark.parametrize(
    ("url", "origin", "host", "target"),
    [
        ("http://host", ("http", "host", 80), "host", "/"),
        ("https://Host:443/a?b=c&d#e", ("https", "host", 443), "host", "/a?b=c&d"),
        ("http://host:8080?q", ("http", "host", 8080), "host:8080", "/?q"),
        ("http://[::1]:80/", ("http", "::1", 80), "[::1]", "/"),
        ("http://[::1]:81/", ("http", "::1", 81), "[::1]:81", "/"),
        ("http://bücher.example/", ("http", "xn--bcher-kva.example", 80), None, "/"),
        ("http://host/größe/%20?x={y}", ("http", "host", 80), "host", None),
    ],
)
def test_a_url_is_split_into_where_it_leads_and_what_is_asked_there(
    url: str, origin: tuple[str, str, int], host: str | None, target: str | None
):
    lines = lines_of(url)

    assert encode_head("GET", url, ()).origin == Origin(*origin)
    assert lines[1] == f"Host: {host or origin[1]}"
    assert lines[0] == f"GET {target or '/gr%C3%B6%C3%9Fe/%20?x=%7By%7D'} HTTP/1.1"


def test_what_the_caller_says_itself_is_not_said_twice():
    lines = lines_of("http://host/", ("host", "virtual"), ("ACCEPT", "text/plain"))

    assert [line for line in lines if line.lower().startswith(("host", "accept"))] == [
        "host: virtual",
        "ACCEPT: text/plain",
    ]


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@host/",
        f"http://{KEY}@host/",
        f"http://host/\r\nX: {KEY}",
        f"http://host/{KEY} x",
        f"http://host/{KEY}\x00",
        f"http://ho\nst/{KEY}",
        f"ftp://host/{KEY}",
        f"/v1/{KEY}",
        f"http://host:70000/{KEY}",
        f"http://host:port/{KEY}",
        f"http://[::1/{KEY}",
        f"http://a..b/{KEY}",
        f"http://{'a' * 64}.example/{KEY}",
        f"http:///{KEY}",
    ],
)
def test_a_url_that_cannot_be_called_is_refused_without_being_shown(url: str):
    with pytest.raises(ConfigurationError) as caught:
        encode_head("GET", url, ())

    assert KEY not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\r\nX: y", "\x7f", "€", "\x0b"])
def test_what_no_header_can_carry_is_refused_without_being_shown(bad: str):
    for header in (("X-Key", f"{KEY}{bad}"), (f"X{bad}", KEY), ("", KEY)):
        with pytest.raises(ConfigurationError, match="characters no header can carry") as caught:
            encode_head("GET", "http://host/", [header])
        assert KEY not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("method", ["", "GET /", "GET\r\n", "G\0T"])
def test_a_method_that_is_none_is_refused(method: str):
    with pytest.raises(ConfigurationError, match="is not an HTTP method"):
        encode_head(method, "http://host/", ())


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "CONNECTION", "Expect"])
def test_headers_that_frame_the_request_are_not_the_callers(name: str):
    with pytest.raises(ConfigurationError, match="frames its requests itself"):
        encode_head("POST", "http://host/", [(name, "1")])


def test_a_request_may_ask_to_be_the_last():
    assert not encode_head("POST", "http://host/", ()).last
    head = encode_head("POST", "http://host/", [("connection", "Close")])
    assert head.last
    assert b"\r\nconnection: Close\r\n" in head.alone


def test_a_head_keeps_the_key_to_itself():
    head = encode_head("GET", "http://host/", [("Authorization", f"Bearer {KEY}")])

    assert KEY.encode() in head.alone
    assert KEY not in repr(head)


@given(
    target=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    name=st.text(max_size=10),
    value=st.text(max_size=30),
)
def test_whatever_is_given_what_is_sent_is_one_request(target: str, name: str, value: str):
    try:
        head = encode_head("POST", f"http://host/{target}", [(name, value)])
    except ConfigurationError:
        return
    begin, end = head.with_body(b"").split(b"\r\n", 1)

    assert begin.count(b" ") == 2
    assert begin.isascii()
    assert end.count(b"\r\n\r\n") == 1
    assert end.endswith(b"\r\n\r\n")
    assert end.count(b"\n") == end.count(b"\r") == 4 + 1 + (name.lower() not in NAMED)


NAMED = {"host", "accept", "user-agent"}
