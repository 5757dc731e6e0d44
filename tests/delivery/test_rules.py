"""Targeting, prices, budgets and how processes share them, without any database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.ads.model import (
    Ad,
    AdGroup,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    LiveAd,
    NodeStatus,
    Pacing,
    Spent,
    ViewWindow,
)
from contatto.delivery.rules import (
    AdRequest,
    BudgetRequest,
    Candidate,
    budget_left,
    compare_terms,
    features_of,
    find_hurdle,
    gather_bidders,
    share_budgets,
)
from contatto.learning.model import Hurdle
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
    countries=("MY", "SG"),
    budget_mode=BudgetMode.DAY,
    budget_micros=10_000_000,
    bid_type=BidType.NO_BID,
    bid_micros=None,
    pacing=Pacing.SMOOTH,
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


@pytest.mark.parametrize(
    ("shown", "asked", "now", "why"),
    [
        (candidate(), ASKED, NOW, None),
        (candidate(), replace(ASKED, country="sg"), NOW, None),
        (candidate(countries=("AE",)), replace(ASKED, country="UAE"), NOW, None),
        (candidate(), replace(ASKED, country="JP"), NOW, Hurdle.COUNTRY),
        (candidate(may_serve=False), ASKED, NOW, Hurdle.NOT_ELIGIBLE),
        (candidate(), replace(ASKED, channel_account_id="ch"), NOW, None),
        (candidate(), replace(ASKED, channel_account_id="other"), NOW, Hurdle.CHANNEL),
        (candidate(), replace(ASKED, ad_account_ids=frozenset({"z"})), NOW, Hurdle.OTHER_TOKEN),
        (candidate(), ASKED, NOW - timedelta(microseconds=1), Hurdle.SCHEDULE),
        (candidate(ends_at=NOW + timedelta(hours=1)), ASKED, NOW + timedelta(hours=1), Hurdle.SCHEDULE),
    ],
)
def test_an_ad_fits_by_country_account_schedule_and_condition(
    shown: Candidate, asked: AdRequest, now: datetime, why: Hurdle | None
) -> None:
    assert find_hurdle(shown, compare_terms(shown, asked), now, lambda _: frozenset(), {}) is why


def test_ads_that_a_request_can_only_take_or_leave_together_are_one_bidder() -> None:
    together, elsewhere = [candidate(1), candidate(2)], candidate(3, id="other group")
    barred = candidate(4, may_serve=False)
    gathered = gather_bidders([together[0], elsewhere, together[1], barred])
    assert [(each.candidate, each.ads) for each in gathered] == [
        (together[0], (1, 2)),
        (elsewhere, (3,)),
        (barred, (4,)),
    ]
    assert [each.terms for each in gathered] == [0, 0, 1]


@pytest.mark.parametrize(
    ("mode", "day", "ever", "left", "chargeable"),
    [
        (BudgetMode.DAY, 4_000_000, 90_000_000, 6_000_000, 8_500_000),
        (BudgetMode.DAY, 11_000_000, 90_000_000, 0, 1_500_000),
        (BudgetMode.DYNAMIC_DAY, 4_000_000, 90_000_000, 8_500_000, 8_500_000),
        (BudgetMode.TOTAL, 0, 4_000_000, 6_000_000, 6_000_000),
        (BudgetMode.TOTAL, 0, 12_000_000, 0, 0),
        (BudgetMode.INFINITE, 1 << 60, 1 << 60, None, None),
    ],
)
def test_a_budget_is_promised_once_and_charged_to_125_percent_of_a_day(
    mode: BudgetMode, day: int, ever: int, left: int | None, chargeable: int | None
) -> None:
    group = replace(GROUP, budget_mode=mode)
    assert budget_left(group, Spent(day, ever)) == left
    assert budget_left(group, Spent(day, ever), for_charge=True) == chargeable


def test_the_last_of_a_budget_goes_whole_to_the_one_who_asks() -> None:
    want = BudgetRequest("g", ("a",), budget_micros=10_000, requested_micros=50_000)
    assert share_budgets([want], {}, {}, 3) == {"g": 2_500}
    assert share_budgets([want], {"g": 7_000}, {}, 3) == {"g": 3_000}
    assert share_budgets([want], {"g": 9_500}, {}, 3) == {"g": 0}


def test_a_campaign_and_an_account_both_bound_what_their_ad_groups_are_granted() -> None:
    wants = [BudgetRequest(str(n), ("account", f"campaign {n % 2}"), None, 4_000) for n in range(4)]
    purses = {"account": 9_000, "campaign 0": 5_000}
    assert share_budgets(wants, {}, purses, 0) == {"0": 4_000, "1": 4_000, "2": 1_000, "3": 0}


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=6),
    st.lists(st.integers(0, 90_000), min_size=6, max_size=6),
    st.integers(0, 200_000),
    st.integers(0, 5),
)
def test_nobody_is_granted_what_is_taken_already(
    lefts: list[int], taken: list[int], account: int, others: int
) -> None:
    wants = [BudgetRequest(str(n), ("a",), left, 30_000) for n, left in enumerate(lefts)]
    held = {str(n): amount for n, amount in enumerate(taken)}
    granted = share_budgets(wants, held, {"a": account}, others)
    for want in wants:
        assert 0 <= granted[want.ad_group_id] <= max((want.budget_micros or 0) - held[want.ad_group_id], 0)
    assert sum(granted.values()) <= account


def test_without_consent_only_the_place_takes_part_in_the_estimates() -> None:
    asked = replace(
        ASKED, placement="feed", device="phone", language="en", age=30, features={"income": "high"},
        interest_category_ids=frozenset({"27"}),
    )  # fmt: skip
    assert list(features_of(asked).values()) == ["feed"]
    agreed = features_of(replace(asked, has_consent=True))
    assert list(agreed.values()) == ["feed", "phone", "en", "AGE_25_34", ["27"], "high"]


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
    fits = compare_terms(shown, replace(ASKED, **known))
    assert (find_hurdle(shown, fits, NOW, lambda _: PERSON, members) is None) is may
