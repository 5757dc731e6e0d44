"""What was sent once and is sent again does nothing more: deliveries, requests, codes, cookies."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from contatto.accounts import actions as accounts
from contatto.accounts.model import BusinessId, Permission
from contatto.channels.connectors import meta, tiktok
from contatto.kit.db.tx import Tx, metadata
from tests.journeys.running import API, PASSWORD, message, webhook_body
from tests.security.filling import settle
from tests.security.holdings import changed_tables, rows_of
from tests.security.world import Tenant, World
from tests.unchanged import Rows, nothing_changes

SENT_OFTEN = 5
COUNTED = {"receipts"}
"""A delivery says how often it came."""


def settled_rows(world: World, tenant: Tenant) -> Rows:
    settle(world)
    return rows_of(world, tenant)


def new_delivery(world: World, of: Tenant) -> tuple[str, bytes, dict[str, str]]:
    """A new message on TikTok: path, body and headers."""
    now = world.context.clock.now().timestamp()
    said = message(f"call +65 {of.phones[0]}", "replayed", int(now * 1_000))
    body = webhook_body("im_receive_msg", said, of.open_id)
    headers = {"TikTok-Signature": tiktok.sign_body(body, of.app_secret, int(now))}
    return f"/webhooks/tiktok/{of.app_id}", body, headers


def test_a_delivery_that_comes_again_changes_nothing_more(world: World) -> None:
    path, body, headers = new_delivery(world, world.victim)
    assert world.ask("POST", path, content=body, headers=headers).status_code == 200
    once = settled_rows(world, world.victim)
    for _ in range(SENT_OFTEN):
        assert world.ask("POST", path, content=body, headers=headers).status_code == 200
    assert changed_tables(once, settled_rows(world, world.victim)) <= COUNTED


def test_a_delivery_that_is_signed_anew_is_still_the_same(world: World) -> None:
    path, body, _ = new_delivery(world, world.victim)
    now = int(world.context.clock.now().timestamp())
    for late_s in range(SENT_OFTEN):
        headers = {"TikTok-Signature": tiktok.sign_body(body, world.victim.app_secret, now + late_s)}
        assert world.ask("POST", path, content=body, headers=headers).status_code == 200
        if not late_s:
            once = settled_rows(world, world.victim)
    assert changed_tables(once, settled_rows(world, world.victim)) <= COUNTED


def test_an_old_delivery_is_refused_and_one_for_another_app_too(world: World) -> None:
    path, body, headers = new_delivery(world, world.victim)
    clock, span = world.context.clock, timedelta(minutes=10)
    with nothing_changes(world.context.db):
        for other in (
            f"/webhooks/tiktok/{world.attacker.app_id}",
            f"/webhooks/whatsapp/{world.victim.app_id}",
        ):
            assert world.ask("POST", other, content=body, headers=headers).status_code in (401, 404)
        clock.moment += span  # type: ignore[attr-defined]  # the world's clock stands until it is moved
        assert world.ask("POST", path, content=body, headers=headers).status_code == 401
        clock.moment -= span  # type: ignore[attr-defined]


def test_a_delivery_of_whatsapp_that_comes_again_changes_nothing_more(world: World) -> None:
    """It carries no time: the platform tries for days, and so may whoever caught one."""
    of = world.victim
    said = {"id": "wamid.replayed", "from": f"65{of.phones[0]}", "type": "text", "text": {"body": "Hi"},
            "timestamp": str(int(world.context.clock.now().timestamp()))}  # fmt: skip
    value = {"metadata": {"phone_number_id": f"wa-{of.word}"}, "messages": [said], "contacts": []}
    entry = [{"changes": [{"field": "messages", "value": value}]}]
    body = json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()
    headers = {"X-Hub-Signature-256": meta.sign_body(body, of.app_secret)}
    path = f"/webhooks/whatsapp/{of.app_id}-wa"
    assert world.ask("POST", path, content=body, headers=headers).status_code == 200
    once = settled_rows(world, of)
    for _ in range(SENT_OFTEN):
        assert world.ask("POST", path, content=body, headers=headers).status_code == 200
    assert changed_tables(once, settled_rows(world, of)) <= COUNTED


Act = Callable[[World], httpx2.Response]


def _chat(world: World) -> Act:
    sent = {"client_message_id": str(uuid.uuid4()), "text": "once"}
    path = f"/chat/{world.victim.webchat_id}/messages"
    return lambda at: at.ask("POST", path, visitor=world.victim.visitor, json=sent)


def _reply(world: World) -> Act:
    form = {"client_message_id": str(uuid.uuid4()), "text": "once"}
    path = f"/inbox/{world.victim.ids['conversation_id'][0]}/messages"
    return lambda at: at.ask("POST", path, session=world.victim.owner, data=form)


def _note(world: World) -> Act:
    form = {"client_message_id": str(uuid.uuid4()), "text": "once"}
    path = f"/inbox/{world.victim.ids['conversation_id'][0]}/notes"
    return lambda at: at.ask("POST", path, session=world.victim.owner, data=form)


def _later(world: World) -> Act:
    at_ = (world.context.clock.now() + timedelta(hours=2)).isoformat()
    form = {"client_message_id": str(uuid.uuid4()), "text": "once", "at": at_}
    path = f"/inbox/{world.victim.ids['conversation_id'][0]}/scheduled"
    return lambda at: at.ask("POST", path, session=world.victim.owner, data=form)


def _copy(world: World) -> Act:
    form = {"once": str(uuid.uuid4()), "query": ""}
    path = f"/ads/campaigns/{world.victim.ids['campaign_id'][0]}/copy"
    return lambda at: at.ask("POST", path, session=world.victim.owner, data=form)


def _smart_plus(world: World) -> Act:
    body = {"advertiser_id": world.victim.advertiser_id, "request_id": str(uuid.uuid4().int)[:18],
            "campaign_name": "Once", "objective_type": "LEAD_GENERATION"}  # fmt: skip
    path = f"{API}/smart_plus/campaign/create/"
    return lambda at: at.ask("POST", path, token=world.victim.token, json=body)


def _crm_event(world: World) -> Act:
    number = next(each for each in world.victim.ids["lead_id"] if each.isdigit())
    told = {"event": "contacted_lead", "event_time": 1_795_000_000, "event_id": str(uuid.uuid4()),
            "lead": {"lead_id": number, "lead_event_source": "crm"}}  # fmt: skip
    source = world.victim.ids["event_set_id"][0]
    body = {"event_source": "crm", "event_source_id": source, "data": [told]}
    return lambda at: at.ask("POST", f"{API}/event/track/", token=world.victim.token, json=body)


def _term(world: World) -> Act:
    body = {"advertiser_id": world.victim.advertiser_id, "term_type": "LeadAds"}
    return lambda at: at.ask("POST", f"{API}/term/confirm/", token=world.victim.token, json=body)


NOTED = {"audit_entries"}
"""Each request of a member or a program is written down, also the second one."""


@pytest.mark.parametrize("make", [_chat, _reply, _note, _later, _copy, _smart_plus, _crm_event, _term])
def test_a_request_with_an_id_of_its_own_is_done_once(world: World, make: Callable[[World], Act]) -> None:
    act = make(world)
    first = act(world)
    assert first.status_code in (200, 303), first.text[:300]
    once = settled_rows(world, world.victim)
    for _ in range(SENT_OFTEN):
        again = act(world)
        assert again.status_code == first.status_code
    assert changed_tables(once, settled_rows(world, world.victim)) <= COUNTED | NOTED


def test_the_request_id_of_one_tenant_is_not_that_of_another(world: World) -> None:
    def create(of: Tenant, request_id: str) -> dict[str, Any]:
        named = {"request_id": request_id, "campaign_name": f"{of.word} once",
                 "objective_type": "LEAD_GENERATION", "advertiser_id": of.advertiser_id}  # fmt: skip
        return world.api("POST", "/smart_plus/campaign/create/", of.token, **named)

    request_id = str(uuid.uuid4().int)[:18]
    mine, theirs = create(world.victim, request_id), create(world.attacker, request_id)
    assert (mine["code"], theirs["code"]) == (0, 0)
    assert mine["data"] != theirs["data"]
    assert not world.victim.tells_of(json.dumps(theirs))


def test_the_request_id_of_another_body_is_refused(world: World) -> None:
    of = world.victim
    named = {"request_id": str(uuid.uuid4().int)[:18], "objective_type": "LEAD_GENERATION",
             "advertiser_id": of.advertiser_id}  # fmt: skip
    path = "/smart_plus/campaign/create/"
    assert world.api("POST", path, of.token, campaign_name="One", **named)["code"] == 0
    with nothing_changes(world.context.db):
        assert world.api("POST", path, of.token, campaign_name="Other", **named)["code"] != 0


def auth_code(world: World, of: Tenant) -> str:
    def work(tx: Tx) -> str:
        return accounts.issue_auth_code(tx, BusinessId(of.business_id), "program", [Permission.READ_ADS])

    return world.context.db.write_now(work)


def redeem(world: World, code: str) -> int:
    body = {"app_id": "x", "secret": "x", "auth_code": code}
    return int(world.ask("POST", f"{API}/oauth2/access_token/", json=body).json()["code"])


def test_an_auth_code_is_good_once_and_not_for_long(world: World) -> None:
    code = auth_code(world, world.victim)
    assert redeem(world, code) == 0
    late = auth_code(world, world.victim)
    world.context.clock.moment += timedelta(minutes=11)  # type: ignore[attr-defined]
    with nothing_changes(world.context.db):
        assert [redeem(world, each) != 0 for each in (code, code, late)] == [True] * 3
    world.context.clock.moment -= timedelta(minutes=11)  # type: ignore[attr-defined]


def test_a_session_is_worth_nothing_after_its_end(world: World) -> None:
    session = world.log_in("agent@zanzibar.example.com", PASSWORD)
    csrf = world.csrf(session)
    assert world.ask("POST", "/logout", session=session).status_code == 303
    with nothing_changes(world.context.db):
        assert world.ask("GET", "/inbox", session=session).headers["location"].startswith("/login")
        form = {"language": "it", "display_name": "x"}
        answer = world.ask("POST", "/settings/profile", session=session, forgery=csrf, data=form)
        assert answer.status_code == 401


def test_what_is_undone_or_taken_away_once_is_not_twice(world: World) -> None:
    """Undoing, ending and revoking again find nothing to do."""
    of = world.victim
    merges = metadata.tables["lead_merges"]
    one = select(merges.c.kept_id).where(merges.c.id == of.ids["merge_id"][0])
    kept = world.context.db.read_now(lambda tx: tx.scalar(one))
    acts = (
        f"/leads/{kept}/merges/{of.ids['merge_id'][0]}/undo",
        f"/leads/jobs/{of.ids['job_id'][0]}/undo",
        f"/settings/subscriptions/{of.ids['subscription_id'][0]}/end",
        f"/settings/tokens/{of.ids['token_id'][0]}/revoke",
        f"/settings/replies/{of.ids['reply_id'][-1]}/remove",
    )
    for path in acts:
        assert world.ask("POST", path, session=of.owner).status_code == 303, path
        once = settled_rows(world, of)
        for _ in range(2):
            world.ask("POST", path, session=of.owner)
        assert changed_tables(once, settled_rows(world, of)) <= NOTED, path
