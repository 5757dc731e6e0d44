"""A token for some ad accounts and some scopes: no operation of the API does or tells more for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from contatto.accounts import actions as accounts
from contatto.accounts import store as accounts_store
from contatto.accounts.actions import NewAdAccount
from contatto.accounts.model import BusinessId, Credential, Permission
from contatto.accounts.rules import LIMITABLE
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.model import LeadSource
from contatto.leads.rules.records import ORIGINS, LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.measurement.store import conversions
from tests.journeys.running import API
from tests.security.attempts import Attempt, Others
from tests.security.holdings import changed_tables, ids_in, rows_of
from tests.security.routes import Way, ways
from tests.security.samples import own_attempts
from tests.security.world import Tenant, World
from tools.reference_api import api_document

NO_ADVERTISER, NO_SCOPE = 40300, 40130
OF_AN_ACCOUNT = ("advertiser_id", "campaign_id", "adgroup_id", "ad_id", "audience_id", "custom_audience_id",
                 "event_set_id", "auto_message_id", "file_path")  # fmt: skip
"""Ids of what belongs to one ad account; forms, chats, and leads of no ad belong to the whole business."""
LISTS_OWN = f"GET {API}/advertiser/info/"
"""It leaves out what is not one's own."""


@dataclass(frozen=True, slots=True)
class Limited:
    """A second ad account of the victim, with nothing in it, and a token for it alone."""

    advertiser_id: str
    token: str
    first: str
    """The first ad account, which has all that the business has."""
    tenant: Tenant
    account_id: str


@pytest.fixture(scope="module")
def limited(world: World) -> Limited:
    of = world.victim

    def work(tx: Tx) -> tuple[str, str, str]:
        new = NewAdAccount("Second", "SG", "SGD", "Asia/Singapore")
        account = accounts.add_ad_account(tx, BusinessId(of.business_id), new)
        token = accounts.issue_token(
            tx, BusinessId(of.business_id), "second", sorted(LIMITABLE), ad_account_ids=[account.id]
        )[1]
        return str(account.number), token, account.id

    number, token, account_id = world.context.db.write_now(work)
    world.api("GET", "/advertiser/info/", token)  # its first use is noted, which is a change
    return Limited(number, token, of.advertiser_id, of, account_id)


def attempts(world: World, way: Way) -> Iterator[Attempt]:
    yield from (each for each in own_attempts(world, world.victim) if each.way == way)


def code_of(answer: httpx2.Response) -> int:
    if answer.headers.get("content-type", "").startswith("application/json") and "code" in answer.json():
        code: int = answer.json()["code"]
        return code
    return 0 if answer.status_code < 400 else answer.status_code


@cache
def taking_advertiser() -> set[str]:
    """The operations whose description has an ``advertiser_id``, by method and path."""
    found = set()
    for path, item in api_document()["paths"].items():
        for method, operation in item.items():
            if "advertiser_id" in str(operation) or "advertiser_id" in str(_body(operation)):
                found.add(f"{method.upper()} {path}")
    return found


def _body(operation: dict[str, object]) -> object:
    """The shapes that a body refers to, and those that these refer to."""
    shapes: dict[str, Any] = api_document()["components"]["schemas"]
    seen: set[str] = set()
    waiting = [str(operation.get("requestBody", ""))]
    while waiting:
        text = waiting.pop()
        for name, shape in shapes.items():
            if name not in seen and f"schemas/{name}'" in text:
                seen.add(name)
                waiting.append(str(shape))
    return [shapes[name] for name in seen]


PROGRAMS = ways(Credential.PROGRAM, Credential.APP)


def test_every_operation_that_takes_an_ad_account_is_asked_for_one(world: World, limited: Limited) -> None:
    named = {each.way.name for each in own_attempts(world, world.victim) if limited.first in repr(each)}
    assert len(taking_advertiser()) > 40
    assert taking_advertiser() - named == set()


@pytest.mark.parametrize("way", PROGRAMS, ids=str)
def test_another_ad_account_of_the_business_is_not_there(world: World, limited: Limited, way: Way) -> None:
    before = rows_of(world, limited.tenant)
    with_own = Others(
        {"token": (limited.tenant.token,)}, {"token": (limited.token,)}
    )  # it may be in the body
    for attempt in attempts(world, way):
        if limited.first in repr(attempt):
            answer = next(attempt.swapped(with_own), attempt).send(world, token=limited.token)
            expected = {0} if way.name == LISTS_OWN else {NO_ADVERTISER, NO_SCOPE}
            assert code_of(answer) in expected, (attempt, answer.text[:300])
    assert changed_tables(before, rows_of(world, limited.tenant)) == set()


@pytest.mark.parametrize("way", PROGRAMS, ids=str)
def test_what_is_of_another_ad_account_is_neither_told_nor_changed(
    world: World, limited: Limited, way: Way
) -> None:
    """The same with one's own ad account, and all other ids those of the first."""
    own = {"advertiser_id": (limited.first,), "token": (limited.tenant.token,)}
    others = Others(own, {"advertiser_id": (limited.advertiser_id,), "token": (limited.token,)})
    before = of_first(world, limited)
    ids = {each for name in OF_AN_ACCOUNT for each in limited.tenant.ids[name]} - {limited.advertiser_id}
    for attempt in attempts(world, way):
        changed = next(attempt.swapped(others), attempt)
        answer = changed.send(world, token=limited.token)
        assert answer.status_code < 500, (changed, answer.text[-300:])
        told = (ids & ids_in(answer.text)) - ids_in(repr(changed))
        assert not told, (changed, answer.text[:500])
    assert of_first(world, limited) == before


def of_first(world: World, limited: Limited) -> dict[str, list[str]]:
    """The rows of what is in the first ad account."""
    rows, of_second = rows_of(world, limited.tenant), ("Second", limited.advertiser_id, limited.account_id)
    return {
        name: [row for row in rows[name] if not any(word in row for word in of_second)]
        for name in ("campaigns", "ad_groups", "ads", "measured_ads", "audiences", "audience_files",
                     "crm_event_sets", "welcome_messages", "lead_events", "subscriptions", "export_jobs",
                     "capture_switches")
    }  # fmt: skip


def test_each_lead_is_shown_to_the_ad_account_that_earned_it(world: World, limited: Limited) -> None:
    """And those of no ad to each; the newest of its source is one of them."""
    of = limited.tenant

    def credit(tx: Tx) -> tuple[int, int]:
        """Let an ad of the first ad account have earned the newest lead of the chat."""
        wanted = LeadFilter(origins=ORIGINS[LeadSource.DIRECT_MESSAGE])
        newest, other = list_leads(tx, of.business_id, wanted, limit=2)
        (first,) = [each for each in accounts_store.list_ad_accounts(tx, BusinessId(of.business_id))
                    if str(each.number) == limited.first]  # fmt: skip
        change = update(conversions).where(conversions.c.subject_id == newest.id)
        assert tx.execute(change.values(ad_account_id=first.id)).rowcount == 1
        return newest.number, other.number

    earned, other = world.context.db.write_now(credit)

    def ask(token: str, advertiser_id: str, **named: str) -> str:
        asked = {"advertiser_id": advertiser_id, "lead_source": "DIRECT_MESSAGE"} | named
        answer = world.api("GET", "/lead/get/", token, **asked)
        return str(answer["data"]["meta_data"]["lead_id"]) if answer["code"] == 0 else str(answer["code"])

    assert ask(of.token, limited.first) == str(earned)
    assert ask(of.token, limited.first, lead_id=str(earned)) == str(earned)
    for token in (of.token, limited.token):
        assert ask(token, limited.advertiser_id) == str(other)
        assert ask(token, limited.advertiser_id, lead_id=str(other)) == str(other)
        assert ask(token, limited.advertiser_id, lead_id=str(earned)) == "40007"
    assert ask(limited.token, limited.first, lead_id=str(earned)) == str(NO_ADVERTISER)


def test_what_a_token_may_use_is_what_it_is_told(world: World, limited: Limited) -> None:
    shown = world.api("GET", "/oauth2/advertiser/get/", limited.token)["data"]["list"]
    assert [each["advertiser_id"] for each in shown] == [limited.advertiser_id]
    info = world.api("GET", "/advertiser/info/", limited.token)["data"]["list"]
    assert [each["advertiser_id"] for each in info] == [limited.advertiser_id]

    def code(tx: Tx) -> str:
        business_id = BusinessId(limited.tenant.business_id)
        return accounts.issue_auth_code(
            tx, business_id, "x", ["ads.read"], ad_account_ids=[limited.account_id]
        )

    body = {"app_id": "1", "secret": "2", "auth_code": world.context.db.write_now(code)}
    given = world.api("POST", "/oauth2/access_token/", "", **body)["data"]
    assert (given["advertiser_ids"], given["scope"]) == ([limited.advertiser_id], ["ads.read"])
    again = world.api("GET", "/oauth2/advertiser/get/", given["access_token"])["data"]["list"]
    assert [each["advertiser_id"] for each in again] == [limited.advertiser_id]


def test_a_limited_token_gets_the_ads_of_its_ad_accounts_alone(world: World, limited: Limited) -> None:
    asked = {"viewer_id": "viewer-9", "country": "SG"}
    all_ads = world.ask("POST", "/delivery/decide", token=limited.tenant.token, json=asked)
    assert all_ads.json()["ad"] is not None
    own = world.ask("POST", "/delivery/decide", token=limited.token, json=asked)
    assert (own.status_code, own.json()) == (200, {"ad": None})


@pytest.mark.parametrize("scope", [each for each in Permission if each not in LIMITABLE])
def test_a_limited_token_cannot_have_what_concerns_the_whole_business(
    world: World, limited: Limited, scope: Permission
) -> None:
    business_id = BusinessId(limited.tenant.business_id)

    def work(tx: Tx) -> object:
        ours = accounts_store.list_ad_accounts(tx, business_id)[:1]
        return accounts.issue_token(tx, business_id, "x", [scope], ad_account_ids=[each.id for each in ours])

    with pytest.raises(Refused, match="whole business"):
        world.context.db.write_now(work)


def test_a_token_is_limited_to_ad_accounts_of_its_business_alone(world: World, limited: Limited) -> None:
    business_id, other = (BusinessId(each.business_id) for each in (world.victim, world.attacker))

    def work(tx: Tx, wanted: list[str]) -> object:
        return accounts.issue_token(tx, business_id, "x", ["ads.read"], ad_account_ids=wanted)

    theirs = world.context.db.read_now(lambda tx: accounts_store.list_ad_accounts(tx, other))[0].id
    for wanted in ([], [theirs], ["nobody"]):
        with pytest.raises(Refused, match="ad accounts of this business"):
            world.context.db.write_now(lambda tx, wanted=wanted: work(tx, wanted))  # type: ignore[misc]
