"""What is typed into the form of an ad group, and how an ad group looks when typed."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest

from contatto.ads.actions.edits import form_of
from contatto.ads.model import (
    BidType,
    BudgetMode,
    ClickWindow,
    Draft,
    Money,
    NodeKind,
    Targeting,
    ViewWindow,
    targeting_of,
)
from contatto.ads.rules.tree import (
    LONGEST_TEXT,
    MOST_VALUES,
    AdGroupForm,
    new_ad_group_form,
    read_choice,
    read_form,
    read_money,
    read_times,
    typed_ad_group,
)
from contatto.kit.db.database import Database
from contatto.kit.errors import Refused
from tests.ads.world import add_chain, add_world

ZONE = "Asia/Singapore"


def test_a_form_takes_known_names_and_lists_and_leaves_the_rest_as_usual() -> None:
    pairs = [
        ("name", "Lunch"),
        ("country", "SG"),
        ("country", "MY"),
        ("languages", "en"),
        ("csrf_token", "x"),
    ]
    form = read_form(AdGroupForm, pairs)
    assert form == AdGroupForm(name="Lunch", countries=("SG", "MY"), languages=("en",))


def test_a_form_that_was_kept_as_an_object_is_read_again_as_it_was() -> None:
    form = AdGroupForm(name="Lunch", budget="12.50", countries=("SG",), audience_ids=("7", "8"))
    moment = datetime(2026, 12, 1, tzinfo=UTC)
    draft = Draft("b", "m", NodeKind.AD_GROUP, 1, json.dumps(asdict(form)), moment)
    assert form_of(draft) == form


def test_what_is_typed_has_its_limits() -> None:
    form = read_form(AdGroupForm, [("name", "x" * 9_999), *(("country", "SG") for _ in range(999))])
    assert (len(form.name), len(form.countries)) == (LONGEST_TEXT, MOST_VALUES)


def test_no_bid_is_the_lowest_cost_and_without_a_budget_of_its_own_the_amount_does_not_count() -> None:
    form = AdGroupForm(budget="1,250.50", bid="")
    assert read_money(form, "SGD", "en") == Money(BudgetMode.DYNAMIC_DAY, 1_250_500_000, BidType.NO_BID, None)
    form = AdGroupForm(budget="50", bid="3", budget_mode=BudgetMode.INFINITE.value)
    assert read_money(form, "SGD", "en") == Money(BudgetMode.INFINITE, None, BidType.CUSTOM, 3_000_000)


def test_days_and_times_are_of_the_ad_accounts_zone_and_a_last_day_is_whole() -> None:
    form = AdGroupForm(starts_on="2026-12-01", ends_on="2026-12-24")
    assert read_times(form, ZONE) == (
        datetime(2026, 11, 30, 16, tzinfo=UTC), datetime(2026, 12, 24, 16, tzinfo=UTC),
    )  # fmt: skip
    form = replace(form, starts_time="09:30", ends_time="18:00")
    assert read_times(form, ZONE) == (
        datetime(2026, 12, 1, 1, 30, tzinfo=UTC), datetime(2026, 12, 24, 10, tzinfo=UTC),
    )  # fmt: skip
    assert read_times(AdGroupForm(), ZONE) == (None, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"starts_on": "0001-01-01"}, "starts_on"),
        ({"ends_on": "9999-12-31"}, "ends_on"),
        ({"starts_time": "10:00"}, "starts_on"),
        ({"ends_on": "2026-12-24", "ends_time": "noon"}, "ends_on"),
    ],
)
def test_a_day_or_time_that_cannot_be_is_refused_beside_its_day(changes: dict[str, str], field: str) -> None:
    with pytest.raises(Refused, match=f"{field}: "):
        read_times(replace(AdGroupForm(), **changes), ZONE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("budget_mode", "ALL"), ("pacing", "WILD"), ("view_window_days", "14"), ("click_window_days", "0")],
)
def test_a_choice_that_is_not_of_the_list_is_refused_beside_its_field(field: str, value: str) -> None:
    form = replace(AdGroupForm(budget="5"), **{field: value})
    with pytest.raises(Refused, match=f"{field}: "):
        (
            read_money(form, "SGD", "en"),
            *(read_choice(form, name) for name in ("pacing", "click_window_days", "view_window_days")),
        )


def test_windows_are_read_by_their_days() -> None:
    form = AdGroupForm(click_window_days="28", view_window_days="0")
    assert read_choice(form, "click_window_days") is ClickWindow.TWENTY_EIGHT_DAYS
    assert read_choice(form, "view_window_days") is ViewWindow.OFF


def test_an_ad_group_is_typed_as_it_was_made(database: Database) -> None:
    form = AdGroupForm(
        name="Singapore", budget="12.50", bid="3", countries=("MY", "SG"), languages=("en",),
        age_groups=("AGE_25_34",), starts_on="2026-12-01", ends_on="2026-12-24", ends_time="18:00",
        click_window_days="14", view_window_days="0",
    )  # fmt: skip
    money, (starts_at, ends_at) = read_money(form, "SGD", "en"), read_times(form, ZONE)
    click, view = (read_choice(form, f"{kind}_window_days") for kind in ("click", "view"))
    chosen = {
        "countries": form.countries, "budget_micros": money.budget_micros, "bid_type": money.bid_type,
        "bid_micros": money.bid_micros, "starts_at": starts_at, "ends_at": ends_at, "click_window": click,
        "view_window": view, "targeting": targeting_of(form),
    }  # fmt: skip
    world = database.write_now(add_world)
    made = database.write_now(lambda tx: add_chain(tx, world, **chosen)).ad_group
    shown = typed_ad_group(made, world.ad_account, "en")
    assert replace(shown, channel_account_id="") == form
    assert targeting_of(shown) == Targeting(languages=("en",), age_groups=("AGE_25_34",))


def test_a_new_form_holds_a_budget_that_its_currency_allows() -> None:
    assert new_ad_group_form("SGD", "en").budget == "50"
    assert new_ad_group_form("IDR", "it").budget == "500000"
