"""Who is let in, from the headers alone."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from orchestrator import ConfigurationError
from orchestrator.server.access import (
    Access,
    ForeignOriginError,
    WrongHostError,
    WrongKeyError,
    is_loopback,
)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:3001", "127.8.9.1", "localhost", "LOCALHOST:80", "localhost.", "[::1]",
     "[::1]:3001"],
)  # fmt: skip
def test_a_loopback_host_is_let_in(host: str):
    Access().check_site({"Host": host})


@pytest.mark.parametrize(
    "host",
    ["example.com", "example.com:3001", "127.0.0.1.example.com", "localhost.example.com", "", "::1",
     "0.0.0.0", "192.168.1.5", "user@127.0.0.1", "127.0.0.1/x", "[::1", "127.0.0.1:", "a b"],
)  # fmt: skip
def test_any_other_host_is_sent_away(host: str):
    with pytest.raises(WrongHostError):
        Access().check_site({"Host": host})


def test_a_request_without_a_host_is_sent_away():
    with pytest.raises(WrongHostError):
        Access().check_site({})


@pytest.mark.parametrize("host", ["gateway.lan", "Gateway.LAN:443", "gateway.lan.", "[fd00::1]:1"])
def test_a_configured_host_is_let_in(host: str):
    Access(hosts=["gateway.lan", "[fd00::1]"]).check_site({"Host": host})


@pytest.mark.parametrize("origin", ["http://localhost:3001", "https://localhost:3001"])
def test_our_own_pages_may_call(origin: str):
    Access().check_site({"Host": "localhost:3001", "Origin": origin})


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://localhost:3000", "http://localhost", "null", "",
     "localhost:3001"],
)  # fmt: skip
def test_the_page_of_another_origin_may_not_call(origin: str):
    with pytest.raises(ForeignOriginError):
        Access().check_site({"Host": "localhost:3001", "Origin": origin})


def test_a_configured_origin_may_call():
    access = Access(origins=["https://app.example", "null"])
    for origin in ("https://app.example", "null"):
        access.check_site({"Host": "localhost", "Origin": origin})


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "*", ""])
def test_what_cannot_be_an_origin_is_a_configuration_error(origin: str):
    with pytest.raises(ConfigurationError, match="origin"):
        Access(origins=[origin])


@pytest.mark.parametrize("given", ["Bearer right", "bearer right", "Bearer  right "])
def test_the_right_key_is_let_in(given: str):
    Access(SecretStr("right")).check_key({"Authorization": given})


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer righ", "Bearer rightt", "Basic right",
     "right", "Bearer r\udcffght", "Bearer ключ"],
)  # fmt: skip
def test_any_other_key_is_not(given: str):
    with pytest.raises(WrongKeyError) as caught:
        Access(SecretStr("right")).check_key({"Authorization": given})

    assert "right" not in str(caught.value)


def test_a_key_need_not_be_ascii():
    Access(SecretStr("ключ")).check_key({"Authorization": "Bearer ключ"})


@pytest.mark.parametrize("key", [None, SecretStr("")])
def test_without_a_key_nobody_is_asked_for_one(key: SecretStr | None):
    Access(key).check_key({})


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("", False), ("10.0.0.1", False), ("example.com", False)],
)  # fmt: skip
def test_loopback_is_only_what_stays_on_this_machine(host: str, loopback: bool):
    assert is_loopback(host) is loopback
