"""Queries of the report page and the Ads Manager: addresses, days, and the rows of the tree."""

from dataclasses import replace
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl, urlencode

import pytest

from contatto.ads.model import BudgetMode, Campaign, NodeKind, NodeStatus
from contatto.ads.rules.tree import Delivering, Node
from contatto.kit.errors import Refused
from contatto.measurement.model import Goal
from contatto.reports.model import METRICS, Counts, DayRange, Figures, total_of
from contatto.reports.rules.queries import (
    DEFAULT_TREE_COLUMNS,
    OWN_DAY,
    AdsTreeQuery,
    Basis,
    Branch,
    Fold,
    OverviewQuery,
    Period,
    RowState,
    build_branches,
    days_of,
    filter_branches,
    list_tree_rows,
    period_days,
    previous_days,
    read_ads_tree_query,
    read_overview_query,
    sort_branches,
    span_of,
)

TODAY = date(2026, 3, 1)


def read(query: str) -> OverviewQuery:
    return read_overview_query(parse_qsl(query))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "advertiser_id=7&period=last_30&by=ad&basis=own&compare=yes&campaign_id=9&sort=-leads&heat=clicks",
        "since=2026-01-02&until=2026-01-05&by=country&column=spend&column=leads",
    ],
)
def test_an_address_written_anew_asks_the_same(address: str) -> None:
    query = read(address)
    assert read(urlencode(query.pairs())) == query


def test_words_that_mean_nothing_are_left_out() -> None:
    query = read("period=ever&by=colour&basis=none&column=fun&heat=moon")
    assert query == OverviewQuery()


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (Period.TODAY, "2026-03-01", "2026-03-01"),
        (Period.YESTERDAY, "2026-02-28", "2026-02-28"),
        (Period.LAST_7, "2026-02-23", "2026-03-01"),
        (Period.LAST_90, "2025-12-02", "2026-03-01"),
        (Period.THIS_MONTH, "2026-03-01", "2026-03-01"),
        (Period.LAST_MONTH, "2026-02-01", "2026-02-28"),
    ],
)
def test_periods_move_with_the_calendar_of_the_account(period: Period, first: str, last: str) -> None:
    assert [str(day) for day in days_of(OverviewQuery(period=period), TODAY)] == [first, last]


def test_days_of_ones_own_stand_still_and_a_period_goes_before_them() -> None:
    days = "since=2026-01-02&until=2026-01-05"
    assert days_of(read(days), TODAY) == (date(2026, 1, 2), date(2026, 1, 5))
    assert read(f"{days}&period=custom").period is Period.CUSTOM
    assert read(f"{days}&period=today") == OverviewQuery(period=Period.TODAY)
    assert days_of(read("since=2026-01-02"), TODAY) == (date(2026, 1, 2), date(2026, 1, 2))


def test_the_days_before_are_as_many_and_end_right_before() -> None:
    assert previous_days(date(2026, 2, 23), TODAY) == (date(2026, 2, 16), date(2026, 2, 22))


@pytest.mark.parametrize(
    "query", ["since=soon", "since=2026-01-02&until=2026-01-01", "since=2020-01-01&until=2026-01-01"]
)
def test_days_that_make_no_sense_are_refused(query: str) -> None:
    with pytest.raises(Refused):
        read(query)


def test_the_own_day_has_metrics_of_its_own() -> None:
    assert set(OWN_DAY) | set(OWN_DAY.values()) <= set(METRICS)
    own = read("basis=own&column=spend&column=conversion")
    assert own.basis is Basis.OWN
    assert own.metrics == ("spend", "real_time_conversion")


NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEAD, TALK = frozenset({Goal.LEAD}), frozenset({Goal.CONVERSATION})


def node(number: int, name: str, *under: Node, state: Delivering = Delivering.ON) -> Node:
    item = Campaign(
        str(number), "b", number, "a", name, BudgetMode.DAY, number * 1_000_000, NodeStatus.ACTIVE, NOW, NOW
    )
    return Node(NodeKind.CAMPAIGN, item, state, under)


def counted(
    number: int, spend: int, leads: int = 0, goals: frozenset[Goal] = LEAD, qualified: int = 0
) -> Branch:
    counts = Counts(spend_micros=spend, leads=leads, conversations=leads, qualified=qualified)
    figures = Figures(counts, goals)
    return Branch(node(number, f"c{number}"), figures)


def names(branches: tuple[Branch, ...] | list[Branch]) -> list[str]:
    return [branch.node.item.name for branch in branches]


def test_an_address_is_read_and_written_alike() -> None:
    query = AdsTreeQuery(
        advertiser=7, text="x & y", states=(RowState.SHOWING, RowState.PROBLEM), goals=(Goal.LEAD,),
        days=Period.LAST_28, sort="-spend", columns=("status", "spend"), tree=Fold.SHUT,
        folds={5: True, 6: False},
    )  # fmt: skip
    assert read_ads_tree_query(query.pairs()) == query
    assert read_ads_tree_query([]) == AdsTreeQuery()
    assert AdsTreeQuery().href() == "/ads"


@pytest.mark.parametrize(
    "pair",
    [
        ("days", "last_900"), ("sort", "password"), ("status", "active'--"), ("goal", "sales"),
        ("column", "id"), ("account", "-1"), ("account", "99999999999999999999"), ("open", "x"),
        ("tree", "half"), ("who", "me"), ("open", "٣"),
    ],
)  # fmt: skip
def test_words_and_values_that_are_not_known_are_left_out(pair: tuple[str, str]) -> None:
    assert read_ads_tree_query([pair]) == AdsTreeQuery()


def test_columns_keep_their_order_and_an_empty_choice_means_the_usual_ones() -> None:
    assert read_ads_tree_query([("column", "spend"), ("column", "status")]).columns == ("status", "spend")
    assert read_ads_tree_query([("column", "")]).columns == DEFAULT_TREE_COLUMNS


def test_the_last_word_on_a_row_is_right_and_all_rows_forget_single_ones() -> None:
    before = [("tree", "open"), ("shut", "5")]
    assert read_ads_tree_query([*before, ("open", "5")]).folds == {5: True}
    shut = read_ads_tree_query([*before, ("tree", "shut")])
    assert (shut.tree, shut.folds) == (Fold.SHUT, {})
    tree = build_branches([node(5, "A", node(6, "B"))], {})
    queries = [shut, AdsTreeQuery(), AdsTreeQuery(folds={5: False})]
    assert [next(list_tree_rows(tree, query))[1] for query in queries] == [False, True, False]


def test_a_row_is_asked_for_by_its_number_by_all_rows_and_by_looking_for_something() -> None:
    assert not AdsTreeQuery().is_chosen(5)
    assert [AdsTreeQuery(folds={5: True}).is_chosen(number) for number in (5, 6)] == [True, False]
    assert AdsTreeQuery(tree=Fold.OPEN).is_chosen(5)
    assert AdsTreeQuery(text="tea").is_chosen(5)


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        (Period.TODAY, "2026-03-01", "2026-03-01"),
        (Period.YESTERDAY, "2026-02-28", "2026-02-28"),
        (Period.LAST_7, "2026-02-23", "2026-03-01"),
        (Period.LAST_28, "2026-02-02", "2026-03-01"),
    ],
)
def test_days_are_whole_ones_that_end_today(days: Period, first: str, last: str) -> None:
    assert span_of(*period_days(days, date(2026, 3, 1))) == DayRange(first, last)


def test_each_level_is_ordered_and_what_has_no_value_comes_last_either_way() -> None:
    rows = [counted(1, 30, 3), counted(2, 10, qualified=1), counted(3, 20, 1, qualified=1)]
    assert names(sort_branches(rows, AdsTreeQuery(sort="spend"))) == ["c2", "c3", "c1"]
    assert names(sort_branches(rows, AdsTreeQuery(sort="-budget"))) == ["c3", "c2", "c1"]
    assert names(sort_branches(rows, AdsTreeQuery(sort="cost_per_conversion"))) == ["c1", "c3", "c2"]
    assert names(sort_branches(rows, AdsTreeQuery(sort="-cost_per_conversion"))) == ["c3", "c1", "c2"]
    assert names(sort_branches(rows, AdsTreeQuery(sort="-qualified_leads")))[-1] == "c1"
    assert names(sort_branches(rows, AdsTreeQuery(sort="cost_per_qualified_lead"))) == ["c2", "c3", "c1"]
    inside = [replace(rows[0], children=tuple(rows))]
    assert names(sort_branches(inside, AdsTreeQuery(sort="spend"))[0].children) == ["c2", "c3", "c1"]


def test_a_status_is_ordered_from_what_is_shown_to_what_is_spent() -> None:
    states = (Delivering.SPENT, Delivering.ON, Delivering.OFF)
    rows = build_branches([node(n, state.value, state=state) for n, state in enumerate(states)], {})
    assert names(sort_branches(rows, AdsTreeQuery(sort="status"))) == ["on", "off", "spent"]


def test_a_match_brings_what_is_above_it_and_a_name_what_is_under_it() -> None:
    tree = build_branches([node(1, "Lunch", node(2, "Offices", node(3, "First"))), node(4, "Dinner")], {})
    found = filter_branches(tree, AdsTreeQuery(text="offi"))
    assert names(found) == ["Lunch"]
    assert names(found[0].children) == ["Offices"]
    assert names(found[0].children[0].children) == ["First"]
    assert names(filter_branches(tree, AdsTreeQuery(text="4"))) == ["Dinner"]
    assert filter_branches(tree, AdsTreeQuery(text="supper")) == ()


def test_a_status_keeps_only_the_rows_that_have_it_and_the_way_to_them() -> None:
    group = node(2, "Group", node(3, "On"), node(4, "Bad", state=Delivering.REJECTED))
    found = filter_branches(
        build_branches([node(1, "Campaign", group)], {}), AdsTreeQuery(states=(RowState.PROBLEM,))
    )
    assert names(found[0].children[0].children) == ["Bad"]


def test_only_what_is_open_shows_what_is_under_it() -> None:
    tree = build_branches([node(1, "A", node(2, "B", node(3, "C")))], {})
    shown = list_tree_rows(tree, AdsTreeQuery(folds={2: False}))
    assert [(branch.node.item.number, is_open) for branch, is_open in shown] == [(1, True), (2, False)]


def test_a_total_over_both_goals_does_not_add_unlike_things() -> None:
    both = total_of([counted(1, 30, 3).figures, counted(2, 10, 2, TALK).figures])
    assert (both.counts.spend_micros, both.mixed_goals, both.conversions) == (40, True, None)
    assert total_of([counted(1, 30, 3).figures, counted(2, 10, 2).figures]).conversions == 5
