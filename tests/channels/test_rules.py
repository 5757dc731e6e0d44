"""When a business may write, and which accounts may send at all."""

from dataclasses import replace
from datetime import timedelta

import pytest

from contatto.channels.model import SERVED, ChannelAccount, Platform, ReplyWindow
from contatto.channels.rules import may_use_message_api, window_state
from contatto.channels.store import CONNECTORS
from tests import make

TIKTOK = CONNECTORS[Platform.TIKTOK].dialect.window
ACCOUNT = ChannelAccount("a1", "b1", Platform.TIKTOK, "open-1", "Kopi", "kopi", "SG", make.NOON)


def test_on_tiktok_ten_messages_may_follow_within_48_hours() -> None:
    assert ReplyWindow(48, 10) == TIKTOK
    fresh = window_state(TIKTOK, make.NOON, 0, make.NOON)
    assert (fresh.is_open, fresh.left, fresh.until) == (True, 10, make.NOON + timedelta(hours=48))
    assert window_state(TIKTOK, make.NOON, 9, make.NOON).left == 1


def test_a_business_cannot_write_first() -> None:
    state = window_state(TIKTOK, None, 0, make.NOON)
    assert (state.is_open, state.reason) == (False, "cannot_write_first")


@pytest.mark.parametrize(("late", "is_open"), [(timedelta(microseconds=-1), True), (timedelta(0), False)])
def test_the_window_ends_to_the_microsecond(late: timedelta, is_open: bool) -> None:
    state = window_state(TIKTOK, make.NOON, 0, make.NOON + timedelta(hours=48) + late)
    assert (state.is_open, state.reason) == (is_open, None if is_open else "window_closed")


@pytest.mark.parametrize("sent", [10, 11, 500])
def test_after_the_last_message_nothing_is_left(sent: int) -> None:
    state = window_state(TIKTOK, make.NOON, sent, make.NOON)
    assert (state.is_open, state.left, state.reason) == (False, 0, "window_used_up")


def test_where_the_platform_sets_no_number_any_may_follow() -> None:
    state = window_state(CONNECTORS[Platform.WHATSAPP].dialect.window, make.NOON, 999, make.NOON)
    assert (state.is_open, state.left, state.until) == (True, None, make.NOON + timedelta(hours=24))


def test_our_own_chat_has_no_window() -> None:
    assert window_state(None, None, 99, make.NOON).is_open


@pytest.mark.parametrize("country", ["US", "CH", "GB", "DE", "IT", "NO", "IS", "LI"])
def test_tiktok_accounts_of_some_countries_send_nothing_through_the_api(country: str) -> None:
    account = replace(ACCOUNT, registration_country=country)
    assert not may_use_message_api(account)
    assert may_use_message_api(replace(account, platform=Platform.WHATSAPP))
    assert may_use_message_api(ACCOUNT)


def test_an_app_of_meta_serves_its_three_platforms_and_no_other_app_does() -> None:
    assert [each.value for each in SERVED[Platform.WHATSAPP]] == ["whatsapp", "messenger", "instagram"]
    assert SERVED[Platform.MESSENGER] == SERVED[Platform.INSTAGRAM] == SERVED[Platform.WHATSAPP]
    assert [each.value for each in SERVED[Platform.TIKTOK]] == ["tiktok"]
