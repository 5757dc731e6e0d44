"""The grammar of the Ads Manager's address, and the tree: what matches, in which order, what is open."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from contatto.ads.model import BudgetMode, Campaign, NodeKind, NodeStatus
from contatto.ads.rules.goals import Delivering, Node
from contatto.measurement.model import Goal
from contatto.reports.model import Counts, Figures, Span
from contatto.reports.registry import METRICS
from contatto.reports.rules.ads_manager import (
    USUAL_COLUMNS,
    Days,
    Fold,
    RowState,
    TreeLook,
    read_tree,
    span_of_days,
)
from contatto.reports.rules.branches import Branch, grow, order, prune, together, unfold

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
    look = TreeLook(
        advertiser=7, text="x & y", states=(RowState.SHOWING, RowState.PROBLEM), goals=(Goal.LEAD,),
        days=Days.LAST_28, sort="-spend", columns=("status", "spend"), tree=Fold.SHUT,
        folds={5: True, 6: False},
    )  # fmt: skip
    assert read_tree(look.pairs()) == look
    assert read_tree([]) == TreeLook()
    assert TreeLook().href() == "/ads"


@pytest.mark.parametrize(
    "pair",
    [
        ("days", "last_900"), ("sort", "password"), ("status", "active'--"), ("goal", "sales"),
        ("column", "id"), ("account", "-1"), ("account", "99999999999999999999"), ("open", "x"),
        ("tree", "half"), ("who", "me"), ("open", "٣"),
    ],
)  # fmt: skip
def test_words_and_values_that_are_not_known_are_left_out(pair: tuple[str, str]) -> None:
    assert read_tree([pair]) == TreeLook()


def test_columns_keep_their_order_and_an_empty_choice_means_the_usual_ones() -> None:
    assert read_tree([("column", "spend"), ("column", "status")]).columns == ("status", "spend")
    assert read_tree([("column", "")]).columns == USUAL_COLUMNS


def test_the_last_word_on_a_row_is_right_and_all_rows_forget_single_ones() -> None:
    before = [("tree", "open"), ("shut", "5")]
    assert read_tree([*before, ("open", "5")]).folds == {5: True}
    shut = read_tree([*before, ("tree", "shut")])
    assert (shut.tree, shut.folds) == (Fold.SHUT, {})
    assert not shut.is_open(5, usual=True)
    assert TreeLook().is_open(5, usual=True)
    assert not TreeLook(folds={5: False}).is_open(5, usual=True)


def test_a_row_is_asked_for_by_its_number_by_all_rows_and_by_looking_for_something() -> None:
    assert not TreeLook().is_asked(5)
    assert [TreeLook(folds={5: True}).is_asked(number) for number in (5, 6)] == [True, False]
    assert TreeLook(tree=Fold.OPEN).is_asked(5)
    assert TreeLook(text="tea").is_asked(5)


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        (Days.TODAY, "2026-03-01", "2026-03-01"),
        (Days.YESTERDAY, "2026-02-28", "2026-02-28"),
        (Days.LAST_7, "2026-02-23", "2026-03-01"),
        (Days.LAST_28, "2026-02-02", "2026-03-01"),
    ],
)
def test_days_are_whole_ones_that_end_today(days: Days, first: str, last: str) -> None:
    assert span_of_days(days, date(2026, 3, 1)) == Span(first, last)


def test_each_level_is_ordered_and_what_has_no_value_comes_last_either_way() -> None:
    rows = [counted(1, 30, 3), counted(2, 10, qualified=1), counted(3, 20, 1, qualified=1)]
    assert names(order(rows, TreeLook(sort="spend"), METRICS)) == ["c2", "c3", "c1"]
    assert names(order(rows, TreeLook(sort="-budget"), METRICS)) == ["c3", "c2", "c1"]
    assert names(order(rows, TreeLook(sort="cost_per_conversion"), METRICS)) == ["c1", "c3", "c2"]
    assert names(order(rows, TreeLook(sort="-cost_per_conversion"), METRICS)) == ["c3", "c1", "c2"]
    assert names(order(rows, TreeLook(sort="-qualified_leads"), METRICS))[-1] == "c1"
    assert names(order(rows, TreeLook(sort="cost_per_qualified_lead"), METRICS)) == ["c2", "c3", "c1"]
    inside = [replace(rows[0], under=tuple(rows))]
    assert names(order(inside, TreeLook(sort="spend"), METRICS)[0].under) == ["c2", "c3", "c1"]


def test_a_status_is_ordered_from_what_is_shown_to_what_is_spent() -> None:
    states = (Delivering.SPENT, Delivering.ON, Delivering.OFF)
    rows = grow([node(n, state.value, state=state) for n, state in enumerate(states)], {})
    assert names(order(rows, TreeLook(sort="status"), METRICS)) == ["on", "off", "spent"]


def test_a_match_brings_what_is_above_it_and_a_name_what_is_under_it() -> None:
    tree = grow([node(1, "Lunch", node(2, "Offices", node(3, "First"))), node(4, "Dinner")], {})
    found = prune(tree, TreeLook(text="offi"))
    assert names(found) == ["Lunch"]
    assert names(found[0].under) == ["Offices"]
    assert names(found[0].under[0].under) == ["First"]
    assert names(prune(tree, TreeLook(text="4"))) == ["Dinner"]
    assert prune(tree, TreeLook(text="supper")) == ()


def test_a_status_keeps_only_the_rows_that_have_it_and_the_way_to_them() -> None:
    group = node(2, "Group", node(3, "On"), node(4, "Bad", state=Delivering.REJECTED))
    found = prune(grow([node(1, "Campaign", group)], {}), TreeLook(states=(RowState.PROBLEM,)))
    assert names(found[0].under[0].under) == ["Bad"]


def test_only_what_is_open_shows_what_is_under_it() -> None:
    tree = grow([node(1, "A", node(2, "B", node(3, "C")))], {})
    shown = unfold(tree, TreeLook(folds={2: False}), usual=True)
    assert [(branch.number, is_open) for branch, is_open in shown] == [(1, True), (2, False)]


def test_a_total_over_both_goals_does_not_add_unlike_things() -> None:
    both = together([counted(1, 30, 3), counted(2, 10, 2, TALK)])
    assert (both.counts.spend_micros, both.mixed_goals, both.conversions) == (40, True, None)
    assert together([counted(1, 30, 3), counted(2, 10, 2)]).conversions == 5
