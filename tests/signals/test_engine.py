"""Each step of a lead is told once to the platform that earned it, whatever happens on the way."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from contatto.ad_platforms.actions import disconnect_outside_account
from contatto.capture.model import Field
from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.annotations import erase_leads
from contatto.leads.actions.records import change_lead_status, delete_lead, restore_lead, undo_lead_status
from contatto.leads.model import Lead, LeadStatus
from contatto.signals import actions
from contatto.signals.actions import load_signal_ledger, schedule_signals
from contatto.signals.model import SignalMode, SignalStep
from contatto.signals.store import ledger
from contatto.simulator.ad_platforms import LOST, REFUSED, RESET, THROTTLED, json_answer
from tests import make
from tests.crm.engine import claim
from tests.signals.engine import (
    PHONE,
    Side,
    begun,
    in_house,
    later,
    reconnect,
    run_all,
    run_for,
    settle,
    turn_on,
)

BOTH = pytest.mark.parametrize("name", ["tiktok", "meta"])
EXPIRED = {
    "tiktok": json_answer({"code": 40105, "message": "Access token is incorrect."}),
    "meta": json_answer({"error": {"code": 190, "message": "expired"}}, 400),
}
DOWN, HTML = json_answer(b"", 503), json_answer(b"<p>Sign in</p>")


def move(tx: Tx, side: Side, lead: Lead, *steps: LeadStatus) -> None:
    seen = LeadStatus.RAW
    for new in steps:
        change_lead_status(tx, side.business_id, lead.id, seen, new, "Ana")
        seen = new


@BOTH
def test_captured_qualified_and_converted_are_told_once_each_with_what_it_is_worth(
    database: Database, name: str
) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        lead = side.lead(tx)
        assert side.standing(tx) == [("captured", "due", "")], "it is due in the same transaction"
        run_all(tx, side)
        move(tx, side, lead, LeadStatus.QUALIFIED, LeadStatus.CONVERTED)
        run_all(tx, side)
        schedule_signals(tx, side.business_id, lead.id)
        run_all(tx, side)
        expected = {
            "tiktok": ["SubmitForm", "qualified_lead", "converted_lead"],
            "meta": ["LeadSubmitted", "QualifiedLead", "Purchase"],
        }
        assert side.platform.names == expected[name]
        worth = side.platform.counted[-1].get("properties") or side.platform.counted[-1]["custom_data"]
        assert worth == {"value": 50.0, "currency": "EUR"}
        (row,) = load_signal_ledger(tx, side.business_id)
        assert (row.counts.total, row.counts.sent, row.counts.adds_up, row.alarms) == (3, 3, True, ())
        for request in side.platform.requests:
            for clear in (b"Ada", b"ada@", b"6591234567"):
                assert clear not in request.body, "no contact value leaves in clear"

    in_house(database, work)


def test_what_a_platform_has_no_name_for_is_not_told_to_it(database: Database) -> None:
    def work(tx: Tx) -> None:
        for name, told in (("tiktok", ["SubmitForm", "disqualified_lead"]), ("meta", ["LeadSubmitted"])):
            side = begun(tx, name)
            move(tx, side, side.lead(tx), LeadStatus.UNQUALIFIED)
            run_all(tx, side)
            assert side.platform.names == told

    in_house(database, work)


@BOTH
def test_leads_that_no_ad_of_this_account_earned_are_not_told(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.lead(tx, "nobody's", is_tapped=False)
        side.lead(tx, "another's", advertiser="7999")
        side.lead(tx, "later", at=make.NOON + timedelta(hours=1))
        side.lead(tx, "unnamed", advertiser="", ad_number=0)
        assert [each.lead_id for each in side.signals(tx)] == [
            each.lead_id for each in side.signals(tx, DeliveryState.DUE)
        ]
        assert len(side.signals(tx)) == 1, "with one account of the platform, a click id is enough"

    in_house(database, work)


@BOTH
def test_the_last_tap_before_the_lead_counts(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        lead = side.lead(tx, is_tapped=False)
        for hours in (2, 0, 1):
            side.tap(tx, "chat-u1", make.NOON + timedelta(hours=hours))

        def tapped_at(hours: int) -> datetime | None:
            moment = replace(lead, created_at=make.NOON + timedelta(hours=hours))
            credited = actions.find_credited_tap(tx, moment, [side.settings(tx)])
            return credited.tap.at if credited else None

        assert tapped_at(1) == make.NOON + timedelta(hours=1)
        assert tapped_at(-1) is None

    in_house(database, work)


@BOTH
@pytest.mark.parametrize("fate", [DOWN, HTML, LOST, RESET, THROTTLED])
def test_whatever_goes_wrong_on_the_way_each_step_counts_once(
    database: Database, name: str, fate: Any
) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.platform.fates = [fate, None, fate, fate]
        move(tx, side, side.lead(tx), LeadStatus.QUALIFIED)
        after = run_for(tx, side, 12)
        assert len(side.platform.counted) == 2
        assert [state for _, state, _ in side.standing(after)] == ["sent", "sent"]
        assert len({json.loads(each.body)["data"][0]["event_id"] for each in side.platform.requests}) == 2

    in_house(database, work)


@BOTH
def test_retry_after_is_kept_to(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.platform.fates = [THROTTLED]
        side.lead(tx)
        run_all(tx, side)
        run_all(later(tx, side, minutes=9), side)
        assert len(side.platform.requests) == 1
        assert side.standing(tx) == [("captured", "due", "too_fast")]
        run_all(later(tx, side, minutes=11), side)
        assert len(side.platform.counted) == 1

    in_house(database, work)


@BOTH
def test_killed_between_the_send_and_the_note_of_it_the_same_id_goes_again(
    database: Database, name: str
) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.lead(tx)
        (claimed,) = claim(tx)
        side.platform.send(claimed[1].request)  # and here the process dies
        after = later(tx, side, minutes=5)
        run_all(after, side)
        assert (len(side.platform.requests), len(side.platform.counted)) == (2, 1)
        assert side.standing(after) == [("captured", "sent", "")]

    in_house(database, work)


@BOTH
def test_an_expired_token_loses_nothing_and_a_new_one_brings_all(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.platform.token = "another"
        lead = side.lead(tx)
        run_all(tx, side)
        settings = side.settings(tx)
        assert (settings.mode, settings.reason) == (SignalMode.SHUT_OUT, "token_refused")
        move(tx, side, lead, LeadStatus.QUALIFIED)
        side.lead(tx, "u2")
        run_all(later(tx, side, hours=3), side)
        assert len(side.platform.requests) == 1, "nobody knocks at a closed door"
        assert {state for _, state, _ in side.standing(tx)} == {"due"}
        after = later(tx, side, hours=4)
        reconnect(after, side, "another")
        run_all(after, side)
        assert len(side.platform.counted) == 3
        assert side.settings(after).mode is SignalMode.ACTIVE

    in_house(database, work)


@BOTH
def test_a_data_set_that_is_gone_holds_signals_until_another_is_named(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        known, side.platform.dataset = side.platform.dataset, "999"
        side.lead(tx)
        run_all(tx, side)
        assert side.settings(tx).reason == "dataset_gone"
        assert side.standing(tx) == [("captured", "due", "dataset_gone")]
        assert known != side.platform.dataset
        turn_on(tx, side)
        run_all(tx, side)
        assert side.platform.names in (["SubmitForm"], ["LeadSubmitted"])

    in_house(database, work)


@BOTH
def test_what_a_platform_refuses_in_a_good_answer_is_a_dead_letter_that_is_mended_and_sent(
    database: Database, name: str
) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        lead = side.lead(tx)
        run_all(tx, side)
        side.platform.fates = [REFUSED]
        move(tx, side, lead, LeadStatus.CONVERTED)
        run_all(tx, side)
        (dead,) = side.signals(tx, DeliveryState.DEAD)
        assert (dead.step, dead.reason) == (SignalStep.CONVERTED, "event_refused")
        actions.resend_signal(tx, side.settings(tx), dead, 70_000_000)
        run_all(tx, side)
        told = side.platform.counted[-1]
        assert (told.get("properties") or told["custom_data"]) == {"value": 70.0, "currency": "EUR"}
        assert told["event_id"] == dead.event_id
        sent = ledger.find(tx, dead.business_id, dead.id)
        assert sent is not None
        with pytest.raises(Refused):
            actions.resend_signal(tx, side.settings(tx), sent)

    in_house(database, work)


@BOTH
def test_what_may_have_been_counted_is_never_sent_again_after_two_days(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.platform.fates = [LOST, *[json_answer(b"", 503)] * 99]
        side.lead(tx)
        after = run_for(tx, side, 60)
        (dead,) = side.signals(after, DeliveryState.DEAD)
        assert dead.reason == "maybe_counted"
        side.platform.fates = []
        assert actions.resend_dead_signals(after, side.settings(after)) == 0
        with pytest.raises(Refused, match="twice"):
            actions.resend_signal(after, side.settings(after), dead)
        run_all(after, side)
        assert len(side.platform.counted) == 1

    in_house(database, work)


@BOTH
def test_what_surely_was_not_taken_is_tried_for_a_week(database: Database, name: str) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, name)
        side.platform.fates = [THROTTLED] * 12
        side.lead(tx)
        after = run_for(tx, side, 55)
        assert side.standing(after) == [("captured", "sent", "")]

    in_house(database, work)


def test_signals_of_a_paused_account_wait_and_go_when_it_goes_on(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        first = side.lead(tx)
        actions.change_signal_mode(tx, side.settings(tx), SignalMode.PAUSED)
        run_all(tx, side)
        move(tx, side, first, LeadStatus.QUALIFIED)
        run_all(later(tx, side, days=1), side)
        assert side.platform.requests == []
        turn_on(tx, side)
        assert side.settings(tx).mode is SignalMode.PAUSED, "other choices let nothing go"
        actions.change_signal_mode(tx, side.settings(tx), SignalMode.ACTIVE)
        run_all(later(tx, side, days=1), side)
        assert side.platform.names == ["SubmitForm", "qualified_lead"]

    in_house(database, work)


def test_what_was_before_signals_were_on_or_while_they_were_off_is_not_told(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        actions.change_signal_mode(tx, side.settings(tx), SignalMode.OFF)
        old = side.lead(tx, "old")
        assert side.signals(tx) == []
        after = later(tx, side, hours=1)
        turn_on(after, side)
        schedule_signals(after, side.business_id, old.id)
        assert side.signals(after) == []
        move(after, side, old, LeadStatus.QUALIFIED)
        run_all(after, side)
        assert side.platform.names == ["qualified_lead"], "what becomes of it later is"

    in_house(database, work)


def test_a_status_that_was_taken_back_in_time_is_not_told(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        lead = side.lead(tx)
        move(tx, side, lead, LeadStatus.CONVERTED)
        undo_lead_status(tx, side.business_id, lead.id, LeadStatus.CONVERTED, "Ana")
        run_all(tx, side)
        assert side.platform.names == ["SubmitForm"]
        assert side.standing(tx)[1] == ("converted", "withheld", "taken_back")
        move(later(tx, side, minutes=1), side, lead, LeadStatus.CONVERTED)
        run_all(later(tx, side, minutes=1), side)
        assert side.platform.names == ["SubmitForm", "converted_lead"]

    in_house(database, work)


def test_a_lead_that_was_deleted_is_not_told_and_is_when_it_is_restored(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        lead = delete_lead(tx, side.lead(tx), "Ana")
        run_all(tx, side)
        assert side.standing(tx) == [("captured", "withheld", "lead_gone")]
        restore_lead(tx, lead, "Ana")
        run_all(tx, side)
        assert side.platform.names == ["SubmitForm"]

    in_house(database, work)


def test_meta_needs_the_click_id_of_whatsapp_and_tiktok_a_contact_detail(database: Database) -> None:
    def work(tx: Tx) -> None:
        meta, tiktok = begun(tx, "meta"), begun(tx, "tiktok")
        meta.lead(tx, "u1", PHONE, click_id="")
        line = make.contact("ada-line", Field.LINE)
        tiktok.lead(tx, "u2", line, click_id="")
        run_all(tx, meta)
        run_all(tx, tiktok)
        assert meta.standing(tx) == [("captured", "withheld", "no_click_id")]
        assert tiktok.standing(tx) == [("captured", "withheld", "nobody_to_match")]
        assert meta.platform.requests == tiktok.platform.requests == []

    in_house(database, work)


def test_without_a_connection_signals_wait_for_one(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        disconnect_outside_account(tx, side.business_id, side.account.id)
        side.lead(tx)
        run_all(tx, side)
        assert side.settings(tx).reason == "token_missing"
        (row,) = load_signal_ledger(tx, side.business_id)
        assert [each.value for each in row.alarms] == ["shut_out"]

    in_house(database, work)


def test_the_outcome_of_a_request_that_was_erased_meanwhile_changes_nothing(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        lead = side.lead(tx)
        (claimed,) = claim(tx)
        erase_leads(tx, side.business_id, [lead], "Ana")
        settle(tx, claimed, side.platform.send(claimed[1].request))
        assert side.signals(tx) == []

    in_house(database, work)
