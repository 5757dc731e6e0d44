"""Tokens by OAuth: what answers mean, who may come back with a state, and who renews of several."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from contatto.crm.actions.targets import STATE_LIVES, consent_address, read_consent
from contatto.crm.connectors.json_api import read_tokens, token_request
from contatto.crm.model import CrmLink, RenewSecrets, SecretsRenewed, Target
from contatto.crm.registry import CONNECTORS
from contatto.crm.rules.deliveries import consent_text
from contatto.crm.store.deliveries import record_secrets
from contatto.integrations.model import Denied
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Ask, HttpAnswer, HttpRequest, NotNow, OutboundRequest
from tests import make
from tests.crm.engine import KINDS, claim, fresh, link, run_all, with_memory
from tests.crm.memory import MemoryCrm
from tests.outbound import next_step

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
WHO = ("business-1", "member-1", "session-1")
TOKENS = {"access_token": "a", "refresh_token": "r"}
GONE = HttpAnswer(401, {}, b"{}")
ZOHO: Final[Any] = CONNECTORS["zoho"].traits.oauth


@pytest.mark.parametrize(
    ("status", "body", "reply"),
    [
        (200, TOKENS, SecretsRenewed(TOKENS)),
        (400, {"error": "invalid_grant", "error_description": "expired"}, Denied("invalid_grant")),
        (400, {"error": "redirect_uri_mismatch"}, Denied("redirect_uri_mismatch")),
        (400, {"status": "BAD_REFRESH_TOKEN", "message": "missing"}, Denied("bad_refresh_token")),
        (200, {"error": "invalid_code"}, Denied("invalid_code")),
        (401, {"error": "invalid_client"}, Denied("invalid_client")),
        (400, {"error": "Access Denied", "status": "failure"}, NotNow("400")),  # Zoho: too many requests
        (429, {"error": "invalid_request"}, NotNow("429")),
        (503, {"error": "invalid_grant"}, NotNow("503")),
        (200, "<p>Sign in</p>", NotNow("unreadable")),
        (200, {"access_token": 7}, NotNow("unreadable")),
    ],
)
def test_what_the_answer_of_a_token_end_point_means(status: int, body: Any, reply: Any) -> None:
    assert read_tokens(HttpAnswer(status, {}, json.dumps(body).encode())) == reply


def test_only_servers_of_the_vendor_are_asked_for_tokens() -> None:
    for named, asked in (
        ("https://accounts.zoho.eu", "https://accounts.zoho.eu/oauth/v2/token"),
        ("https://accounts.zoho.eu.example.com", "https://accounts.zoho.com/oauth/v2/token"),
        ("", "https://accounts.zoho.com/oauth/v2/token"),
    ):
        request = token_request(
            CrmLink("", {"accounts_server": named}, {}, NOW), ZOHO, RenewSecrets("code", "x", "v")
        )
        assert isinstance(request, HttpRequest)
        assert request.url == asked


def test_reasons_are_told_in_words() -> None:
    for reason, says in (
        ("access_denied", "not granted"), ("bad_auth_code", "expired"), ("invalid_grant", "expired"),
        ("invalid_client_secret", "client ID"), ("invalid_redirect_uri", "return address"), ("odd", "odd"),
    ):  # fmt: skip
        assert says in str(consent_text(reason))


def state_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["state"][0]


def test_a_state_is_of_one_member_business_and_session_and_ends(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        vault = tx.vault
        tx = with_memory(tx)
        target = link(tx, make.business(tx).id)
        address = consent_address(vault, target, ZOHO, WHO, NOW, "https://us.example.com")
        state = state_of(address)
        assert read_consent(vault, state, WHO, NOW + STATE_LIVES).number == target.number
        assert state_of(consent_address(vault, target, ZOHO, WHO, NOW, "https://us.example.com")) != state
        others = (("b", *WHO[1:]), (WHO[0], "m", WHO[2]), (*WHO[:2], "s"))
        for who, now, code in (
            *((other, NOW, errors.UNSIGNED) for other in others),
            (WHO, NOW + STATE_LIVES + timedelta(seconds=1), errors.STALE),
            (WHO, NOW - timedelta(seconds=1), errors.STALE),
        ):
            with pytest.raises(Refused) as refused:
                read_consent(vault, state, who, now)
            assert refused.value.code is code

    database.write_now(work)


def begun(tx: Tx, leads: int) -> tuple[Target, MemoryCrm]:
    """A linked CRM that knows no token of ours any more, while leads are due there."""
    tx = with_memory(tx)
    business_id = make.business(tx).id
    crm = MemoryCrm()
    target = link(tx, business_id)
    run_all(tx, crm.handle)
    for number in range(leads):
        make.lead(tx, business_id, make.contact(f"+659123456{number}"), person_id=f"person {number}")
    return fresh(tx, target), crm


def after(database: Database, claimed: tuple[OutboundRequest, Ask], answer: HttpAnswer) -> Ask | None:
    """What a worker does next with a request, in a transaction of its own."""
    request, ask = claimed
    kind = KINDS[request.kind]
    return database.write_now(lambda tx: next_step(with_memory(tx), kind, request, (ask, answer), float))


def test_of_two_workers_one_renews_and_the_other_waits(database: Database) -> None:
    database.write_now(lambda tx: begun(tx, leads=2))
    claimed = database.write_now(lambda tx: claim(with_memory(tx)))
    assert len(claimed) == 2
    together = threading.Barrier(2)

    def expire(each: tuple[OutboundRequest, Ask]) -> Ask | None:
        together.wait()
        return after(database, each, GONE)

    with ThreadPoolExecutor(2) as threads:
        steps = list(threads.map(expire, claimed))
    (renewal,) = [step for step in steps if step is not None]
    assert json.loads(renewal.request.body)["do"] == "renew"


def test_tokens_of_a_person_are_not_overwritten_by_a_renewal_that_was_on_its_way(database: Database) -> None:
    target, _ = database.write_now(lambda tx: begun(tx, leads=1))
    (claimed,) = database.write_now(lambda tx: claim(with_memory(tx)))
    renewal = after(database, claimed, GONE)
    assert renewal is not None
    newer = {"password": "secret", "access_token": "of a person"}
    database.write_now(lambda tx: record_secrets(tx, target, newer))
    late = HttpAnswer(200, {}, json.dumps({"token": "late"}).encode())
    following = after(database, (claimed[0], renewal), late)
    assert following is not None
    assert following.request.headers["token"] == "of a person"
    assert database.read_now(lambda tx: fresh(tx, target)).secrets == newer
