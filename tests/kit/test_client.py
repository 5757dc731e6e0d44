"""Requests to outside systems: where they may go, and what is told when no answer comes."""

import asyncio
import socket

import httpx2
import pytest

from contatto.kit.outbound.client import ANSWER_LIMIT, Client, is_public, read_address
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest, SendFailure
from tests.channels.vendor import BOMB, Vendor, running_vendor


def send(url: str, *allowed: str, answer_s: float = 5.0) -> HttpOutcome:
    async def go() -> HttpOutcome:
        client = Client(allowed, answer_s)
        try:
            return await client.send(HttpRequest("POST", url, {"X-Test": "1"}, b"{}"))
        finally:
            await client.close()

    return asyncio.run(go())


def play(*plays: str, answer_s: float = 5.0) -> tuple[HttpOutcome, Vendor]:
    with running_vendor() as vendor:
        vendor.plays.extend(plays)
        return send(f"{vendor.url}/x", vendor.host, answer_s=answer_s), vendor


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1",
     "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
     "::ffff:8.8.8.8", "::ffff:127.0.0.1", "64:ff9b::808:808", "2002:808:808::1", "::8.8.8.8", "2001:db8::1",
     "2001::1", "", "example", "1.2.3", "0x7f.1",
     # site-local, IPv4 translated, NAT64 inside, the discard prefix, what nobody has handed out
     "fec0::1", "feff::1", "::ffff:0:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b:1::a00:1", "100::1",
     "100:0:0:1::1", "200::1", "400::1", "1000::1", "4000::1", "5f00::1", "e000::1",
     # documentation, protocol assignments, anycast of the next gateway, IPv4 in the lower half
     "3fff::1", "2001:1::1", "2001:1::2", "2001:3::1", "2001:20::1", "192.0.0.9", "192.0.0.10", "192.88.99.1",
     "2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1", "::1%1"],
)  # fmt: skip
def test_no_inside_odd_or_embedded_address_is_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "1.1.1.1",
        "192.0.1.1",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00:1450:4001::1",
        "2400:cb00::1",
        "2c0f:fb50::1",
        "2001:200::1",
    ],
)
def test_public_addresses_are_public(text: str) -> None:
    assert is_public(text)


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://2130706433/",
     "https://0x7f000001/", "https://127.1/", "https://10.0.0.1:443/", "https://169.254.169.254/latest",
     "https://user@example.com/", "https://8.8.8.8:8443/", "ftp://8.8.8.8/", "file:///etc/passwd", "x", ""],
)  # fmt: skip
def test_nothing_is_sent_to_inside_addresses_or_without_https(url: str) -> None:
    assert send(url) in (SendFailure.FORBIDDEN, SendFailure.UNREACHED)


def test_a_name_with_one_inside_address_among_others_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*args: object, **options: object) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert send("https://two-faced.example.com/") == SendFailure.FORBIDDEN


def test_a_name_that_leads_inside_at_a_second_look_up_is_sent_to_the_checked_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the name is looked up once, and the connection goes to what was checked."""
    asked = list[str]()

    def lookup(host: str, *args: object, **options: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, 1, 6, "", ("8.8.8.8" if len(asked) == 1 else "127.0.0.1", 443))]

    reached = list[tuple[str, str, object]]()

    async def take(self: object, request: httpx2.Request) -> httpx2.Response:
        reached.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        return httpx2.Response(204, stream=httpx2.ByteStream(b""))

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", take)
    assert isinstance(send("https://rebinding.example.com/"), HttpAnswer)
    assert asked == ["rebinding.example.com"]
    assert reached == [("8.8.8.8", "rebinding.example.com", "rebinding.example.com")]
    assert send("https://rebinding.example.com/") == SendFailure.FORBIDDEN, "the next try looks again"


def test_a_listed_host_may_be_inside_and_only_with_its_own_port() -> None:
    exchange, vendor = play("take")
    assert isinstance(exchange, HttpAnswer)
    assert (exchange.status, vendor.asked[0].headers["x-test"]) == (200, "1")
    with running_vendor() as other:
        assert send(f"{other.url}/x", "127.0.0.1:1") == SendFailure.FORBIDDEN
        assert other.asked == []


def test_a_host_may_be_listed_with_all_its_ports() -> None:
    with running_vendor() as other:
        assert isinstance(send(f"{other.url}/x", "127.0.0.1:*"), HttpAnswer)
        assert send(f"{other.url}/x", "localhost:*") == SendFailure.FORBIDDEN


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    exchange, _ = play("redirect")
    assert isinstance(exchange, HttpAnswer)
    assert exchange.status == 302


@pytest.mark.parametrize("what", ["reset", "lose the answer"])
def test_when_the_connection_ends_without_an_answer_it_is_lost(what: str) -> None:
    assert play(what)[0] == SendFailure.LOST


def test_an_answer_that_takes_too_long_is_lost() -> None:
    assert play("slow", answer_s=0.2)[0] == SendFailure.LOST


def test_a_packed_answer_is_not_unpacked() -> None:
    exchange, vendor = play("bomb")
    assert isinstance(exchange, HttpAnswer)
    assert vendor.asked[0].headers["accept-encoding"] == "identity"
    assert exchange.body == BOMB


def test_an_answer_without_end_is_read_up_to_the_limit() -> None:
    exchange, _ = play("long")
    assert isinstance(exchange, HttpAnswer)
    assert len(exchange.body) == ANSWER_LIMIT


def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    assert send(f"http://{host}/", host) == SendFailure.UNREACHED


def test_headers_and_body_do_not_show() -> None:
    request = HttpRequest("POST", "https://example.com", {"Authorization": "a-token"}, b"a-text")
    assert "a-token" not in repr(request)
    assert "a-text" not in repr(request)


@pytest.mark.parametrize(
    "text",
    [
        "https://exa mple.com",
        "https://exam\u00a0ple.com/x",
        "https://example.com/a b",
        " https://example.com",
        "https://example.com\n",
        "https://exa<mple.com",
        "https://exa%20mple.com",
        "https://",
        "https://-",
        "example.com",
    ],
)
def test_what_is_no_address_is_refused_when_it_is_typed(text: str) -> None:
    with pytest.raises(ValueError, match=r"this is no|only https"):
        read_address(text, ())


@pytest.mark.parametrize(
    "text",
    ["https://example.com/a?b=c", "https://müller.example", "https://203.0.113.7", "https://[2606:4700::1]/"],
)
def test_an_address_of_any_script_and_family_is_taken(text: str) -> None:
    assert read_address(text, ())[0].scheme == "https"
