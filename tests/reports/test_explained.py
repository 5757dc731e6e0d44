"""Why a conversion is credited as it is."""

from hypothesis import given
from hypothesis import strategies as st

from contatto.measurement.model import AttributionPolicy, Conversion, ConversionKind, Touch, TouchKind
from contatto.measurement.rules import last_touch
from contatto.reports.rules.figures import TouchVerdict, judge_touches

DAY = 86_400 * 1_000_000
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
    verdicts = {one.touch_id: verdict for one, verdict in judge_touches(touches, LEAD)}
    assert verdicts == {
        1: TouchVerdict.EXPIRED,
        2: TouchVerdict.EARLIER,
        3: TouchVerdict.WON,
        4: TouchVerdict.BEHIND_CLICK,
        5: TouchVerdict.NEVER_COUNTS,
        6: TouchVerdict.AFTERWARDS,
        7: TouchVerdict.EARLIER,
    }
    latest = {
        one.touch_id: verdict for one, verdict in judge_touches(touches, LEAD, AttributionPolicy.LAST_TOUCH)
    }
    assert latest[4] is TouchVerdict.WON


@given(TOUCHES, st.sampled_from(AttributionPolicy))
def test_the_winner_is_that_of_the_rule_and_there_is_one_at_most(
    touches: list[Touch], policy: AttributionPolicy
) -> None:
    judged = judge_touches(touches, LEAD, policy)
    won = [one for one, verdict in judged if verdict is TouchVerdict.WON]
    winner = last_touch(touches, LEAD, policy)
    assert won == ([winner] if winner else [])
    assert {one.touch_id for one, _ in judged} == {one.touch_id for one in touches}
