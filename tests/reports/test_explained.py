"""Why a conversion is credited as it is, and what other windows would have done."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.measurement.model import Attribution, Conversion, ConversionKind, Policy, Touch, TouchKind
from contatto.measurement.rules import last_touch
from contatto.reports.rules.explained import Verdict, judge_touches
from contatto.reports.rules.what_if import DAY_S, Side, Supposed, sides, suppose

DAY = DAY_S * 1_000_000
LEAD = Conversion(1, "b", "p", ConversionKind.LEAD, "lead", 100 * DAY)


def touch(number: int, kind: TouchKind, at_days: float, window_days: float | None = 7) -> Touch:
    ts = int(at_days * DAY)
    expires = ts - 1 if window_days is None else ts + int(window_days * DAY)
    return Touch(number, "b", "p", f"ad {number}", f"group {number}", "account", kind, ts, expires, "", 0)


TOUCHES = st.lists(
    st.builds(
        touch,
        st.integers(1, 10**6),
        st.sampled_from(TouchKind),
        st.floats(80, 101),
        st.sampled_from([None, 1, 7, 28]),
    ),
    unique_by=lambda one: one.touch_id,
    max_size=12,
)


def test_each_touch_is_told_why_it_did_not_win() -> None:
    touches = [
        touch(1, TouchKind.CLICK, 90),
        touch(2, TouchKind.CLICK, 95),
        touch(3, TouchKind.CLICK, 98),
        touch(4, TouchKind.VIEW, 99.5, 1),
        touch(5, TouchKind.VIEW, 99.6, None),
        touch(6, TouchKind.CLICK, 100.1),
        touch(7, TouchKind.VIEW, 97.5, 28),
    ]
    verdicts = {judged.touch.touch_id: judged.verdict for judged in judge_touches(touches, LEAD)}
    assert verdicts == {
        1: Verdict.EXPIRED,
        2: Verdict.EARLIER,
        3: Verdict.WON,
        4: Verdict.BEHIND_CLICK,
        5: Verdict.NEVER_COUNTS,
        6: Verdict.AFTERWARDS,
        7: Verdict.EARLIER,
    }
    latest = {one.touch.touch_id: one.verdict for one in judge_touches(touches, LEAD, Policy.LAST_TOUCH)}
    assert latest[4] is Verdict.WON


@given(TOUCHES, st.sampled_from(Policy))
def test_the_winner_is_that_of_the_rule_and_there_is_one_at_most(
    touches: list[Touch], policy: Policy
) -> None:
    judged = judge_touches(touches, LEAD, policy)
    won = [one.touch for one in judged if one.verdict is Verdict.WON]
    winner = last_touch(touches, LEAD, policy)
    assert won == ([winner] if winner else [])
    assert {one.touch.touch_id for one in judged} == {one.touch_id for one in touches}


def stored(group: str | None) -> Attribution:
    credit = ("ad", group, "account", TouchKind.CLICK, 0, "", "") if group else (None,) * 7
    return Attribution(1, "b", "p", ConversionKind.LEAD, "lead", LEAD.ts, 1 if group else None, *credit)


@pytest.mark.parametrize(
    ("supposed", "winner"),
    [
        (Supposed(), "group 1"),
        (Supposed(click_days=1), "group 2"),
        (Supposed(click_days=1, view_days=0), None),
        (Supposed(policy=Policy.LAST_TOUCH), "group 2"),
    ],
)
def test_other_windows_may_move_a_conversion(supposed: Supposed, winner: str | None) -> None:
    touches = {"p": [touch(1, TouchKind.CLICK, 96), touch(2, TouchKind.VIEW, 99.5, 1)]}
    moved = suppose([stored("group 1")], touches, supposed)
    assert [(one.stored, one.supposed) for one in moved] == [("group 1", winner)]


@given(TOUCHES)
def test_the_usual_windows_move_nothing_that_was_credited_by_them(touches: list[Touch]) -> None:
    usual = {TouchKind.CLICK: 7, TouchKind.VIEW: 1}
    stamped = [replace(one, expires_ts=one.ts + usual[one.kind] * DAY) for one in touches]
    winner = last_touch(stamped, LEAD)
    moved = suppose([stored(winner.ad_group_id if winner else None)], {"p": stamped}, Supposed())
    assert [one.stored for one in moved] == [one.supposed for one in moved]


def test_both_sides_add_up_to_the_same_conversions() -> None:
    moved = suppose([stored("group 9"), stored(None)], {"p": [touch(1, TouchKind.CLICK, 99)]}, Supposed())
    assert sides(moved) == {
        "group 9": (Side(leads=1), Side()),
        None: (Side(leads=1), Side()),
        "group 1": (Side(), Side(leads=2)),
    }
