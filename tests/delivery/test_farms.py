"""Click farms: told by what they do within a day, and kept apart from people who like to click."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.delivery.model.lines import (
    AdGroupLine,
    AdLine,
    ClickLine,
    ConversationLine,
    Decision,
    LeadLine,
    LeadSource,
    RequestLine,
    SpamLine,
    ViewLine,
)
from contatto.delivery.predict import teaching
from contatto.delivery.predict.marketplace import Marketplace
from contatto.delivery.rules.columns import CLICK, LEAD, SPAM, V_FARM, VIEWER_COLUMNS
from contatto.delivery.rules.farms import CLICKS, LEADS, SPAMS, add_evidence, evidence_of, trust_in

MINUTE = 60_000_000


def test_who_nothing_is_known_of_is_trusted() -> None:
    assert trust_in(np.zeros((1, VIEWER_COLUMNS)), 0) > 0.99


@given(st.floats(0.0, 1.0))
def test_what_a_farm_does_more_often_than_expected_speaks_for_one(expected: float) -> None:
    for head, of_farms in ((CLICK, CLICKS), (SPAM, SPAMS), (LEAD, LEADS)):
        if abs(expected - of_farms) < 1e-3:
            continue
        came, missed = evidence_of(head, expected, came=True), evidence_of(head, expected, came=False)
        assert (came > missed) == (max(expected, 0.01) < of_farms)


@given(st.lists(st.floats(-20.0, 20.0), max_size=40))
def test_nobody_is_beyond_change(amounts: list[float]) -> None:
    viewers = np.zeros((1, VIEWER_COLUMNS))
    for amount in amounts:
        add_evidence(viewers[0], amount)
    assert 0.0 < trust_in(viewers, 0) < 1.0


def play(*, is_farm: bool) -> float:
    """A day of one viewer among twenty who do not click; each asks every hour. What the one is trusted."""
    marketplace = Marketplace(1)
    marketplace.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a"))
    marketplace.take(AdLine(ts=0, ad_id="x", adgroup_id="g", features={"offer": "one"}))
    for hour in range(24):
        ts, request = (hour + 1) * 60 * MINUTE, f"r{hour}"
        for other in range(20):
            name = f"o{other} {hour}"
            marketplace.take(RequestLine(ts=ts, request_id=name, viewer_id=f"o{other}", country="SG"))
            if marketplace.market.records.shown[name] is not None:
                marketplace.take(ViewLine(ts=ts + 1, request_id=name))
        answer = marketplace.take(RequestLine(ts=ts, request_id=request, viewer_id="v", country="SG"))
        if not isinstance(answer, Decision) or answer.ad_id is None:
            continue
        marketplace.take(ViewLine(ts=ts + 1, request_id=request))
        if hour % 2:
            continue
        marketplace.take(ClickLine(ts=ts + 2, request_id=request))
        marketplace.take(ConversationLine(ts=ts + 3, viewer_id="v", advertiser_id="a"))
        if is_farm:
            marketplace.take(SpamLine(ts=ts + 4 * MINUTE, viewer_id="v", advertiser_id="a"))
        elif hour % 4 == 0:
            marketplace.take(
                LeadLine(ts=ts + 4 * MINUTE, viewer_id="v", advertiser_id="a", source=LeadSource.CHAT)
            )
    market = marketplace.market
    return float(trust_in(market.viewers.table, market.viewers.by_id["v"]))


def test_a_farm_is_told_within_a_day_and_a_good_customer_who_clicks_as_often_is_none() -> None:
    farm, customer = play(is_farm=True), play(is_farm=False)
    assert farm < 0.1
    assert customer > 0.9


def test_strangers_are_no_farm_together() -> None:
    """All who come without consent are one row: what they do says nothing of any of them."""
    marketplace = Marketplace(1)
    marketplace.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a"))
    marketplace.take(AdLine(ts=0, ad_id="x", adgroup_id="g"))
    clicks = 0
    for number in range(1, 60):
        ts, request = number * 20 * MINUTE, f"r{number}"
        marketplace.take(RequestLine(ts=ts, request_id=request, viewer_id="", country="SG"))
        if marketplace.market.records.shown[request] is not None:
            marketplace.take(ViewLine(ts=ts + 1, request_id=request))
            marketplace.take(ClickLine(ts=ts + 2, request_id=request))
            clicks += 1
    assert clicks > 10
    assert marketplace.market.viewers.table[0, V_FARM] == pytest.approx(0.0)


def chance_of_a_newcomer(flood: int) -> float:
    """The chance of a click of somebody new, after a day in which one viewer clicked so often."""
    marketplace = Marketplace(1)
    marketplace.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a"))
    marketplace.take(AdLine(ts=0, ad_id="x", adgroup_id="g"))
    viewers = [f"o{number}" for number in range(400)] + ["flood"] * flood
    step = 24 * 60 * MINUTE // len(viewers)
    for number in range(len(viewers)):
        ts, request = (number + 1) * step, f"r{number}"
        viewer = viewers[number * 7 % len(viewers)]
        marketplace.take(RequestLine(ts=ts, request_id=request, viewer_id=viewer, country="SG"))
        if marketplace.market.records.shown[request] is None:
            continue
        marketplace.take(ViewLine(ts=ts + 1, request_id=request))
        if viewer == "flood" or number % 25 == 0:
            marketplace.take(ClickLine(ts=ts + 2, request_id=request))
    asked = RequestLine(ts=30 * 60 * 60_000_000, request_id="new", viewer_id="new", country="SG")
    answer = marketplace.take(asked)
    assert isinstance(answer, Decision)
    return float(answer.p_click)


def test_of_one_viewer_who_clicks_hundreds_of_times_less_is_believed_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited = chance_of_a_newcomer(603)
    monkeypatch.setattr(teaching, "CLICKS_A_DAY", float("inf"))
    monkeypatch.setattr(teaching, "VIEWS_A_DAY", float("inf"))
    assert limited < 0.85 * chance_of_a_newcomer(603)
