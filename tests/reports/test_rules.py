"""Metrics, rows, texts and filters, without any database."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.errors import Refused
from contatto.measurement.model import Goal
from contatto.reports.model import (
    COUNTED,
    METRICS,
    Counts,
    DayRange,
    Fact,
    Figures,
    Level,
    Subject,
    TimeStep,
    Unit,
    total_of,
)
from contatto.reports.rules.figures import (
    Filter,
    build_report,
    filter_rows,
    metric_number,
    metric_text,
    value_text,
)

COUNTS = Counts(12_345_678, 4_000, 100, 7, 3, 6, 2, 2, 1, 1, 1, 2, 1, 2)
LEAD, TALK = frozenset({Goal.LEAD}), frozenset({Goal.CONVERSATION})
BOTH = LEAD | TALK
SOME = st.builds(Counts, *[st.integers(0, 10**9)] * len(COUNTED))


def group(key: str, goals: frozenset[Goal] = LEAD, *, deleted: bool = False) -> Subject:
    return Subject(
        key, Level.AD_GROUP, f"Group {key}", goals, deleted, 1, "Campaign", int(key), f"Group {key}"
    )


def value(name: str, figures: Figures) -> object:
    return METRICS[name].value(figures)


def test_conversions_follow_the_goal() -> None:
    assert value("conversion", Figures(COUNTS, LEAD)) == 3
    assert value("conversion", Figures(COUNTS, TALK)) == 7
    assert value("real_time_conversion", Figures(COUNTS, LEAD)) == 2
    assert value("real_time_conversion", Figures(COUNTS, TALK)) == 6


def test_cost_per_conversion_is_spend_by_conversions_rounded_down() -> None:
    assert value("cost_per_conversion", Figures(COUNTS, LEAD)) == 12_345_678 // 3
    assert value("cost_per_conversion", Figures(COUNTS, TALK)) == 12_345_678 // 7
    assert value("cost_per_conversion", Figures(Counts(spend_micros=5), LEAD)) is None


def test_conversations_and_leads_are_columns_whatever_the_goal() -> None:
    for goals in (LEAD, TALK, BOTH):
        assert value("leads", Figures(COUNTS, goals)) == 3
        assert value("conversations", Figures(COUNTS, goals)) == 7


def test_over_mixed_goals_there_is_no_conversion() -> None:
    mixed = Figures(COUNTS, BOTH)
    assert mixed.mixed_goals
    for name in ("conversion", "cost_per_conversion", "conversion_rate_v2", "result", "real_time_conversion"):
        assert value(name, mixed) is None
        assert metric_text(METRICS[name], mixed) == "-"
    assert value("spend", mixed) == 12_345_678


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spend", "12.345678"),
        ("impressions", "4000"),
        ("clicks", "100"),
        ("ctr", "2.50"),
        ("cpc", "0.123456"),
        ("cpm", "3.086419"),
        ("reach", "1600"),
        ("frequency", "2.50"),
        ("leads", "3"),
        ("cost_per_lead", "4.115226"),
        ("conversion", "3"),
        ("cost_per_conversion", "4.115226"),
        ("conversion_rate_v2", "0.08"),
        ("conversion_rate", "3.00"),
        ("messaging_total_conversation_tiktok_direct_message", "5"),
        ("messaging_cost_per_conversation_tiktok_direct_message", "2.469135"),
        ("messaging_conversation_rate_tiktok_direct_message", "5.00"),
        ("messaging_total_conversation_instant_messaging_app", "2"),
        ("messaging_cost_per_conversation_instant_messaging_app", "6.172839"),
        ("messaging_conversation_rate_instant_messaging_app", "2.00"),
        ("conversations", "7"),
        ("cost_per_conversation", "1.763668"),
        ("conversation_rate", "7.00"),
        ("real_time_conversations", "6"),
        ("real_time_leads", "2"),
        ("lead_rate", "42.86"),
        ("onsite_form", "1"),
        ("onsite_form_rate", "1.00"),
        ("cost_per_onsite_form", "12.345678"),
        ("onsite_total_filtered_out_form_submission", "0"),
        ("chat_leads", "1"),
        ("manual_leads", "1"),
        ("qualified_leads", "2"),
        ("cost_per_qualified_lead", "6.172839"),
        ("qualified_rate", "66.67"),
        ("converted_leads", "1"),
        ("cost_per_converted_lead", "12.345678"),
        ("converted_rate", "33.33"),
        ("cost_per_1000_reached", "7.716048"),
        ("real_time_conversion_rate", "2.00"),
        ("real_time_result", "2"),
        ("real_time_cost_per_result", "6.172839"),
        ("real_time_result_rate", "0.05"),
        ("cta_conversion", "2"),
        ("cost_per_cta_conversion", "6.172839"),
        ("vta_conversion", "1"),
        ("cost_per_vta_conversion", "12.345678"),
        ("result", "3"),
        ("cost_per_result", "4.115226"),
        ("result_rate", "0.08"),
        ("real_time_conversion", "2"),
        ("real_time_cost_per_conversion", "6.172839"),
        ("real_time_conversion_rate_v2", "0.05"),
    ],
)
def test_each_metric_is_a_text_in_the_units_of_the_api(name: str, text: str) -> None:
    assert metric_text(METRICS[name], Figures(COUNTS, LEAD, 1_600)) == text


def test_every_metric_has_an_example_above() -> None:
    marks = test_each_metric_is_a_text_in_the_units_of_the_api.pytestmark  # type: ignore[attr-defined]
    assert {name for name, _ in marks[0].args[1]} == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_at_all_divides_by_nothing(name: str) -> None:
    assert metric_text(METRICS[name], Figures(Counts(), LEAD, 0)) in ("0", "0.00")


@pytest.mark.parametrize("name", ["reach", "cost_per_1000_reached", "frequency"])
def test_persons_are_not_added_up(name: str) -> None:
    assert metric_text(METRICS[name], Figures(COUNTS, LEAD)) == "-"


@pytest.mark.parametrize(
    ("micros", "text"), [(0, "0.00"), (500_000, "0.50"), (1, "0.000001"), (10**13, "10000000.00")]
)
def test_amounts_have_two_decimals_or_more(micros: int, text: str) -> None:
    assert value_text(Unit.MICROS, micros) == text


def test_facts_become_rows_of_their_subjects() -> None:
    facts = [
        Fact("a1", "", Counts(spend_micros=5)),
        Fact("a2", "", Counts(leads=1)),
        Fact("x", "", Counts(9)),
    ]
    report = build_report([group("1"), group("2")], facts, {"a1": "1", "a2": "1"}, TimeStep.WHOLE)
    assert [(row.subject.key, row.figures.counts) for row in report.rows] == [
        ("1", Counts(spend_micros=5, leads=1)),
        ("2", Counts()),
    ]
    assert report.total.counts == Counts(spend_micros=5, leads=1)


def test_a_deleted_ad_group_has_a_row_only_where_it_has_figures() -> None:
    subjects = [group("1", deleted=True), group("2", deleted=True)]
    report = build_report(subjects, [Fact("a1", "", Counts(leads=1))], {"a1": "1"}, TimeStep.WHOLE)
    assert [row.subject.key for row in report.rows] == ["1"]


def test_by_day_only_days_with_figures_have_rows() -> None:
    facts = [Fact("a1", "2026-01-02", Counts(leads=1)), Fact("a1", "2026-01-01", Counts(leads=2))]
    report = build_report([group("1"), group("2")], facts, {"a1": "1"}, TimeStep.DAY)
    assert [(row.day, row.figures.conversions) for row in report.rows] == [
        ("2026-01-01", 2),
        ("2026-01-02", 1),
    ]


@given(st.lists(st.tuples(st.sampled_from(["a1", "a2", "a3"]), SOME), max_size=20))
def test_rows_add_up_to_the_total_and_to_the_facts(found: list[tuple[str, Counts]]) -> None:
    owners = {"a1": "1", "a2": "1", "a3": "2"}
    facts = [Fact(ad, "", counts) for ad, counts in found]
    report = build_report([group("1"), group("2", TALK)], facts, owners, TimeStep.WHOLE)
    assert report.total == total_of(row.figures for row in report.rows)
    assert report.total.counts == sum((counts for _, counts in found), Counts())
    assert report.total.conversions is None


def test_a_span_holds_both_its_ends() -> None:
    span = DayRange("2026-01-01", "2026-01-02")
    days = ["2025-12-31", "2026-01-01", "2026-01-02", "2026-01-03"]
    assert [span.holds(day) for day in days] == [False, True, True, False]


def condition(name: str, kind: Any, values: tuple[str, ...]) -> Filter:
    return Filter(field_name=name, filter_type=kind, filter_value=list(values))


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (condition("leads", "GREATER_THAN", ("1",)), ["2", "3"]),
        (condition("leads", "GREATER_EQUAL", ("1",)), ["1", "2", "3"]),
        (condition("leads", "LOWER_THAN", ("2",)), ["1"]),
        (condition("leads", "LOWER_EQUAL", ("2",)), ["1", "2"]),
        (condition("leads", "BETWEEN", ("2", "3")), ["2", "3"]),
        (condition("leads", "IN", ("1", "3")), ["1", "3"]),
        (condition("spend", "GREATER_EQUAL", ("0.000002",)), ["2", "3"]),
        (condition("adgroup_name", "MATCH", ("OUP 2",)), ["2"]),
        (condition("adgroup_name", "IN", ("group 3", "nothing")), ["3"]),
        (condition("campaign_name", "MATCH", ("else",)), []),
    ],
)
def test_a_filter_keeps_the_rows_that_meet_it(sent: Filter, keys: list[str]) -> None:
    facts = [Fact(f"a{n}", "", Counts(spend_micros=n, leads=n)) for n in (1, 2, 3)]
    owners = {f"a{n}": str(n) for n in (1, 2, 3)}
    report = build_report([group(str(n)) for n in (1, 2, 3)], facts, owners, TimeStep.WHOLE)
    assert [row.subject.key for row in filter_rows(report.rows, [sent])] == keys


@pytest.mark.parametrize(
    "sent",
    [
        condition("colour", "IN", ("1",)),
        condition("leads", "MATCH", ("1",)),
        condition("leads", "IN", ("many",)),
        condition("leads", "IN", ()),
        condition("ad_name", "BETWEEN", ("a", "b")),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(sent: Filter) -> None:
    with pytest.raises(Refused, match="filtering"):
        filter_rows([], [sent])


def test_numbers_compare_in_the_units_of_the_api() -> None:
    figures = Figures(COUNTS, LEAD)
    assert metric_number(METRICS["spend"], figures) == Decimal("12.345678")
    assert metric_number(METRICS["ctr"], figures) == Decimal("2.5")
    assert metric_number(METRICS["conversion"], Figures(COUNTS, BOTH)) is None
