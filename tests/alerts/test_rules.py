"""When an alert is mailed: at once, after quiet hours, with the digest; in the zone of its member."""

from datetime import UTC, datetime, timedelta

import pytest

from contatto.alerts.model import Alert, AlertChoices, AlertKind, AlertMedium
from contatto.alerts.rules import MOST_LINES, alert_mail, due_at, message_stamp, path_of, push_text
from contatto.kit.languages import translator_for

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SINGAPORE = "Asia/Singapore"  # eight hours ahead: 20:00 at NOON


def mail_at(wanted: AlertChoices, kind: AlertKind, now: datetime, zone: str) -> datetime | None:
    return due_at(wanted, kind, now, zone)[AlertMedium.MAIL]


def choices(**wanted: object) -> AlertChoices:
    return AlertChoices("b", "m", **wanted)  # type: ignore[arg-type]


def test_what_nobody_chose_is_not_mailed() -> None:
    assert mail_at(choices(), AlertKind.LEAD, NOON, "UTC") is None
    assert mail_at(choices(mailed=("message",)), AlertKind.LEAD, NOON, "UTC") is None


def test_a_mail_at_once_is_mail_at_once() -> None:
    assert mail_at(choices(mailed=("lead",)), AlertKind.LEAD, NOON, "UTC") == NOON


@pytest.mark.parametrize(
    ("start", "end", "waits_h"),
    [
        (19, 21, 1),  # 20:00 there is within
        (20, 21, 1),  # the first minute is quiet
        (18, 20, 0),  # the last is not
        (19, 7, 11),  # over midnight
        (21, 7, 0),
        (0, 0, 0),  # none
    ],
)
def test_quiet_hours_put_a_mail_off_until_their_end(start: int, end: int, waits_h: int) -> None:
    wanted = choices(mailed=("lead",), quiet_from=start * 60, quiet_until=end * 60)
    assert mail_at(wanted, AlertKind.LEAD, NOON, SINGAPORE) == NOON + timedelta(hours=waits_h)


@pytest.mark.parametrize(("at", "waits_h"), [(21 * 60, 1), (20 * 60, 24), (8 * 60, 12)])
def test_a_digest_comes_at_its_time_of_the_member_s_day(at: int, waits_h: int) -> None:
    wanted = choices(digested=("lead",), digest_at=at)
    assert mail_at(wanted, AlertKind.LEAD, NOON, SINGAPORE) == NOON + timedelta(hours=waits_h)


def test_a_clock_that_is_put_forward_loses_no_digest() -> None:
    """In Berlin there is no 02:30 on the last Sunday of March."""
    night = datetime(2026, 3, 28, 23, tzinfo=UTC)
    due = mail_at(choices(digested=("lead",), digest_at=150), AlertKind.LEAD, night, "Europe/Berlin")
    assert due is not None
    assert timedelta(0) < due - night < timedelta(hours=3)


def test_messages_of_a_quarter_of_an_hour_are_one() -> None:
    assert message_stamp(NOON) == message_stamp(NOON + timedelta(minutes=14))
    assert message_stamp(NOON) != message_stamp(NOON + timedelta(minutes=15))


def test_each_alert_leads_to_its_thing() -> None:
    assert path_of(AlertKind.LEAD, "1") == "/leads/1"
    assert path_of(AlertKind.MESSAGE, "1") == "/inbox/1"
    assert path_of(AlertKind.ASSIGNMENT, "1", "chat x") == "/inbox/1"
    assert path_of(AlertKind.ASSIGNMENT, "1", "lead x") == path_of(AlertKind.TASK, "1") == "/leads/1"
    assert path_of(AlertKind.WAITING, "1") == "/inbox/1"
    assert path_of(AlertKind.CHANNEL, "1") == "/settings/channels#account-1"


def alert(kind: AlertKind, subject: str) -> Alert:
    return Alert("b", "m", kind, subject, "", NOON)


def test_one_mail_tells_of_all_with_a_link_to_each() -> None:
    words = translator_for("en")
    told = [alert(AlertKind.MESSAGE, "c1"), alert(AlertKind.LEAD, "l1"), alert(AlertKind.LEAD, "l2")]
    subject, text = alert_mail(words, told, "https://x.example.com", "Kopi")
    assert subject == "3 alerts · Kopi"
    assert text.index("https://x.example.com/leads/l1") < text.index("https://x.example.com/inbox/c1")
    assert "https://x.example.com/settings/alerts" in text
    assert alert_mail(words, told[:1], "", "Kopi")[0] == "A message from a customer · Kopi"


def test_a_long_mail_is_cut_and_says_so() -> None:
    told = [alert(AlertKind.LEAD, str(number)) for number in range(MOST_LINES + 2)]
    assert "And 2 more." in alert_mail(translator_for("en"), told, "", "Kopi")[1]


def test_a_browser_is_told_at_once_but_not_in_quiet_hours() -> None:
    assert due_at(choices(pushed=("lead",)), AlertKind.LEAD, NOON, "UTC") == {
        AlertMedium.MAIL: None,
        AlertMedium.PUSH: NOON,
    }
    quiet = choices(pushed=("lead",), digested=("lead",), quiet_from=19 * 60, quiet_until=21 * 60)
    due = due_at(quiet, AlertKind.LEAD, NOON, SINGAPORE)
    assert due == {AlertMedium.MAIL: NOON + timedelta(hours=12), AlertMedium.PUSH: NOON + timedelta(hours=1)}


def test_a_browser_shows_one_thing_by_its_name_and_many_by_their_number() -> None:
    words = translator_for("en")
    one, other, chat = (
        alert(AlertKind.LEAD, "l1"),
        alert(AlertKind.LEAD, "l2"),
        alert(AlertKind.MESSAGE, "c1"),
    )
    assert push_text(words, [one]) == ("A new lead", "/leads/l1", "lead-l1")
    assert push_text(words, [one, other])[:2] == ("2 alerts", "/leads")
    assert push_text(words, [one, chat])[:2] == ("2 alerts", "/inbox")
