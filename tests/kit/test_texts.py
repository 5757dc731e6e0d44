"""What strangers write: texts that can be kept, days that can be reckoned with, pairs, types of forms."""

from datetime import UTC, date, datetime

import pytest

from contatto.kit.errors import Refused
from contatto.kit.values import check_texts, day_of, instant_of, read_pairs
from contatto.ui.requests import _plain


@pytest.mark.parametrize(
    "value", ["\0", "a\0b", "\ud800", ["x", {"a": ["\udfff"]}], {"\0": 1}, {"a": {"b": "\0"}}]
)
def test_a_text_that_cannot_be_kept_is_found_however_deep(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        check_texts(value)


@pytest.mark.parametrize("value", ["", "🙂\n\t\u202e", None, 1, [[[]]], {"a": [{"b": "x"}]}])
def test_all_other_values_are_as_they_were(value: object) -> None:
    assert check_texts(value) is value


def test_lists_in_lists_are_looked_through_without_end() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert check_texts(deep) is deep


@pytest.mark.parametrize(
    ("text", "day"),
    [("2026-02-28", date(2026, 2, 28)), ("1970-01-01", date(1970, 1, 1)), ("2199-12-31", date(2199, 12, 31)),
     ("2026-02-30", None), ("0001-01-01", None), ("9999-12-31", None), ("2026-1-1", None), ("", None),
     ("２０２６-01-01", None), ("2026-01-01 ", None), ("20260101", None)],
)  # fmt: skip
def test_a_day_is_one_that_can_be_reckoned_with(text: str, day: date | None) -> None:
    assert day_of(text) == day


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2030-01-01T10:00", datetime(2030, 1, 1, 10, tzinfo=UTC)),
     ("2030-01-01T10:00+08:00", datetime(2030, 1, 1, 2, tzinfo=UTC)),
     ("9999-12-31T23:59:59-14:00", None), ("0001-01-01T00:00+14:00", None), ("2030-01-01T25:00", None),
     ("", None)],
)  # fmt: skip
def test_a_moment_is_one_that_can_be_reckoned_with(text: str, moment: datetime | None) -> None:
    assert instant_of(text) == moment


def test_a_query_has_so_many_pairs() -> None:
    assert read_pairs("a=1&b=%20&c", 3) == [("a", "1"), ("b", " ")]
    with pytest.raises(Refused, match="at most 3 values"):
        read_pairs("a&b&c&d", 3)


@pytest.mark.parametrize(
    ("value", "plain"),
    [(b"multipart/form-data; charset=utf-7; boundary=abc", b"multipart/form-data; boundary=abc"),
     (b'Multipart/Form-Data;boundary="a;b";charset="x"', b'multipart/form-data; boundary="a;b"'),
     (b"multipart/form-data", b"multipart/form-data"),
     (b"application/json; charset=x", b"application/json; charset=x")],
)  # fmt: skip
def test_a_form_is_utf_8_whatever_it_says(value: bytes, plain: bytes) -> None:
    assert _plain(b"content-type", value) == (b"content-type", plain)
    assert _plain(b"x", value) == (b"x", value)
