"""The browsers of members that are told while no page is open, and bringing an alert to each of them."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from contatto.accounts.model import BusinessId, Caller
from contatto.accounts.rules import browser_name, is_able
from contatto.accounts.store import find_member
from contatto.alerts import rules
from contatto.alerts.actions.due import Reader, tell_due_alerts
from contatto.alerts.connectors import web_push
from contatto.alerts.connectors.web_push import Browser, Chance
from contatto.alerts.model import ALERT_PUSH, NEEDS, Kind, PushBrowser, Way
from contatto.alerts.store import browsers
from contatto.kit import errors
from contatto.kit.base64url import from_base64url, to_base64url
from contatto.kit.client import read_address
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.exchange import HttpAnswer, HttpRequest
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import (
    FORBIDDEN_ADDRESS,
    Ask,
    Done,
    Failed,
    NewRequest,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.store import queue_request
from contatto.kit.vault import Vault

MOST_BROWSERS: Final = 20
"""Browsers of one member."""
URL_LIMIT: Final = 2_048


class Told(msgspec.Struct, frozen=True):
    """What a request carries: whom it is for, of which kinds, and what the browser shows."""

    member_id: str
    kinds: tuple[Kind, ...]
    title: str
    body: str
    path: str
    tag: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What a browser gives of itself; key and secret are in base64url."""

    endpoint: str
    public_key: str
    secret: str
    user_agent: str


def vapid_key_of(vault: Vault) -> ec.EllipticCurvePrivateKey:
    """The key pair of this installation; browsers are bound to it, so no rotation changes it."""
    return web_push.vapid_key(vault.derivation_key("web-push"))


def public_key_of(vault: Vault) -> str:
    """What a browser needs to subscribe."""
    return to_base64url(web_push.public_point(vapid_key_of(vault)))


def keep_browser(tx: Tx, caller: Caller, given: Subscribed, allowed: Collection[str]) -> PushBrowser:
    """Tell a member in a browser from now on; whoever used it before is told there no more.

    Raises:
        Refused: INVALID for what no browser gives, or an address that nothing may be sent to.
    """
    try:
        read_address(given.endpoint[: URL_LIMIT + 1], allowed)
        browser = Browser(given.endpoint, from_base64url(given.public_key), from_base64url(given.secret))
        web_push.check_browser(browser)
        fits = len(given.endpoint) <= URL_LIMIT and given.endpoint.isascii()
    except ValueError:
        fits = False
    if not fits:
        raise Refused(
            errors.INVALID, "endpoint: Alerts cannot be sent to this push service. Use another browser."
        )
    tx.hold_key("push browsers", caller.subject_id)
    known = browsers.list_browsers(tx, caller.business_id, caller.subject_id)
    browser_id = tx.vault.named_id("push browser", given.endpoint)
    if len(known) >= MOST_BROWSERS and browser_id not in {each.id for each in known}:
        raise Refused(
            errors.INVALID,
            "endpoint: Alerts already go to %(most)s browsers. Remove one first.",
            most=MOST_BROWSERS,
        )
    browsers.delete_browser_of_others(tx, browser_id, caller.user_id)
    row = (browser_id, caller.business_id, caller.subject_id, caller.user_id)
    made = PushBrowser(*row, browser_name(given.user_agent), tx.now)
    browsers.save_browser(tx, made, browser)
    return made


def remove_browser(tx: Tx, caller: Caller, browser_id: str) -> None:
    """Tell a browser of one's own no more.

    Raises:
        Refused: NOT_FOUND.
    """
    if not browsers.delete_browser(tx, caller.business_id, caller.subject_id, browser_id):
        raise Refused(errors.NOT_FOUND, "Browser not found.")


def push_due_alerts(tx: Tx) -> int:
    """Queue what is due for each browser of each member, one message for all; say how many that are."""
    return tell_due_alerts(tx, Way.PUSH, lambda reader: _push(tx, reader))


def _push(tx: Tx, reader: Reader) -> None:
    business_id, member_id = reader.business.id, reader.member.id
    title, path, tag = rules.push_text(reader.words, reader.alerts)
    kinds = tuple(dict.fromkeys(each.kind for each in reader.alerts))
    told = msgspec.json.encode(Told(member_id, kinds, title, reader.business.name, path, tag)).decode()
    for known in browsers.list_browsers(tx, business_id, member_id):
        browser = browsers.find_browser(tx, business_id, member_id, known.id)
        if browser is not None:
            host = urlsplit(browser.endpoint).netloc.lower()[:300]
            new = NewRequest(business_id, ALERT_PUSH, known.id, host, progress=told)
            queue_request(tx, new, web_push.PLAN)


def alert_push_kind(mail_from: str, base_url: str) -> OutboundKind:
    """How alerts are brought to push services, who learn from the operator's address whom to ask."""
    address = parseaddr(mail_from)[1]
    contact = f"mailto:{address}" if address else base_url if base_url.startswith("https://") else ""

    def begin(tx: Tx, request: OutboundRequest) -> Step:
        return begin_alert_push(tx, request, contact)

    name, plan = ALERT_PUSH, web_push.PLAN
    return OutboundKind(name, begin, read_alert_push_answer, settle_alert_push, plan, keeps_progress=True)


def begin_alert_push(tx: Tx, request: OutboundRequest, contact: str) -> Step:
    """What is sent, sealed anew for each try; nothing to who may not open it, or is signed out everywhere."""
    told = msgspec.json.decode(request.progress, type=Told)
    browser = browsers.find_browser(tx, request.business_id, told.member_id, request.subject)
    member = find_member(tx, BusinessId(request.business_id), told.member_id)
    if browser is None or member is None or not browsers.has_session(tx, member.user_id):
        return Done()
    if not all(is_able(member, NEEDS[kind]) for kind in told.kinds):
        return Done()
    shown = {"title": told.title, "body": told.body, "path": told.path, "tag": told.tag}
    chance = Chance(ec.generate_private_key(ec.SECP256R1()), os.urandom(16))
    body = web_push.seal_message(msgspec.json.encode(shown), browser, chance)
    headers = web_push.push_headers(browser.endpoint, vapid_key_of(tx.vault), contact, tx.now)
    return Ask(HttpRequest("POST", browser.endpoint, headers, body), request.progress)


def read_alert_push_answer(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """What a push service says; a browser that is gone, or that is bound to another key, is forgotten."""
    if answer.status in web_push.GONE or answer.status == web_push.NOT_OURS:
        _forget(tx, request)
        return Done()
    return web_push.read_service_answer(answer)


def settle_alert_push(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Forget a browser whose address leads to where nothing may be sent."""
    if isinstance(outcome, Failed) and outcome.reason == FORBIDDEN_ADDRESS:
        _forget(tx, request)


def _forget(tx: Tx, request: OutboundRequest) -> None:
    told = msgspec.json.decode(request.progress, type=Told)
    browsers.delete_browser(tx, request.business_id, told.member_id, request.subject)
