"""Click farms: told by what they do within a day, and kept apart from people who like to click."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.learning.columns import CLICK, LEAD, SPAM, V_FARM, VIEWER_COLUMNS
from contatto.learning.learner import (
    CLICKS,
    LEADS,
    MOST_EXPECTED,
    SPAMS,
    add_evidence,
    evidence_of,
    prior_of,
    trust_in,
)
from contatto.learning.marketplace import Marketplace
from contatto.learning.model import (
    AdGroupLine,
    AdLine,
    ClickLine,
    ConversationLine,
    Decision,
    LeadLine,
    LineGoal,
    LineLeadSource,
    RequestLine,
    SpamLine,
    ViewLine,
)
from tests.delivery.small_world import relearn_market

MINUTE = 60_000_000


def test_who_nothing_is_known_of_is_trusted() -> None:
    assert trust_in(np.zeros((2, VIEWER_COLUMNS)), 1, prior_of(0, 0)) > 0.99


@given(st.floats(0.0, 1.0))
def test_what_a_farm_does_more_often_than_expected_speaks_for_one(expected: float) -> None:
    for head, of_farms in ((CLICK, CLICKS), (SPAM, SPAMS), (LEAD, LEADS)):
        if abs(expected - of_farms) < 1e-3:
            continue
        came, missed = (evidence_of(head, expected, 1.0, is_positive=said) for said in (True, False))
        assert (came > missed) == (min(max(expected, 0.01), MOST_EXPECTED[head]) < of_farms)


def test_features_that_farms_share_never_explain_what_they_do() -> None:
    """Where a click is usual once in fifty times, nobody is expected to click three times in five."""
    assert evidence_of(CLICK, 0.6, 0.02, is_positive=True) > 1.5


@given(st.lists(st.floats(-20.0, 20.0), max_size=40))
def test_nobody_is_beyond_change(amounts: list[float]) -> None:
    viewers = np.zeros((2, VIEWER_COLUMNS))
    for amount in amounts:
        add_evidence(viewers[1], amount)
    assert 0.0 < trust_in(viewers, 1, prior_of(0, 0)) < 1.0


def test_where_farms_make_many_clicks_little_is_needed_to_tell_the_next_one() -> None:
    viewers = np.zeros((2, VIEWER_COLUMNS))
    add_evidence(viewers[1], 2.0)
    assert trust_in(viewers, 1, prior_of(0, 500)) > 0.9
    assert trust_in(viewers, 1, prior_of(200, 500)) < 0.8


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
                LeadLine(ts=ts + 4 * MINUTE, viewer_id="v", advertiser_id="a", source=LineLeadSource.CHAT)
            )
    market = marketplace.market
    return float(trust_in(market.viewers.table, market.viewers.by_id["v"], prior_of(0, 0)))


def test_a_farm_is_told_within_a_day_and_a_good_customer_who_clicks_as_often_is_none() -> None:
    farm, customer = play(is_farm=True), play(is_farm=False)
    assert farm < 0.1
    assert customer > 0.9


def test_a_network_that_only_a_farm_uses_tells_of_its_next_viewer() -> None:
    """Forty viewers of one network chat once each and are spam; every other of those elsewhere is a lead."""
    marketplace = Marketplace(1)
    marketplace.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a"))
    marketplace.take(AdLine(ts=0, ad_id="x", adgroup_id="g"))
    for number in range(300):
        ts, name, is_farm = (number + 1) * 5 * MINUTE, f"v{number}", number % 6 == 0
        features = {"network": "hosting" if is_farm else f"net {number % 4}"}
        marketplace.take(RequestLine(ts=ts, request_id=name, viewer_id=name, country="SG", features=features))
        if marketplace.market.records.shown[name] is None:
            continue
        marketplace.take(ViewLine(ts=ts + 1, request_id=name))
        marketplace.take(ClickLine(ts=ts + 2, request_id=name))
        marketplace.take(ConversationLine(ts=ts + 3, viewer_id=name, advertiser_id="a"))
        if is_farm:
            marketplace.take(SpamLine(ts=ts + MINUTE, viewer_id=name, advertiser_id="a"))
        elif number % 2:
            marketplace.take(
                LeadLine(ts=ts + MINUTE, viewer_id=name, advertiser_id="a", source=LineLeadSource.CHAT)
            )
    end, chances = 26 * 60 * MINUTE, {}
    marketplace.take(RequestLine(ts=end, request_id="last", viewer_id="", country="SG"))
    for _ in range(4):
        relearn_market(marketplace.market)
    for name in ("hosting", "net 1"):
        request = RequestLine(
            ts=end, request_id=name, viewer_id=name, country="SG", features={"network": name}
        )
        answer = marketplace.take(request)
        assert isinstance(answer, Decision)
        chances[name] = answer.p_spam, answer.p_lead
    assert chances["hosting"][0] > 0.7 > 0.2 > chances["net 1"][0]
    assert chances["hosting"][1] < 0.3 < chances["net 1"][1]


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


def test_one_viewer_who_clicks_hundreds_of_times_does_not_change_what_is_thought_of_others() -> None:
    assert chance_of_a_newcomer(603) < 2.0 * chance_of_a_newcomer(0)


def spend_on_a_farm(goal: LineGoal) -> float:
    """The share of views that a farm gets on its second day, by what ads look for."""
    marketplace = Marketplace(1)
    marketplace.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a", goal=goal, budget_micros=4_000_000))
    marketplace.take(AdLine(ts=0, ad_id="x", adgroup_id="g"))
    viewers = [f"o{number}" for number in range(60)] + ["farm"]
    rng, views = np.random.default_rng(4), {"farm": 0, "others": 0}
    for number in range(6_000):
        ts, request = (number + 1) * MINUTE // 2, f"r{number}"
        viewer = viewers[int(rng.integers(0, len(viewers)))] if number % 12 else "farm"
        asked = RequestLine(ts=ts, request_id=request, viewer_id=viewer, country="SG", floor_micros=4_000_000)
        answer = marketplace.take(asked)
        if not isinstance(answer, Decision) or answer.ad_id is None:
            continue
        if number > 3_000:
            views["farm" if viewer == "farm" else "others"] += 1
        marketplace.take(ViewLine(ts=ts + 1, request_id=request))
        is_farm = viewer == "farm"
        if rng.random() < (0.5 if is_farm else 0.1):
            marketplace.take(ClickLine(ts=ts + 2, request_id=request))
            if is_farm or rng.random() < 0.5:
                marketplace.take(ConversationLine(ts=ts + 3, viewer_id=viewer, advertiser_id="a"))
                if is_farm:
                    marketplace.take(SpamLine(ts=ts + 4, viewer_id=viewer, advertiser_id="a"))
    assert views["others"] > 100
    return views["farm"] / sum(views.values())


@pytest.mark.parametrize("goal", [LineGoal.LEAD, LineGoal.CONVERSATION])
def test_a_farm_costs_next_to_nothing_from_its_second_day_on_whatever_ads_look_for(goal: LineGoal) -> None:
    assert spend_on_a_farm(goal) < 0.006
