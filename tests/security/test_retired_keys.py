"""What a key signed ends when it is retired, in each form of a token and at every door that takes one."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from contatto.app import create_app, open_context
from contatto.cli.access import count_sealed_with, reseal_all
from contatto.forms.rules.answers import check_opening, sign_opening
from contatto.inbox.rules import FormLink, media_token, read_form_link, read_media_token, sign_form_link
from contatto.kit.errors import Refused
from contatto.kit.vault import Vault
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import read_ticket, sign_ticket
from contatto.ui.render import (
    SESSION_COOKIE,
    Carrier,
    CookieRules,
    csrf_token,
    device_of,
    keep_device,
    open_visitor,
    public_id,
    sign_visitor,
)
from contatto.wiring import install
from tests.security.test_another_purpose import DOORS, tokens_of
from tests.security.world import KEYS, URL, World
from tests.unchanged import nothing_changes

OLD, NEW = bytes(32), bytes(range(32))
BEFORE = Vault({"old": OLD})
ROTATED = Vault({"new": NEW, "old": OLD})
RETIRED = Vault({"new": NEW, "old": OLD}, {"old"})
ID = "0190a5a1-7c2e-7aaa-8000-00000000000f"


class Form(NamedTuple):
    """How a kind of token is made, and whether it is taken."""

    make: Callable[[Signer], str]
    takes: Callable[[Signer, str], bool]


def request_with(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", cookie.encode("latin-1", "replace"))]})


def csrf(signer: Signer) -> str:
    return csrf_token(request_with(f"{SESSION_COOKIE}=session"), signer)


def takes_csrf(signer: Signer, token: str) -> bool:
    return signer.verify_signature("session", token)


def device(signer: Signer) -> str:
    response = Response()
    keep_device(response, "device_1", signer, CookieRules(secure=False, days=1))
    return response.headers["set-cookie"].partition(";")[0].partition("=")[2]


def takes_device(signer: Signer, token: str) -> bool:
    return device_of(request_with(f"contatto_device={token}"), signer) == "device_1"


def refuses(read: Callable[[], Any]) -> bool:
    with suppress(Refused):
        return read() is None
    return True


def opens(token: str, signer: Signer) -> bool:
    with suppress(Refused):
        check_opening(token, 7, "visitor", 200, signer)
        return True
    return False


LINK, TICKET = FormLink(ID, ID, 7, 600), TrackingTicket(TicketKind.CLICK, ID, ID, 1)
FORMS = {
    "csrf": Form(csrf, takes_csrf),
    "device": Form(device, takes_device),
    "visitor": Form(
        lambda signer: sign_visitor("secret", "chat", Carrier.COOKIE, signer),
        lambda signer, token: open_visitor(token, "chat", Carrier.COOKIE, signer) == "secret",
    ),
    "ticket": Form(
        lambda signer: sign_ticket(TICKET, signer),
        lambda signer, token: not refuses(lambda: read_ticket(token, {TicketKind.CLICK}, signer)),
    ),
    "opening": Form(
        lambda signer: sign_opening(7, "visitor", 100, signer),
        lambda signer, token: opens(token, signer),
    ),
    "media link": Form(
        lambda signer: media_token("business", "token", "digest", 600, signer),
        lambda signer, token: not refuses(lambda: read_media_token(token, 100, signer)),
    ),
    "form link": Form(
        lambda signer: sign_form_link(LINK, signer),
        lambda signer, token: read_form_link(token, signer) == LINK,
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_token_is_taken_until_its_key_is_retired(form: Form) -> None:
    before, after = (form.make(vault.signer("a purpose")) for vault in (BEFORE, ROTATED))
    takes = {
        name: [form.takes(vault.signer("a purpose"), token) for token in (before, after)]
        for name, vault in {"before": BEFORE, "rotated": ROTATED, "retired": RETIRED}.items()
    }
    assert takes == {"before": [True, False], "rotated": [True, True], "retired": [False, True]}
    assert not form.takes(ROTATED.signer("another purpose"), after)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(data=st.data())
def test_a_token_that_was_changed_or_cut_is_refused(form: Form, data: st.DataObject) -> None:
    signer = ROTATED.signer("a purpose")
    token = form.make(signer)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda letter: letter != token[place]))
    forgeries = (token[:place] + other + token[place + 1 :], token[:place], token[place + 1 :], f"{token}=")
    assert [forged for forged in forgeries if form.takes(signer, forged)] == []


def test_a_visitor_has_the_same_public_id_for_ever() -> None:
    ids = {
        public_id("secret", "chat", vault.derivation_key("visitor")) for vault in (BEFORE, ROTATED, RETIRED)
    }
    assert len(ids) == 1


@contextmanager
def with_keys(world: World, *keys: str) -> Iterator[World]:
    """The same world, served again with other keys."""
    settings = world.context.settings.model_copy(update={"secret_keys": keys})
    context = open_context(install(settings), world.context.clock)
    try:
        with TestClient(create_app(context), base_url=URL) as client:
            yield World(context, client, world.victim, world.attacker, world.places)
    finally:
        context.db.close()


def statuses(world: World, tokens: dict[str, str], forgery: str) -> dict[str, int]:
    of = world.victim
    found = {door: ask(world, tokens[door], of.webchat_id).status_code for door, ask in DOORS.items()}
    form = {"name": "x", "scopes": ""}
    sent = world.ask("POST", "/settings/tokens", session=of.owner, forgery=forgery, data=form)
    found["csrf"] = sent.status_code
    return found


def test_at_every_door_what_a_leaked_key_signed_ends_with_it(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    stolen, forgery = tokens_of(world, of), world.csrf(of.owner)
    taken = statuses(world, stolen, forgery)
    assert {status for door, status in taken.items() if door != "csrf"} <= {200, 303}
    assert taken["csrf"] != 403
    new = f"new:{b64encode(NEW).decode()}"
    with with_keys(world, new, *KEYS) as rotated:
        assert reseal_all(rotated.context.db, lambda _: None)
        assert statuses(rotated, stolen, forgery) == taken
        assert rotated.context.db.read_now(lambda tx: count_sealed_with(tx, "test")) == 0
    (old,) = KEYS
    with with_keys(world, new, f"{old}:retired") as retired:
        with nothing_changes(retired.context.db):
            for door, status in statuses(retired, stolen, forgery).items():
                assert status in ((403,) if door == "csrf" else (401, 404)), (door, status)
        page = retired.ask("GET", "/leads", session=of.owner)
        assert page.status_code == 200
        assert retired.csrf(of.owner) != forgery
