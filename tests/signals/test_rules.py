"""Which steps are due, who may be told of, how values are hashed, and what answers of platforms mean."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.channels.model import Platform
from contatto.forms.model import ConsentReceipt
from contatto.integrations.model import Denied
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, NotNow
from contatto.leads.model import HistoryEntry, HistoryKind, LeadId, LeadStatus
from contatto.signals.connectors import CONNECTORS, MetaSignals, TikTokSignals
from contatto.signals.model import (
    ConsentRule,
    MatchKeys,
    SignalEvent,
    SignalMode,
    SignalSettings,
    SignalStep,
    SignalTarget,
)
from contatto.signals.rules import (
    REASONS,
    VALID_IN,
    credited_account,
    digests,
    has_consent,
    normal_email,
    plus_phone,
    reached_at,
    reason_text,
    steps_due,
)
from tests.make import NOON

ACCOUNT, LEAD = new_id(), new_id()
SETTINGS = SignalSettings(
    ACCOUNT, "b1", SignalMode.ACTIVE, "", "1800", "901", tuple(SignalStep), ConsentRule.REQUIRED, "EUR", None,
    NOON, NOON, None,
)  # fmt: skip
TARGET = SignalTarget("https://platform.example.com", "1800", "token")
KEYS = MatchKeys(
    "person-1", ("Ada@Example.com",), ("+6591234567",), "click-1", Platform.WHATSAPP, "901", "s1"
)
EVENT = SignalEvent("event-1", "Purchase", NOON, 18, KEYS, 12_500_000, "EUR")


def consented(at: datetime, given: bool, text: str = "May we tell the platform?") -> ConsentReceipt:
    return ConsentReceipt("r1", "b1", "a1", "p1", "signals", given, text, "", "", "en", at)


def test_only_steps_that_are_chosen_named_and_not_of_before_are_due_in_their_order() -> None:
    reached = {SignalStep.CONVERTED: NOON + timedelta(hours=1), SignalStep.CAPTURED: NOON}
    assert list(steps_due(SETTINGS, tuple(SignalStep), reached)) == [
        SignalStep.CAPTURED,
        SignalStep.CONVERTED,
    ]
    assert list(steps_due(SETTINGS, (SignalStep.CAPTURED,), reached)) == [SignalStep.CAPTURED]
    chosen = replace(SETTINGS, steps=(SignalStep.CONVERTED,))
    assert list(steps_due(chosen, tuple(SignalStep), reached)) == [SignalStep.CONVERTED]
    begun = replace(SETTINGS, started_at=NOON + timedelta(minutes=1))
    assert list(steps_due(begun, tuple(SignalStep), reached)) == [SignalStep.CONVERTED]


def test_a_status_is_reached_when_it_was_given_last() -> None:
    steps = [
        HistoryEntry(new_id(), LeadId(LEAD), HistoryKind.STATUS, "raw → qualified", "Ana", NOON),
        HistoryEntry(new_id(), LeadId(LEAD), HistoryKind.STATUS, "qualified → raw", "Ana",
                     NOON + timedelta(hours=1)),
        HistoryEntry(new_id(), LeadId(LEAD), HistoryKind.STATUS, "raw → qualified", "Ana",
                     NOON + timedelta(hours=2)),
        HistoryEntry(new_id(), LeadId(LEAD), HistoryKind.NOTE, "→ qualified", "Ana",
                     NOON + timedelta(days=1)),
    ]  # fmt: skip
    assert reached_at(LeadStatus.QUALIFIED, steps, NOON) == NOON + timedelta(hours=2)
    assert reached_at(LeadStatus.CONVERTED, steps, NOON) == NOON
    unqualified = [replace(steps[0], detail="raw → unqualified", at=NOON + timedelta(days=2))]
    assert reached_at(LeadStatus.QUALIFIED, [*steps, *unqualified], NOON) == NOON + timedelta(hours=2)


@pytest.mark.parametrize(
    ("consents", "given", "not_refused"),
    [
        ([], False, True),
        ([consented(NOON, given=True)], True, True),
        ([consented(NOON, given=False)], False, False),
        ([consented(NOON, given=True), consented(NOON, False, "And news?")], False, False),
        ([consented(NOON, given=False), consented(NOON + timedelta(days=1), given=True)], True, True),
        ([consented(NOON + timedelta(days=1), given=False), consented(NOON, given=True)], False, False),
    ],
)
def test_only_who_agreed_or_was_not_asked_may_be_told_of(
    consents: list[ConsentReceipt], given: bool, not_refused: bool
) -> None:
    assert has_consent(ConsentRule.REQUIRED, consents) is given
    assert has_consent(ConsentRule.NOT_REFUSED, consents) is not_refused


def test_a_tap_belongs_to_the_account_that_is_named_or_has_the_ad_or_is_the_only_one() -> None:
    accounts = {"ours-1": "7001", "ours-2": "7002"}
    assert credited_account("7002", "ours-1", accounts) == "ours-2"
    assert credited_account("7009", "ours-1", accounts) == ""
    assert credited_account("", "ours-1", accounts) == "ours-1"
    assert credited_account("", "ours-9", {"ours-1": "7001"}) == "", "another account has the ad"
    assert credited_account("", "", accounts) == "", "nobody knows which"
    assert credited_account("", "", {"ours-1": "7001"}) == "ours-1"
    assert credited_account("", "", {}) == ""


def test_a_step_stands_as_long_as_its_status_or_one_beyond_it() -> None:
    assert LeadStatus.CONVERTED in VALID_IN[SignalStep.QUALIFIED]
    assert LeadStatus.RAW not in VALID_IN[SignalStep.QUALIFIED]
    assert LeadStatus.QUALIFIED not in VALID_IN[SignalStep.CONVERTED]
    assert LeadStatus.QUALIFIED not in VALID_IN[SignalStep.DISQUALIFIED]
    assert SignalStep.CAPTURED not in VALID_IN


def test_normal_forms_are_those_of_the_platforms() -> None:
    # Source: the example of Meta's customer information parameters, for the phone.
    assert digests([normal_email(" ADA@example.com ")]) == digests(["ada@example.com"])
    phone = "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"
    assert digests([plus_phone("+1 (650) 555-1212").removeprefix("+")]) == [phone]
    assert plus_phone("+65 9123 4567") == "+6591234567"
    assert plus_phone("9123 4567") == "", "without a country nobody is found"


@given(st.lists(st.text(max_size=8), max_size=3))
def test_hashes_are_of_each_text_once_and_of_no_empty_one(texts: list[str]) -> None:
    found = digests(texts)
    assert len(found) == len({text for text in texts if text})
    assert all(len(each) == 64 and set(each) <= set("0123456789abcdef") for each in found)


def body_of(connector: Any, event: SignalEvent = EVENT, target: SignalTarget = TARGET) -> Any:
    return json.loads(connector.ask(target, event).body)


def test_tiktok_is_told_as_events_api_2_asks() -> None:
    request = TikTokSignals().ask(replace(TARGET, test_code="T1"), EVENT)
    assert request.url == "https://platform.example.com/open_api/v1.3/event/track/"
    assert request.headers["Access-Token"] == "token"
    assert json.loads(request.body) == {
        "event_source": "crm",
        "event_source_id": "1800",
        "test_event_code": "T1",
        "data": [
            {
                "event": "Purchase",
                "event_time": int(NOON.timestamp()),
                "event_id": "event-1",
                "user": {
                    "email": digests(["ada@example.com"]),
                    "phone": digests(["+6591234567"]),
                    "external_id": digests(["person-1"]),
                    "ttclid": "click-1",
                },
                "lead": {"lead_id": "18", "lead_event_source": "Contatto"},
                "properties": {"value": 12.5, "currency": "EUR"},
            }
        ],
    }


@pytest.mark.parametrize(
    ("channel", "ids"),
    [
        (Platform.WHATSAPP, {"whatsapp_business_account_id": "901", "ctwa_clid": "click-1"}),
        (Platform.MESSENGER, {"page_id": "901", "page_scoped_user_id": "s1"}),
        (Platform.INSTAGRAM, {"instagram_business_account_id": "901", "ig_sid": "s1"}),
    ],
)
def test_meta_is_told_as_its_business_messaging_asks(channel: Platform, ids: dict[str, str]) -> None:
    request = MetaSignals().ask(TARGET, replace(EVENT, match_keys=replace(KEYS, channel=channel)))
    assert request.url == "https://platform.example.com/v23.0/1800/events"
    assert request.headers["Authorization"] == "Bearer token"
    (told,) = json.loads(request.body)["data"]
    hashed = {"em": digests(["ada@example.com"]), "ph": digests(["6591234567"])}
    assert told["user_data"] == hashed | {"external_id": digests(["person-1"])} | ids
    assert (told["action_source"], told["messaging_channel"]) == ("business_messaging", channel.value)
    assert told["custom_data"] == {"value": 12.5, "currency": "EUR"}


def test_what_is_missing_is_said_before_anything_is_sent() -> None:
    meta, tiktok = MetaSignals(), TikTokSignals()

    def find_gap(connector: Any, value: int | None = 1, **changes: Any) -> str:
        found: str = connector.find_gap(
            replace(EVENT, value_micros=value, match_keys=replace(KEYS, **changes))
        )
        return found

    assert find_gap(meta) == find_gap(tiktok) == ""
    assert find_gap(meta, click_id="") == "no_click_id"
    assert find_gap(meta, business_id="") == "no_whatsapp_account"
    assert find_gap(meta, value=None) == "no_value"
    assert find_gap(meta, channel=Platform.MESSENGER, scoped_id="") == "nobody_to_match"
    assert find_gap(meta, channel=Platform.TIKTOK) == find_gap(meta, channel=None) == "nobody_to_match"
    assert find_gap(tiktok, emails=(), phones=("12",), click_id="") == "nobody_to_match"


def answer(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, headers, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "said", "means"),
    [
        ("tiktok", answer({"code": 0, "message": "OK", "data": {}}), Done()),
        ("tiktok", answer({"code": 0, "data": None}), Done()),
        ("tiktok", answer({"code": 20001, "data": {"failed_events": [{}]}}), Failed("event_refused")),
        ("tiktok", answer({"code": 0, "data": {"failed_events": [{}]}}), Failed("event_refused")),
        ("tiktok", answer({"code": 40105, "message": "revoked"}), Denied("token_refused")),
        ("tiktok", answer({"code": 40002, "message": "event_source_id: no"}), Denied("dataset_gone")),
        ("tiktok", answer({"code": 40002, "message": "data[0].event_time: no"}), Failed("platform_40002")),
        ("tiktok", answer({"code": 40100, "message": "slow"}), NotNow("too_fast")),
        ("tiktok", answer({}, 502), NotNow("http_502")),
        ("tiktok", answer({}, 401), Denied("token_refused")),
        ("meta", answer({"events_received": 1}), Done()),
        ("meta", answer({"events_received": 0, "messages": ["no"]}), Failed("event_refused")),
        ("meta", answer({}), NotNow("not_json")),
        ("meta", HttpAnswer(401, {}, b"<html>log in</html>"), Denied("token_refused")),
        ("tiktok", HttpAnswer(401, {}, b"<html>log in</html>"), Denied("token_refused")),
        ("meta", answer({"error": {"code": 190}}, 400), Denied("token_refused")),
        ("meta", answer({"error": {"code": 100, "error_subcode": 33}}, 400), Denied("dataset_gone")),
        ("meta", answer({"error": {"code": 100, "error_subcode": 2804066}}, 400), Failed("event_refused")),
        ("meta", answer({"error": {"code": 4}}, 400), NotNow("too_fast")),
        ("meta", answer({"error": {"code": 1}}, 500), NotNow("platform_away")),
    ],
)
def test_what_a_platform_answers_is_understood(name: str, said: HttpAnswer, means: Any) -> None:
    connector = next(each for platform, each in CONNECTORS.items() if platform.value == name)
    assert connector.read(said) == means


@given(st.binary(max_size=200), st.integers(100, 599))
def test_no_answer_however_hostile_breaks_a_connector(raw: bytes, status: int) -> None:
    for connector in CONNECTORS.values():
        assert connector.read(HttpAnswer(status, {}, raw)) != Done()


def test_every_reason_is_a_sentence_and_an_unknown_one_keeps_its_number() -> None:
    assert all(str(reason_text(code)) for code in REASONS)
    assert "40002" in str(reason_text("platform_40002"))
    assert reason_text("something") == "something"
