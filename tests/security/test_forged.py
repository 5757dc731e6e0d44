"""Nothing that is signed is taken in another form: changed, cut, empty, or signed by somebody else."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import pytest

from contatto.accounts.model import Credential
from contatto.channels.connectors import meta, tiktok
from contatto.kit.ids import hash_secret
from contatto.ui.render import GUEST_COOKIE
from tests.journeys.running import API, PASSWORD, csrf_of, message, webhook_body
from tests.security.filling import settle
from tests.security.holdings import changed_tables, rows_of
from tests.security.routes import Way, ways
from tests.security.samples import attempts_of
from tests.security.test_another_purpose import DOORS, tokens_of
from tests.security.test_senseless import some
from tests.security.world import Tenant, World
from tests.unchanged import nothing_changes

PLACES: Final = 6
"""So many letters of a token are changed, one at a time, from its first to its last."""


def mutations(token: str, places: int = PLACES) -> Iterator[str]:
    """Forms of a token that were never handed out."""
    for number in sorted({len(token) * step // places for step in range(places)} | {len(token) - 1}):
        other = "A" if token[number] != "A" else "B"
        yield token[:number] + other + token[number + 1 :]
    yield from (token[:-1], token[1:], token[: len(token) // 2], token[::-1], token.swapcase())
    yield from (
        f"{token}A",
        f"{token}=",
        f"{token}.",
        f"A{token}",
        f"{token}{token}",
        f"{token[:9]}!{token[9:]}",
    )
    yield hash_secret(token)


CHANGING: Final = [way for way in ways(Credential.MEMBER) if way.changes]


@pytest.mark.parametrize("way", CHANGING, ids=str)
def test_a_form_that_is_not_of_this_session_changes_nothing(world: World, way: Way) -> None:
    attempt, number = attempts_of(world, world.attacker, way)[0], CHANGING.index(way)
    session, own = world.attacker.owner, world.csrf(world.attacker.owner)
    foreign = (world.csrf(world.victim.owner), world.csrf(world.attacker.sessions["admin"]))
    forgeries = (*foreign, own[:-1], own.swapcase(), own[:-1] + ("0" if own[-1] != "0" else "1"))
    with nothing_changes(world.context.db):
        for forgery in ("", *some(forgeries, number, 2)):
            assert attempt.send(world, session=session, forgery=forgery).status_code == 403, forgery
        headers = {"Sec-Fetch-Site": ("cross-site", "same-site")[number % 2]}
        assert attempt.send(world, session=session, headers=headers).status_code == 403, headers


@pytest.mark.parametrize("said", ["", "0" * 64, "of another guest"])
def test_nobody_is_signed_in_by_a_form_that_is_not_ours(world: World, said: str) -> None:
    """Else a stranger could have a member work in an account of the stranger's."""
    page, other = (world.ask("GET", "/login") for _ in range(2))
    token = csrf_of(other.text) if "another" in said else said
    form = {"email": "owner@zanzibar.example.com", "password": PASSWORD, "csrf_token": token}
    headers = {"Cookie": f"{GUEST_COOKIE}={page.cookies[GUEST_COOKIE]}"}
    answer = world.ask("POST", "/login", data=form, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_no_form_of_a_sessions_cookie_opens_a_page(world: World) -> None:
    with nothing_changes(world.context.db):
        for session in (world.victim.owner, world.attacker.owner):
            for forged in mutations(session):
                assert world.ask("GET", "/settings", session=forged).status_code == 303, forged


def test_no_form_of_a_token_opens_the_api(world: World) -> None:
    with nothing_changes(world.context.db):
        for forged in mutations(world.victim.token):
            answer = world.ask("GET", f"{API}/advertiser/info/", token=forged)
            assert answer.json()["code"] == 40105, forged


@pytest.mark.parametrize("door", DOORS)
def test_no_form_of_a_link_or_of_a_visitors_token_is_taken(world: World, door: str) -> None:
    token = tokens_of(world, world.victim)[door]
    with nothing_changes(world.context.db):
        for forged in mutations(token):
            answer = DOORS[door](world, forged, world.victim.webchat_id)
            assert answer.status_code in (401, 404), (door, forged)


def tiktok_delivery(world: World, of: Tenant) -> bytes:
    """A message to the account of a tenant, as the platform would send it."""
    now_ms = int(world.context.clock.now().timestamp() * 1_000)
    return webhook_body("im_receive_msg", message("forged +65 9123 4567", "stranger", now_ms), of.open_id)


def signed(world: World, body: bytes, secret: str, ago_s: int = 0) -> str:
    return tiktok.sign_body(body, secret, int(world.context.clock.now().timestamp()) - ago_s)


def tiktok_forgeries(world: World, body: bytes) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Deliveries to the victim's app that its platform did not send: body and headers."""
    name, secret = "TikTok-Signature", world.victim.app_secret
    right = signed(world, body, secret)
    yield body, {}
    for forged in mutations(right):
        yield body, {name: forged}
    for other in (world.attacker.app_secret, "", secret[:-1], hash_secret(secret), world.victim.token):
        yield body, {name: signed(world, body, other)}
    yield body, {name: signed(world, body, secret, 10_000)}
    yield body, {name: signed(world, body, secret, -10_000)}
    yield body, {name: right.replace("t=", "t=1,t=")}
    yield body, {"X-Hub-Signature-256": meta.sign_body(body, secret)}
    for number in range(0, len(body), max(1, len(body) // PLACES)):
        yield body[:number] + bytes([body[number] ^ 1]) + body[number + 1 :], {name: right}
    yield from ((each, {name: right}) for each in (body[:-1], body + b" ", b"", body * 2))


def test_no_delivery_is_taken_that_the_platform_did_not_sign(world: World) -> None:
    body = tiktok_delivery(world, world.victim)
    with nothing_changes(world.context.db):
        for raw, headers in tiktok_forgeries(world, body):
            path = f"/webhooks/tiktok/{world.victim.app_id}"
            answer = world.ask("POST", path, content=raw, headers=headers)
            assert answer.status_code == 401, (headers, raw[-80:])


def test_no_delivery_of_whatsapp_is_taken_that_it_did_not_sign(world: World) -> None:
    body, name = b'{"object":"whatsapp_business_account","entry":[]}', "X-Hub-Signature-256"
    secret, path = world.victim.app_secret, f"/webhooks/whatsapp/{world.victim.app_id}-wa"
    right = meta.sign_body(body, secret)
    forgeries = [*mutations(right), *(meta.sign_body(body, each) for each in ("", world.attacker.app_secret))]
    with nothing_changes(world.context.db):
        for forged in forgeries:
            answer = world.ask("POST", path, content=body, headers={name: forged})
            assert answer.status_code == 401, forged
        answer = world.ask(
            "POST", path, content=body, headers={"TikTok-Signature": signed(world, body, secret)}
        )
        assert answer.status_code == 401


@pytest.mark.parametrize("event", ["im_receive_msg", "im_send_msg", "im_mark_read_msg", "im_referral_msg"])
def test_a_genuine_delivery_through_ones_own_app_reaches_nobody_else(world: World, event: str) -> None:
    """The attacker has an app, and signs what it likes: about the victim's account and people."""
    user = f"{world.victim.word}1"
    now_ms = int(world.context.clock.now().timestamp() * 1_000)
    content = message("forged +65 9123 4567", user, now_ms) | {
        "read": {"last_read_timestamp": now_ms},
        "referral": {"source": "ad", "ad": {"ad_id": world.victim.ids["ad_id"][0]}},
    }
    body = webhook_body(event, content, world.victim.open_id)
    headers = {"TikTok-Signature": signed(world, body, world.attacker.app_secret)}
    before = rows_of(world, world.victim)
    answer = world.ask("POST", f"/webhooks/tiktok/{world.attacker.app_id}", content=body, headers=headers)
    assert answer.status_code == 200
    settle(world)
    assert changed_tables(before, rows_of(world, world.victim)) == set()


def test_nobody_is_told_a_challenge_who_does_not_know_the_verify_token(world: World) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "12345"}
    for token in ("", "0" * 40, world.victim.app_secret, world.victim.token):
        asked = query | {"hub.verify_token": token}
        answer = world.ask("GET", f"/webhooks/whatsapp/{world.victim.app_id}-wa", params=asked)
        assert (answer.status_code, "12345" in answer.text) == (404, False)


def test_a_secret_of_an_app_is_its_own_alone(world: World) -> None:
    """Programs of two tenants, each with its own secret, at the doors that take one."""
    victim, attacker = world.victim, world.attacker
    for secret in ("", attacker.app_secret, *mutations(victim.app_secret)):
        named = {"app_id": victim.app_id, "secret": secret}
        for path in ("/subscription/get/", "/business/webhook/list/"):
            answer = world.ask("GET", API + path, params=named).json()
            assert answer["code"] != 0, (path, secret)
            assert not victim.tells_of(json.dumps(answer))


Expired = Callable[[World], str]
EXPIRED: dict[str, tuple[Expired, timedelta]] = {
    "form": (lambda world: world.victim.links["form"], timedelta(days=365)),
    "media": (lambda world: world.victim.links["media"], timedelta(minutes=11)),
}


@pytest.mark.parametrize("kind", EXPIRED)
def test_what_has_expired_opens_nothing(world: World, kind: str) -> None:
    """Runs last: the clock is moved on."""
    link, span = EXPIRED[kind]
    clock = world.context.clock
    clock.moment += span  # type: ignore[attr-defined]  # the world's clock stands until it is moved
    answer = world.ask("GET", link(world))
    clock.moment -= span  # type: ignore[attr-defined]
    assert answer.status_code in (401, 404, 410), answer.text[:300]
    assert not world.victim.tells_of(answer.text)
