"""Last touch against a plain oracle, the edges of windows, and signed tickets."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.errors import Refused
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from contatto.measurement.model import (
    AttributionPolicy,
    Conversion,
    TicketKind,
    Touch,
    TouchKind,
    TrackingTicket,
)
from contatto.measurement.rules import (
    expires_ts,
    is_eligible,
    last_touch,
    local_day,
    natural_number,
    read_ticket,
    sign_ticket,
)
from tests import make

KEY = Vault({"k": bytes(32)}).signer("tracking")
AD = make.ad()

touches = st.builds(
    lambda kind, ts, span, number, person: Touch(
        number, "b1", person, "ad", "group", "account", kind, ts, ts + span, "2026-01-01", 0
    ),
    kind=st.sampled_from(TouchKind),
    ts=st.integers(0, 20),
    span=st.integers(-1, 12),
    number=st.integers(1, 30),
    person=st.sampled_from(["p1", "p1", "p1", "p2"]),
)


def wins_over(one: Touch, other: Touch, policy: AttributionPolicy) -> bool:
    """The rule in words: the kind decides first or second, then the time, then the id."""
    clicks = (one.kind is TouchKind.CLICK, other.kind is TouchKind.CLICK)
    if policy is AttributionPolicy.CLICK_FIRST and clicks[0] != clicks[1]:
        return clicks[0]
    if one.ts != other.ts:
        return one.ts > other.ts
    if clicks[0] != clicks[1]:
        return clicks[0]
    return one.touch_id > other.touch_id


def oracle(seen: list[Touch], conversion: Conversion, policy: AttributionPolicy) -> Touch | None:
    winner: Touch | None = None
    for touch in seen:
        fits = touch.person_id == conversion.person_id and touch.ts <= conversion.ts <= touch.expires_ts
        if fits and (winner is None or wins_over(touch, winner, policy)):
            winner = touch
    return winner


@given(st.lists(touches, max_size=12), st.integers(0, 30), st.sampled_from(AttributionPolicy), st.randoms())
def test_the_winner_is_the_oracles_in_any_order_and_with_repeats(seen, ts, policy, chance) -> None:  # type: ignore[no-untyped-def]
    conversion = replace(make.conversion(), ts=ts)
    known: dict[int, Touch] = {touch.touch_id: touch for touch in seen}
    wanted = oracle(list(known.values()), conversion, policy)
    again = list(known.values()) * 2
    chance.shuffle(again)
    assert last_touch(again, conversion, policy) == wanted


def test_both_edges_of_the_window_count_and_nothing_beyond() -> None:
    touch = make.touch(AD)
    at = {"first": touch.ts, "last": touch.expires_ts, "before": touch.ts - 1, "after": touch.expires_ts + 1}
    found = {name: is_eligible(touch, replace(make.conversion(), ts=ts)) for name, ts in at.items()}
    assert found == {"first": True, "last": True, "before": False, "after": False}


def test_a_click_before_a_later_view_wins_unless_the_latest_touch_is_asked_for() -> None:
    click = make.touch(AD)
    view = make.touch(AD, TouchKind.VIEW, make.NOON + timedelta(hours=1))
    conversion = make.conversion(at=make.NOON + timedelta(hours=2))
    assert last_touch([click, view], conversion) == click
    assert last_touch([click, view], conversion, AttributionPolicy.LAST_TOUCH) == view


def test_touches_of_another_business_or_person_never_win() -> None:
    conversion = make.conversion()
    theirs = [make.touch(make.ad("b2")), make.touch(AD, person_id="p2")]
    assert last_touch(theirs, conversion) is None


@pytest.mark.parametrize(
    ("kind", "window_s"), [(TouchKind.CLICK, 7 * 86_400), (TouchKind.VIEW, 86_400)], ids=["click", "view"]
)
def test_a_touch_expires_with_the_window_of_its_kind(kind: TouchKind, window_s: int) -> None:
    assert expires_ts(AD, kind, 5) == 5 + window_s * 1_000_000


def test_without_a_window_touches_of_a_kind_never_count() -> None:
    touch = make.touch(make.ad(view_window_s=None), TouchKind.VIEW)
    assert not is_eligible(touch, make.conversion())


def test_a_day_is_the_calendars_day_of_the_zone() -> None:
    late = micros(datetime(2026, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC))
    assert local_day(late, "UTC") == "2026-01-01"
    assert local_day(late, "Asia/Singapore") == "2026-01-02"
    assert local_day(late + 1, "UTC") == "2026-01-02"


def test_a_natural_number_follows_from_its_parts_and_their_borders() -> None:
    assert natural_number("a", "b") == natural_number("a", "b")
    assert len({natural_number("a", "b"), natural_number("ab", ""), natural_number("b", "a")}) == 3
    assert 0 <= natural_number("x", 1) < 2**63


tickets = st.builds(
    TrackingTicket,
    kind=st.sampled_from(TicketKind),
    business_id=st.uuids().map(str),
    ad_id=st.uuids().map(str),
    nonce=st.integers(0, 2**63 - 1),
    viewer=st.text(st.characters(codec="utf-8"), max_size=40),
    cost_micros=st.integers(0, 10**12),
    country=st.sampled_from(["", "SG"]),
)


@given(tickets)
def test_a_ticket_comes_back_from_its_token(ticket: TrackingTicket) -> None:
    token = sign_ticket(ticket, KEY)
    assert read_ticket(token, {ticket.kind}, KEY) == ticket
    with pytest.raises(Refused):
        read_ticket(token, set(TicketKind) - {ticket.kind}, KEY)
    assert re.fullmatch(r"[\w-]+\.[\w-]{43}", token, re.ASCII)


@given(tickets, st.data())
def test_a_ticket_with_any_bit_changed_is_refused(ticket: TrackingTicket, data: st.DataObject) -> None:
    raw = bytearray(sign_ticket(ticket, KEY).encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Refused):
        read_ticket(raw.decode("latin-1"), set(TicketKind), KEY)


@given(st.text(max_size=80))
def test_any_other_text_is_refused_as_a_ticket(text: str) -> None:
    with pytest.raises(Refused):
        read_ticket(text, set(TicketKind), KEY)


def test_a_ticket_signed_with_another_key_is_refused() -> None:
    token = sign_ticket(
        TrackingTicket(TicketKind.VIEW, "b1", "ad", 1), Vault({"k": bytes(range(32))}).signer("tracking")
    )
    with pytest.raises(Refused):
        read_ticket(token, set(TicketKind), KEY)
