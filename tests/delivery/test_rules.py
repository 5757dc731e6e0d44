"""Targeting, pacing and the auction, without any database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.ads.model import (
    DIRECT_MESSAGE,
    Ad,
    AdGroup,
    BidType,
    BillingEvent,
    BudgetMode,
    Campaign,
    ClickWindow,
    LiveAd,
    NodeStatus,
    Pacing,
    ScheduleType,
    ViewWindow,
)
from contatto.delivery.model.decisions import AdRequest, Candidate
from contatto.delivery.rules.auction import (
    OFFER_WITHOUT_BID_MICROS,
    P_CLICK,
    P_CONVERSION,
    RESERVE_MICROS,
    hold_auction,
    offer_micros,
)
from contatto.delivery.rules.pacing import HEAD_START, day_share, has_budget
from contatto.delivery.rules.targeting import fits
from contatto.measurement.model import Goal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = AdRequest("viewer-1", "SG")
CAMPAIGN = Campaign("c", "b", 1, "a", "C", BudgetMode.INFINITE, None, NodeStatus.ACTIVE, NOW, NOW)
GROUP = AdGroup(
    id="g",
    business_id="b",
    number=2,
    campaign_id="c",
    ad_account_id="a",
    channel_account_id="ch",
    name="G",
    goal=Goal.LEAD,
    promotion_type=DIRECT_MESSAGE,
    countries=("MY", "SG"),
    billing_event=BillingEvent.OCPM,
    budget_mode=BudgetMode.DAY,
    budget_micros=10_000_000,
    bid_type=BidType.NO_BID,
    bid_micros=None,
    pacing=Pacing.SMOOTH,
    schedule_type=ScheduleType.FROM_NOW,
    starts_at=NOW,
    ends_at=None,
    click_window=ClickWindow.SEVEN_DAYS,
    view_window=ViewWindow.ONE_DAY,
    status=NodeStatus.ACTIVE,
    created_at=NOW,
    updated_at=NOW,
)


def candidate(number: int = 1, *, may_serve: bool = True, **changes: object) -> Candidate:
    group = replace(GROUP, **changes)  # type: ignore[arg-type]  # a test names real fields
    ad = Ad(
        f"ad-{number}", "b", number, "g", "c", "a", "ch", "Ad", "Head", "Text", "SINGLE_VIDEO",
        "SEND_MESSAGE", "", "", "", NodeStatus.ACTIVE, NOW, NOW,
    )  # fmt: skip
    return Candidate(LiveAd(ad, group, CAMPAIGN), may_serve, "Asia/Singapore")


def bidding(micros: int, number: int = 1, goal: Goal = Goal.LEAD) -> Candidate:
    return candidate(number, bid_type=BidType.CUSTOM, bid_micros=micros, goal=goal)


@pytest.mark.parametrize(
    ("shown", "asked", "now", "why"),
    [
        (candidate(), ASKED, NOW, True),
        (candidate(), replace(ASKED, country="sg"), NOW, True),
        (candidate(countries=("AE",)), replace(ASKED, country="UAE"), NOW, True),
        (candidate(), replace(ASKED, country="JP"), NOW, False),
        (candidate(may_serve=False), ASKED, NOW, False),
        (candidate(), replace(ASKED, channel_account_id="ch"), NOW, True),
        (candidate(), replace(ASKED, channel_account_id="other"), NOW, False),
        (candidate(), ASKED, NOW - timedelta(microseconds=1), False),
        (candidate(ends_at=NOW + timedelta(hours=1)), ASKED, NOW + timedelta(hours=1), False),
    ],
)
def test_an_ad_fits_by_country_account_schedule_and_condition(
    shown: Candidate, asked: AdRequest, now: datetime, *, why: bool
) -> None:
    assert fits(shown, asked, now, frozenset(), {}) is why


def test_the_winner_pays_the_second_offer_and_a_micro() -> None:
    low, high = bidding(1_000_000, 1), bidding(2_000_000, 2)
    outcome = hold_auction([low, high])
    assert outcome is not None
    assert outcome.candidate is high
    assert outcome.view_cost_micros == (offer_micros(low.ad_group) + 1) // 1000
    assert outcome.click_cost_micros == 0


def test_a_single_bidder_pays_the_reserve() -> None:
    outcome = hold_auction([candidate()])
    assert outcome is not None
    assert outcome.view_cost_micros == RESERVE_MICROS // 1000


def test_an_offer_below_the_reserve_wins_nothing() -> None:
    assert hold_auction([bidding(1_000)]) is None
    assert hold_auction([]) is None


def test_equal_offers_take_turns() -> None:
    both = [candidate(1), candidate(2)]
    winners = [hold_auction(both, turn) for turn in range(2)]
    assert [winner.candidate.live.ad.number for winner in winners if winner] == [1, 2]


def test_a_click_is_charged_with_the_price_of_the_views_that_it_takes() -> None:
    outcome = hold_auction([candidate(billing_event=BillingEvent.CPC)])
    assert outcome is not None
    assert outcome.view_cost_micros == 0
    assert outcome.click_cost_micros == round(RESERVE_MICROS / 1000 / P_CLICK)


def test_a_bid_is_worth_its_conversions() -> None:
    assert offer_micros(GROUP) == OFFER_WITHOUT_BID_MICROS
    worth = bidding(10_000_000, goal=Goal.CONVERSATION).ad_group
    assert offer_micros(worth) == round(10_000_000 * P_CONVERSION[Goal.CONVERSATION] * 1000)


@given(st.lists(st.integers(1, 50_000_000), min_size=1, max_size=8), st.integers(0, 1 << 62))
def test_the_price_lies_between_the_reserve_and_the_winners_own_offer(bids: list[int], turn: int) -> None:
    field = [bidding(bid, number) for number, bid in enumerate(bids)]
    outcome = hold_auction(field, turn)
    offers = [offer_micros(each.ad_group) for each in field]
    if outcome is None:
        assert max(offers) < RESERVE_MICROS
        return
    won = offer_micros(outcome.candidate.ad_group)
    assert won == max(offers)
    assert RESERVE_MICROS // 1000 <= outcome.view_cost_micros <= won // 1000


@pytest.mark.parametrize(
    ("mode", "pacing", "spent", "share", "may"),
    [
        (BudgetMode.DAY, Pacing.SMOOTH, 0, 0.0, True),
        (BudgetMode.DAY, Pacing.SMOOTH, int(10_000_000 * HEAD_START), 0.0, False),
        (BudgetMode.DAY, Pacing.SMOOTH, 5_000_000, 0.5, True),
        (BudgetMode.DAY, Pacing.SMOOTH, 5_400_000, 0.5, False),
        (BudgetMode.DAY, Pacing.FAST, 9_999_999, 0.0, True),
        (BudgetMode.DAY, Pacing.FAST, 10_000_000, 0.0, False),
        (BudgetMode.DYNAMIC_DAY, Pacing.FAST, 12_499_999, 0.0, True),
        (BudgetMode.DYNAMIC_DAY, Pacing.FAST, 12_500_000, 0.0, False),
    ],
)
def test_a_day_spends_in_step_with_its_hours(
    mode: BudgetMode, pacing: Pacing, spent: int, share: float, *, may: bool
) -> None:
    group = replace(GROUP, budget_mode=mode, pacing=pacing)
    assert has_budget(group, spent, 0, share) is may


def test_a_total_budget_looks_at_all_that_was_spent() -> None:
    group = replace(GROUP, budget_mode=BudgetMode.TOTAL)
    assert has_budget(group, 0, 9_999_999, 0.0)
    assert not has_budget(group, 0, 10_000_000, 0.9)


def test_no_budget_has_no_end() -> None:
    assert has_budget(
        replace(GROUP, budget_mode=BudgetMode.INFINITE, budget_micros=None), 1 << 60, 1 << 60, 0.0
    )


def test_the_day_of_pacing_is_that_of_the_ad_account() -> None:
    assert day_share(NOW, "Asia/Singapore") == pytest.approx(20 / 24)
    assert day_share(NOW, "UTC") == pytest.approx(0.5)


PERSON = frozenset({"person-1", "d1"})


@pytest.mark.parametrize(
    ("chosen", "known", "may"),
    [
        ({"languages": ("en",)}, {"language": "th"}, False),
        ({"languages": ("en",)}, {"language": None}, True),
        ({"age_groups": ("AGE_25_34",)}, {"age": 34}, True),
        ({"age_groups": ("AGE_25_34",)}, {"age": 35}, False),
        ({"age_groups": ("AGE_55_100",)}, {"age": 99}, True),
        ({"age_groups": ("AGE_13_17",)}, {"age": 12}, False),
        ({"interest_category_ids": ("27", "17")}, {"interest_category_ids": frozenset({"17"})}, True),
        ({"interest_category_ids": ("27",)}, {"interest_category_ids": frozenset()}, False),
        ({"audience_ids": ("1",)}, {}, True),
        ({"audience_ids": ("2",)}, {}, False),
        ({"audience_ids": ("3",)}, {}, False),
        ({"audience_ids": ("1",), "excluded_audience_ids": ("2",)}, {}, True),
        ({"excluded_audience_ids": ("1",)}, {}, False),
        ({"excluded_audience_ids": ("3",)}, {}, True),
    ],
)
def test_whom_an_ad_group_looks_for_is_kept_where_the_viewer_is_known(
    chosen: dict[str, Any], known: dict[str, Any], *, may: bool
) -> None:
    shown = candidate(**chosen)
    members = {"1": frozenset({"d1"}), "2": frozenset({"d2"})}
    assert fits(shown, replace(ASKED, **known), NOW, PERSON, members) is may
