"""The geometry of charts and the speed of answers, without any page."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from contatto.reports.model import Counts
from contatto.reports.rules.figures import (
    HEIGHT,
    WIDTH,
    ChartLine,
    FirstReply,
    bars,
    by_weekday,
    draw_line,
    funnel,
    label_every,
    nice_top,
    reply_times_of,
    shade,
    summarize_replies,
)

MANY = st.lists(st.integers(0, 10**9), min_size=1, max_size=60)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_line_goes_through_the_middle_of_each_day() -> None:
    assert draw_line([0, 4], 4) == ChartLine("M250.0 200.0L750.0 0.0", "M250.0 200.0h.01M750.0 0.0h.01")


@given(st.integers(1, 10**15))
def test_a_scale_ends_at_a_round_number_above_the_highest(highest: int) -> None:
    top = nice_top(highest)
    assert highest <= top < 10 * max(highest, 1)
    assert str(top).rstrip("0") in ("1", "2", "5")


@given(MANY)
def test_points_and_bars_stay_in_their_box_and_keep_their_order(values: list[int]) -> None:
    top = nice_top(max(values) or 1)
    for place in draw_line(values, top).line[1:].split("L"):
        x, y = map(float, place.split())
        assert 0 < x < WIDTH
        assert 0 <= y <= HEIGHT
    for value, bar in zip(values, bars(values, top), strict=True):
        assert (bar.height > 0) == (value > 0)
        assert abs(bar.y + bar.height - HEIGHT) < 0.2


def test_labels_leave_room_for_each_other() -> None:
    assert [label_every(count) for count in (1, 7, 8, 31, 366)] == [1, 1, 2, 5, 53]


def test_a_funnel_tells_the_share_of_the_step_before() -> None:
    steps = funnel(
        Counts(impressions=1_000, clicks=100, conversations=50, leads=10, qualified=5, converted=0)
    )
    assert [step.share for step in steps] == [None, 0.1, 0.5, 0.2, 0.5, 0.0]
    assert [step.width for step in steps] == sorted((step.width for step in steps), reverse=True)
    assert (steps[0].width, steps[-1].width) == (100.0, 0.0)
    assert all(step.width == 0 for step in funnel(Counts()))


def test_the_darkest_shade_is_the_most_and_nothing_has_none() -> None:
    assert [shade(value, 10) for value in (0, 1, 4, 10)] == [0, 1, 2, 5]
    assert shade(0, 0) == 0


def test_hours_fall_on_their_weekday() -> None:
    rows = by_weekday({"2026-11-23 09": 2, "2026-11-30 09": 1, "2026-11-29 23": 4})
    assert rows[0][9] == 3
    assert rows[6][23] == 4
    assert sum(map(sum, rows)) == 7


def answer(author: str, minutes: float | None) -> FirstReply:
    return FirstReply(NOW, None if minutes is None else NOW + timedelta(minutes=minutes), author)


def test_answers_are_counted_by_how_long_they_took() -> None:
    found = reply_times_of([answer("A", at) for at in (1, 5, 6, 60, 61, 3_000, None)])
    assert found.buckets == (2, 2, 1, 1)
    assert (found.answered, found.median_s) == (6, 1_980)
    assert reply_times_of([answer("A", None)]).median_s is None


def test_each_person_has_a_speed_and_the_busiest_comes_first() -> None:
    replies = [answer("A", 1), answer("B", 2), answer("B", 4), answer("", None)]
    found = summarize_replies(replies, "UTC", 31)["people"]
    assert [(author, one.answered, one.median_s) for author, one in found] == [("B", 2, 180), ("A", 1, 60)]


def test_each_day_of_a_zone_has_a_speed_and_the_latest_comes_first() -> None:
    late = FirstReply(NOW + timedelta(hours=6), None, "")
    found = summarize_replies([answer("A", 1), answer("A", 3), late], "Asia/Singapore", 31)["days"]
    told = [((day - NOW.date()).days, one.started, one.median_s) for day, one in found]
    assert told == [(1, 1, None), (0, 2, 120)]
    assert len(summarize_replies([answer("A", 1), late], "Asia/Singapore", 1)["days"]) == 1
