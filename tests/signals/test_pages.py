"""The page of an ad account's signals: turning them on, a test event, the log, and what is refused."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from contatto.ad_platforms.actions import NewOutsideAccount, connect_outside_account
from contatto.ad_platforms.model import AdPlatform
from contatto.integrations.model import DeliveryState, Denied, TrialState
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import Done, HttpAnswer
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.signals.connectors import TikTokSignals
from contatto.signals.model import ConsentRule, MatchKeys, SignalEvent, SignalMode, SignalStep, SignalTarget
from contatto.signals.store import find_signal_settings, find_signal_test, ledger
from contatto.simulator.ad_platforms import TOKEN, TikTokFake
from tests import make
from tests.background import do_all_due
from tests.journeys.running import House, csrf_of, message, running_house
from tests.outbound import answer, claim_all
from tests.quoting import quotes
from tests.signals.engine import KINDS

CHOSEN: Final[dict[str, Any]] = {
    "dataset_id": "1800", "steps": ["captured", "converted"], "consent": "not_refused", "currency": "EUR",
    "value": "50", "name.converted": "deal_won",
}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url, worker="separate") as opened:
        opened.sign_in()
        yield opened


@pytest.fixture
def account(house: House) -> str:
    new = NewOutsideAccount(platform=AdPlatform.TIKTOK, external_id="7001", access_token=TOKEN)
    return house.context.db.write_now(lambda tx: connect_outside_account(tx, house.business_id, new, ()).id)


def page(house: House, account: str) -> str:
    return house.client.get(f"/settings/ad-platforms/{account}/signals").text


def post(house: House, account: str, path: str = "", **form: Any) -> Any:
    token = {"csrf_token": csrf_of(page(house, account))}
    return house.client.post(
        f"/settings/ad-platforms/{account}/signals{path}", data=form | token, follow_redirects=False
    )


def settings(house: House, account: str) -> Any:
    return house.context.db.read_now(lambda tx: find_signal_settings(tx, house.business_id, account))


def test_signals_are_turned_on_held_back_and_turned_off(house: House, account: str) -> None:
    assert "Turn on signals" in page(house, account)
    assert post(house, account, **CHOSEN).status_code == 303
    kept = settings(house, account)
    assert (kept.mode, kept.dataset_id, kept.consent) == (SignalMode.ACTIVE, "1800", ConsentRule.NOT_REFUSED)
    assert (kept.steps, kept.names) == (
        (SignalStep.CAPTURED, SignalStep.CONVERTED),
        {SignalStep.CONVERTED: "deal_won"},
    )
    assert (kept.value_micros, kept.currency) == (50_000_000, "EUR")
    shown = page(house, account)
    assert 'value="deal_won"' in shown
    assert 'value="1800"' in shown
    for step, mode in (("pause", "paused"), ("resume", "active"), ("stop", "off")):
        assert post(house, account, f"/{step}").status_code == 303
        assert settings(house, account).mode.value == mode
    assert post(house, account, "/resume").status_code == 303
    assert settings(house, account).mode is SignalMode.OFF, "only new choices turn them on"


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("dataset_id", "<b>", "Events Manager"),
        ("steps", [], "at least one"),
        ("currency", "", "Enter the currency"),
        ("value", "-5", "above 0"),
        ("value", "lots", "Enter a number"),
        ("name.converted", "an event, too", "50 letters"),
    ],
)
def test_a_wrong_choice_is_said_in_place_and_nothing_is_lost_or_kept(
    house: House, account: str, field: str, text: Any, says: str
) -> None:
    refused = post(house, account, **{**CHOSEN, field: text})
    assert refused.status_code == 422
    assert says in refused.text
    if field != "dataset_id":
        assert 'value="1800"' in refused.text, "what was typed stays"
    assert settings(house, account) is None


def test_a_test_event_goes_the_real_way_and_shows_what_the_platform_said(house: House, account: str) -> None:
    post(house, account, **CHOSEN)
    assert post(house, account, "/test", code="bad code").status_code == 422
    assert post(house, account, "/test", code="TEST123", step="captured").status_code == 303
    platform = TikTokFake(dataset="1800", clock_at=house.context.clock.now())
    kind = KINDS["ad_signal_test"]
    for claimed in house.context.db.write_now(lambda tx: claim_all(tx, kind)):
        outcome = platform.send(claimed[1].request)
        house.context.db.write_now(lambda tx: answer(tx, kind, claimed, outcome))  # noqa: B023
    (told,) = platform.tested
    assert (platform.counted, told["event"]) == ([], "SubmitForm")
    test = house.context.db.read_now(lambda tx: find_signal_test(tx, house.business_id, account))
    assert test is not None
    assert test.state is TrialState.DONE
    assert "request_id" in page(house, account)


def captured(house: House) -> None:
    """A lead of an ad of that account."""
    at_ms = int(house.context.clock.now().timestamp() * 1_000)
    said = message("my number is +65 9123 4567", "u1", at_ms)
    tap = {key: said[key] for key in ("from", "from_user", "conversation_id", "timestamp")}
    ad = {"ad": {"ad_id": "31", "advertiser_id": "7001"}}
    assert house.webhook("im_referral_msg", tap | {"referral": ad}).status_code == 200
    assert house.webhook("im_receive_msg", said).status_code == 200
    settle(house)


def settle(house: House) -> None:
    """Do what waits, and send nothing."""

    async def work() -> None:
        while await do_all_due(house.context.db, house.context.installation):
            pass

    asyncio.run(work())


def test_a_dead_letter_is_shown_without_a_contact_value_and_sent_again(house: House, account: str) -> None:
    post(house, account, **CHOSEN)
    captured(house)

    def find(tx: Tx) -> Any:
        (signal,) = ledger.list_entries(tx, house.business_id, account)
        return signal

    signal = house.context.db.read_now(find)
    assert signal.state is DeliveryState.DUE
    house.context.db.write_now(lambda tx: ledger.record(tx, signal, DeliveryState.DEAD, "event_refused"))
    shown = page(house, account)
    assert "The platform rejects this event" in shown
    assert not quotes(shown, "91234567")
    assert post(house, account, f"/{signal.id}/resend", **{f"amount-{signal.id}": "x"}).status_code == 422
    assert post(house, account, f"/{signal.id}/resend").status_code == 303
    assert house.context.db.read_now(find).state is DeliveryState.DUE
    assert post(house, account, f"/{signal.id}/resend").status_code == 409
    assert post(house, account, "/resend").status_code == 303


def test_the_ledgers_of_page_and_api_count_signals(house: House, account: str) -> None:
    post(house, account, **CHOSEN)
    captured(house)
    (row,) = house.data("GET", "/contatto/signals/ledger/get/")["accounts"]
    assert (row["signals"], row["due"], row["adds_up"], row["mode"]) == (1, 1, True, "active")
    (told,) = house.data("GET", "/contatto/crm/ledger/get/")["ad_platforms"]
    assert (told["signals"], told["due"]) == (1, 1)
    assert "Signals to ad platforms" in house.client.get("/settings/integrations/ledger").text
    assert not quotes(json.dumps(row), "91234567")


def test_another_contatto_takes_our_events_as_tiktok_does(house: House, account: str) -> None:
    post(house, account, **CHOSEN)
    captured(house)
    event_set = house.data("POST", "/crm/create/", name="Signals")["event_set_id"]
    (lead,) = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    whom = MatchKeys(lead.person_id, ("ada@example.com",), ("+6591234567",))
    event = SignalEvent("event-1", "qualified_lead", house.context.clock.now(), lead.number, whom)
    for set_id, means in ((event_set, Done()), ("404", Denied("dataset_gone"))):
        feed = SignalTarget("http://127.0.0.1:8000", set_id, house.token)
        request = TikTokSignals().ask(feed, event)
        said = house.client.post(request.url, content=request.body, headers=dict(request.headers))
        assert TikTokSignals().read(HttpAnswer(said.status_code, {}, said.content)) == means
    (moved,) = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    assert moved.status is LeadStatus.QUALIFIED


def test_the_page_of_a_lead_shows_what_the_platform_was_told_and_why_not(house: House, account: str) -> None:
    post(house, account, **CHOSEN)
    captured(house)

    def give_up(tx: Tx) -> tuple[str, str]:
        (signal,) = ledger.list_entries(tx, house.business_id, account)
        ledger.record(tx, signal, DeliveryState.DEAD, "event_refused")
        stranger = make.lead(tx, make.business(tx).id, make.contact(), person_id="of another business")
        return signal.lead_id, stranger.id

    lead_id, stranger_id = house.context.db.write_now(give_up)
    assert f'hx-get="/leads/{lead_id}/signals"' in house.client.get(f"/leads/{lead_id}").text
    part = house.client.get(f"/leads/{lead_id}/signals").text
    for words in (
        "Signals to the ad platform",
        "Lead captured",
        "Failed",
        "rejects this event",
        f"/{account}/signals",
    ):
        assert words in part
    assert house.client.get(f"/leads/{stranger_id}/signals").status_code == 404
