"""The cold log gives what the database gave before it dropped the views, and names a file that is damaged."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from contatto.kit.values import micros
from contatto.measurement.engines import sealing
from contatto.measurement.engines.sealing import ALL_DROPPED, BrokenFile, Moment, Viewed, ViewSums, write_part
from contatto.measurement.model import SealedFile, Touch, TouchKind
from tests import make

DAY = timedelta(days=1)
AD = make.ad(timezone="UTC")
OTHER = make.ad("b2", timezone="UTC")
MINE = Viewed("b1", AD.ad_account_id)


def view(person: str, number: int, *, day: int = 0, minutes: int = 0, country: str = "") -> Touch:
    at = make.NOON + day * DAY + timedelta(minutes=minutes)
    touch = make.touch(AD, TouchKind.VIEW, at=at, person_id=person)
    return replace(touch, touch_id=number, cost_micros=100, country=country)


TOUCHES = [
    view("a", 1, country="SG"),
    view("a", 2, minutes=5),
    view("b", 3, minutes=9, country="SG"),
    replace(view("a", 4, minutes=7), kind=TouchKind.CLICK),
    replace(make.touch(OTHER, TouchKind.VIEW, at=make.NOON, person_id="a"), touch_id=5),
]
NEXT_DAY = [view("a", 11, day=1), view("c", 12, day=1, minutes=3)]


@pytest.fixture
def files(tmp_path: Path) -> list[SealedFile]:
    """Two days whose views are all dropped."""
    written = [
        write_part(tmp_path / "it's here", day, touches, [])
        for day, touches in (("2026-01-01", TOUCHES), ("2026-01-02", NEXT_DAY))
    ]
    return [replace(file, dropped_through=ALL_DROPPED) for file in written if file]


def ids(touches: list[Touch]) -> list[int]:
    return sorted(touch.touch_id for touch in touches)


def test_the_views_of_a_person_are_whole_touches_of_one_business(files: list[SealedFile]) -> None:
    found = sealing.list_views_of(files, "b1", "a")
    assert sorted(found, key=lambda touch: touch.touch_id) == [TOUCHES[0], TOUCHES[1], NEXT_DAY[0]]
    assert ids(sealing.list_views_of(files, "b2", "a")) == [5]
    assert sealing.list_views_of([], "b1", "a") == []


def test_views_are_summed_by_ad_country_and_time(files: list[SealedFile]) -> None:
    by_country = sealing.list_view_sums(files[:1], MINE, "''", ("ad_id", "country"))
    assert sorted(by_country, key=lambda sums: sums.country) == [
        ViewSums(AD.ad_id, "", "", 1, 100),
        ViewSums(AD.ad_id, "SG", "", 2, 200),
    ]
    by_day = sealing.list_view_sums(files, MINE, "day::VARCHAR", ())
    assert {(sums.at, sums.views) for sums in by_day} == {("2026-01-01", 3), ("2026-01-02", 2)}


def test_moments_leave_out_what_is_before_and_after(files: list[SealedFile]) -> None:
    since, until = (micros(make.NOON + timedelta(minutes=minutes)) for minutes in (5, 9))
    (sums,) = sealing.list_view_sums(files, replace(MINE, since_ts=since, until_ts=until), "''", ())
    assert sums.views == 1


def test_each_viewer_is_told_once_for_each_ad_time_and_country(files: list[SealedFile]) -> None:
    found = sealing.list_viewers(files, MINE, "''")
    assert len(found) == len(set(found))
    assert {(ad_id, at, person) for ad_id, at, _, person in found} == {
        (AD.ad_id, "", person) for person in ("a", "b", "c")
    }
    assert {country for _, _, country, _ in found} == {"", "SG"}


def test_the_latest_view_before_a_conversion_is_found(files: list[SealedFile]) -> None:
    hour = 3_600_000_000
    moments = [
        Moment(1, "a", micros(make.NOON + timedelta(minutes=6))),
        Moment(2, "a", micros(make.NOON + 1.5 * DAY)),
        Moment(3, "a", micros(make.NOON + 4 * DAY)),
        Moment(4, "nobody", micros(make.NOON + DAY)),
    ]
    found = sealing.find_latest_views(files, "b1", moments, 24 * hour)
    assert {key: touch.touch_id for key, touch in found.items()} == {1: 2, 2: 11}
    assert sealing.find_latest_views(files, "b1", moments, None) == found  # the ad's own window is a day
    longer = sealing.find_latest_views(files, "b1", moments, 7 * 24 * hour)
    assert {key: touch.touch_id for key, touch in longer.items()} == {1: 2, 2: 11, 3: 11}


def test_of_a_file_only_the_views_that_are_dropped_are_read(files: list[SealedFile]) -> None:
    half = [replace(files[0], dropped_through=1), files[1]]
    assert ids(sealing.list_views_of(half, "b1", "a")) == [1, 11]


def test_what_is_dropped_next_are_views_in_the_order_of_their_ids(files: list[SealedFile]) -> None:
    file = replace(files[0], dropped_through=-1)
    assert sealing.list_next_views(file, 2) == [1, 2]
    assert sealing.list_next_views(replace(file, dropped_through=2), 2) == [3, 5]
    assert sealing.list_next_views(replace(file, dropped_through=5), 2) == []


HARM: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "gone": lambda path: path.unlink(),
    "changed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_is_named_and_the_others_can_be_read(files: list[SealedFile], harm: str) -> None:
    HARM[harm](Path(files[0].folder) / files[0].name)
    with pytest.raises(BrokenFile, match=r"day=2026-01-01/part-1\.parquet") as caught:
        sealing.list_views_of(files, "b1", "a")
    assert caught.value.file == files[0]
    assert caught.value.is_gone is (harm == "gone")
    with pytest.raises(BrokenFile):
        sealing.list_next_views(files[0], 2)
    found, broken = sealing.load_whole(files, lambda some: sealing.list_views_of(some, "b1", "a"))
    assert ids(found) == [11]
    assert [error.file for error in broken] == [files[0]]
