"""Markets, goals, windows, money, schedules and statuses, without any database."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.ads.actions.campaigns import NewAdGroup
from contatto.ads.api.campaigns import CreateAdGroup, new_ad_group
from contatto.ads.model import (
    BidType,
    BudgetMode,
    Check,
    ClickWindow,
    Facts,
    Money,
    NextStep,
    ViewWindow,
)
from contatto.ads.rules.settings import (
    DM_ADS_MARKETS,
    LEAD_MARKETS,
    LEAD_MARKETS_BY_REGION,
    LOCATION_IDS,
    MOST_MONEY_MICROS,
    WINDOW_SECONDS,
    check_budget,
    check_goal,
    check_money,
    check_name,
    check_schedule,
    countries_by_region,
    countries_of,
    country_name,
    eligibility,
    goal_of,
    is_eligible,
    next_steps,
    normal_countries,
    normal_country,
    windows_of,
)
from contatto.ads.rules.tree import AdGroupForm, read_times
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.measurement.model import Goal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
A_COUNTRY = st.sampled_from(sorted(set(LOCATION_IDS) | DM_ADS_MARKETS | {"DE", "FR"}))


def facts(
    account: str = "SG", ad_account: str = "SG", targets: tuple[str, ...] = ("SG",), *, capture: bool = True
) -> Facts:
    return Facts("channel-1", account, ad_account, targets, capture)


def test_the_lead_list_has_47_markets_in_three_regions() -> None:
    sizes = {region: len(codes) for region, codes in LEAD_MARKETS_BY_REGION.items()}
    assert sizes == {"APAC": 10, "LATAM": 20, "METAP": 17}
    assert len(LEAD_MARKETS) == 47


def test_turkey_is_in_the_heading_of_the_list_but_not_in_the_list() -> None:
    assert "TR" not in LEAD_MARKETS


def test_neither_list_of_markets_holds_the_other() -> None:
    only_messages = DM_ADS_MARKETS - LEAD_MARKETS
    assert only_messages == {"BD", "KR", "TW", "PR"}
    assert {"SA", "AE", "BZ", "GY"} <= LEAD_MARKETS - DM_ADS_MARKETS


@pytest.mark.parametrize("spelling", ["EAU", "uae", " ae "])
def test_each_spelling_of_the_emirates_is_ae(spelling: str) -> None:
    assert normal_country(spelling) == "AE"


def test_every_lead_market_has_a_location_id_and_a_name() -> None:
    assert set(LOCATION_IDS) >= LEAD_MARKETS
    assert all(country_name(code) != code for code in LOCATION_IDS)
    assert len(set(LOCATION_IDS.values())) == len(LOCATION_IDS) == 55


def test_location_ids_lead_to_countries_and_back() -> None:
    assert countries_of(["1880251", "290557", "1880251"]) == ("AE", "SG")
    assert LOCATION_IDS["SG"] == "1880251"


def test_an_unknown_location_id_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="location_ids: unknown id 42"):
        countries_of(["1880251", "42"])


def test_the_form_shows_what_the_goal_lead_cannot_target_in_a_group_of_its_own() -> None:
    groups = dict(countries_by_region())
    assert groups["Other regions"] == ["BD", "IT", "PR", "KR", "TW", "TR", "GB", "US"]


@pytest.mark.parametrize(
    ("given_facts", "failing"),
    [
        (facts(), []),
        (facts(account="IT"), [(Check.CHANNEL_ACCOUNT, ("IT",))]),
        (facts(ad_account="US"), [(Check.AD_ACCOUNT, ("US",))]),
        (facts(targets=("SG", "TR", "MY")), [(Check.TARGETS, ("TR",))]),
        (
            facts("GB", "US", ("IT",)),
            [(Check.CHANNEL_ACCOUNT, ("GB",)), (Check.AD_ACCOUNT, ("US",)), (Check.TARGETS, ("IT",))],
        ),
        (facts(targets=("EAU",)), []),
    ],
)
def test_each_failing_check_is_named_with_its_countries(
    given_facts: Facts, failing: list[tuple[Check, tuple[str, ...]]]
) -> None:
    results = eligibility(Goal.LEAD, given_facts)
    assert [result.check for result in results] == list(Check)
    assert [(result.check, result.failing) for result in results if result.failing] == failing


@given(A_COUNTRY, A_COUNTRY, st.lists(A_COUNTRY, min_size=1, max_size=5))
def test_lead_is_available_exactly_when_all_three_checks_hold(
    account: str, ad_account: str, targets: list[str]
) -> None:
    asked = facts(account, ad_account, tuple(targets))
    assert is_eligible(Goal.LEAD, asked) == ({account, ad_account, *targets} <= LEAD_MARKETS)


def test_the_goal_conversation_may_target_every_country_from_a_registered_market() -> None:
    assert is_eligible(Goal.CONVERSATION, facts("KR", "SA", ("IT", "US")))
    assert not is_eligible(Goal.CONVERSATION, facts("IT"))


def test_the_refusal_names_every_failing_check() -> None:
    with pytest.raises(Refused) as refused:
        check_goal(Goal.LEAD, facts("GB", "US", ("IT", "SG")))
    assert refused.value.code is errors.NOT_ELIGIBLE
    for part in ("identity_id", "GB", "advertiser_id", "US", "location_ids", "IT"):
        assert part in refused.value.detail


def test_lead_needs_capture_and_conversation_does_not() -> None:
    assert next_steps(Goal.LEAD, facts(capture=False)) == (NextStep.TURN_ON_CAPTURE,)
    assert next_steps(Goal.LEAD, facts()) == ()
    assert next_steps(Goal.CONVERSATION, facts(capture=False)) == ()


def test_with_capture_off_the_refusal_names_remedy_and_account() -> None:
    with pytest.raises(Refused) as refused:
        check_goal(Goal.LEAD, facts(capture=False))
    assert refused.value.code is errors.CAPTURE_OFF
    assert "channel-1" in refused.value.detail
    assert "/contatto/capture/turn_on/" in refused.value.code.remedy


@pytest.mark.parametrize(
    ("name", "goal"),
    [("LEAD_GENERATION", Goal.LEAD), ("LEAD", Goal.LEAD), ("CONVERSATION", Goal.CONVERSATION)],
)
def test_a_goal_is_an_optimization_goal_with_the_direct_message_promotion(name: str, goal: Goal) -> None:
    assert goal_of(name, "LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE") is goal


@pytest.mark.parametrize(
    ("name", "promotion", "says"),
    [
        (
            "INSTALL",
            "LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE",
            "optimization_goal: allowed: CONVERSATION, LEAD_GEN",
        ),
        (
            "LEAD_GENERATION",
            "LEAD_GENERATION",
            "promotion_type: allowed: LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE",
        ),
    ],
)
def test_other_goals_are_refused_with_the_allowed_ones(name: str, promotion: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        goal_of(name, promotion)


def create_by_api(**values: str | None) -> NewAdGroup:
    """The ad group of a request for Conversation in Singapore."""
    sent = {"advertiser_id": "1", "campaign_id": "2", "adgroup_name": "Tea", "location_ids": ["1880251"]}
    body = {**sent, "optimization_goal": "CONVERSATION", **values}
    return new_ad_group(CreateAdGroup.model_validate(body), "2")


def test_both_goals_are_billed_by_views() -> None:
    create_by_api(billing_event=None)
    create_by_api(billing_event="OCPM")
    with pytest.raises(Refused, match="billing_event"):
        create_by_api(billing_event="CPC")


def test_conversation_takes_no_other_event_than_message() -> None:
    create_by_api(optimization_event="MESSAGE")
    create_by_api(optimization_event=None)
    with pytest.raises(Refused, match="optimization_event"):
        create_by_api(optimization_event="FORM")


def test_windows_are_given_both_or_neither() -> None:
    usual = windows_of(None, None)
    assert usual == (ClickWindow.SEVEN_DAYS, ViewWindow.ONE_DAY)
    click, view = windows_of(ClickWindow.TWENTY_EIGHT_DAYS, ViewWindow.OFF)
    assert WINDOW_SECONDS[click] == 28 * 86_400
    assert WINDOW_SECONDS[view] is None
    with pytest.raises(Refused, match=r"view_attribution_window: .* sent together"):
        windows_of(ClickWindow.ONE_DAY, None)
    with pytest.raises(Refused, match=r"click_attribution_window: .* sent together"):
        windows_of(None, ViewWindow.ONE_DAY)


@pytest.mark.parametrize("budget", [None, 0, -1, MOST_MONEY_MICROS + 1])
def test_a_budget_lies_between_nothing_and_ten_million(budget: int | None) -> None:
    with pytest.raises(Refused, match="budget"):
        check_budget(BudgetMode.DAY, budget)


def test_an_infinite_budget_has_no_amount() -> None:
    assert check_budget(BudgetMode.INFINITE, 50_000_000) is None


def test_a_bid_needs_its_type_and_stays_within_the_budget() -> None:
    free = check_money(Money(BudgetMode.DAY, 50_000_000, BidType.NO_BID, 3_000_000))
    assert free.bid_micros is None
    with pytest.raises(Refused, match="conversion_bid_price"):
        check_money(Money(BudgetMode.DAY, 50_000_000, BidType.CUSTOM, None))
    with pytest.raises(Refused, match="enter at most the budget"):
        check_money(Money(BudgetMode.DAY, 50_000_000, BidType.CUSTOM, 50_000_001))


def test_a_schedule_ends_after_its_start_and_after_now() -> None:
    fine = (NOW, NOW + timedelta(days=1))
    assert check_schedule(fine, NOW) == fine
    for start, end in [(NOW, NOW), (NOW - timedelta(days=2), NOW - timedelta(days=1))]:
        with pytest.raises(Refused, match="schedule_end_time"):
            check_schedule((start, end), NOW)


def test_a_day_begins_at_midnight_of_the_zone() -> None:
    starts_at, _ = read_times(AdGroupForm(starts_on="2026-01-02"), "Asia/Singapore")
    assert starts_at == datetime(2026, 1, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 513])
def test_a_name_is_one_line_of_some_length(name: str) -> None:
    with pytest.raises(Refused, match="campaign_name"):
        check_name("campaign_name", name)


@given(st.lists(st.sampled_from(["SG", "sg ", "UAE", "EAU", "AE", "TR"])))
def test_normal_countries_are_unique_and_sorted(texts: list[str]) -> None:
    found = normal_countries(texts)
    assert list(found) == sorted(set(found))
    assert normal_countries(found) == found
