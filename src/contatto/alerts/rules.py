"""Times, links and texts of alerts; no text contains a contact value."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from contatto.alerts.model import Alert, AlertChoices, AlertKind, AlertMedium
from contatto.kit.i18n import N_
from contatto.kit.languages import Translator

MESSAGE_WINDOW: Final = timedelta(minutes=15)
"""Messages of one chat within this time are one alert."""
LATE_CHATS_WITHIN: Final = timedelta(days=1)
"""Chats that exceed the reply target by more than this raise no alert any more."""
RETENTION: Final = timedelta(days=30)
MOST_LINES: Final = 50
"""Lines of one mail; further alerts are counted."""
HALF_HOURS: Final = tuple(range(0, 24 * 60, 30))
"""Minutes of the day that the settings page offers."""

KIND_TEXTS: Final[Mapping[AlertKind, str]] = {
    AlertKind.LEAD: N_("A new lead"),
    AlertKind.MESSAGE: N_("A message from a customer"),
    AlertKind.ASSIGNMENT: N_("A conversation, lead or task is assigned to you"),
    AlertKind.TASK: N_("A task is due"),
    AlertKind.WAITING: N_("A customer has waited too long for a reply"),
    AlertKind.CHANNEL: N_("A channel is disconnected: its platform refuses the access token"),
    AlertKind.CRM: N_("A CRM needs attention: leads do not arrive, or its records differ"),
    AlertKind.SIGNALS: N_("An ad platform needs attention: its signals do not arrive"),
}


def due_at(
    choices: AlertChoices, kind: AlertKind, moment: datetime, zone: str
) -> dict[AlertMedium, datetime | None]:
    """Return the due time of each medium: now, after quiet hours, with the next digest, or never."""
    local = moment.astimezone(ZoneInfo(zone))
    start, end, minute = choices.quiet_from, choices.quiet_until, local.hour * 60 + local.minute
    is_quiet = start <= minute < end if start <= end else minute >= start or minute < end
    at_once = _next_time_of_day(end, moment, zone) if is_quiet else moment
    digest = _next_time_of_day(choices.digest_at, moment, zone) if kind in choices.digested else None
    return {
        AlertMedium.MAIL: at_once if kind in choices.mailed else digest,
        AlertMedium.PUSH: at_once if kind in choices.pushed else None,
    }


def _next_time_of_day(minute: int, moment: datetime, zone: str) -> datetime:
    """Return the next time at which a clock in the zone shows this minute of the day."""
    local = moment.astimezone(ZoneInfo(zone))
    today = local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    next_time = today if today > local else (today + timedelta(days=1))
    return next_time.astimezone(moment.tzinfo)


def message_stamp(moment: datetime) -> str:
    """Return the number of the quarter-hour of a message; a chat raises one alert in each."""
    return str(int(moment.timestamp() // MESSAGE_WINDOW.total_seconds()))


STAMP: Final = "%Y-%m-%dT%H:%M:%S.%f"
"""Format of a moment that separates two alerts of the same subject."""


_PATHS: Final = {
    AlertKind.MESSAGE: "/inbox/%s",
    AlertKind.WAITING: "/inbox/%s",
    AlertKind.CHANNEL: "/settings/channels#account-%s",
    AlertKind.CRM: "/settings/integrations/%s",
    AlertKind.SIGNALS: "/settings/ad-platforms/%s/signals",
}
"""Pages of the subjects that are no leads."""


def path_of(kind: AlertKind, subject_id: str, stamp: str = "") -> str:
    """Return the page of a subject; the stamp of an assignment tells a chat from a lead."""
    is_chat = kind is AlertKind.ASSIGNMENT and stamp.startswith("chat")
    return ("/inbox/%s" if is_chat else _PATHS.get(kind, "/leads/%s")) % subject_id


def alert_mail(words: Translator, alerts: Sequence[Alert], base_url: str, business: str) -> tuple[str, str]:
    """Return subject and text of one mail about several alerts, with a link to each subject."""
    kinds = list(AlertKind)
    ordered = sorted(alerts, key=lambda alert: (kinds.index(alert.kind), alert.created_at))
    parts: list[str] = []
    for kind, group in groupby(ordered[:MOST_LINES], key=lambda alert: alert.kind):
        lines = [base_url + path_of(kind, alert.subject_id, alert.stamp) for alert in group]
        parts.append("\n".join([f"{words.gettext(KIND_TEXTS[kind])}:", *dict.fromkeys(lines)]))
    remaining = len(ordered) - MOST_LINES
    if remaining > 0:
        parts.append(words.ngettext("And %(num)s more.", "And %(num)s more.", remaining))
    choose = words.gettext("Choose what we tell you about, and when:")
    parts.append(f"{choose}\n{base_url}/settings/alerts")
    first = words.gettext(KIND_TEXTS[ordered[0].kind])
    count = len(ordered)
    subject = first if count == 1 else words.ngettext("%(num)s alert", "%(num)s alerts", count)
    return f"{subject} · {business}", "\n\n".join(parts) + "\n"


def push_text(words: Translator, alerts: Sequence[Alert]) -> tuple[str, str, str]:
    """Return title, link and tag of a notification; a later one with the same tag replaces it."""
    first = alerts[0]
    paths = {path_of(alert.kind, alert.subject_id, alert.stamp) for alert in alerts}
    if len(paths) == 1:
        return words.gettext(KIND_TEXTS[first.kind]), paths.pop(), f"{first.kind}-{first.subject_id}"
    title = words.ngettext("%(num)s alert", "%(num)s alerts", len(alerts))
    return title, "/leads" if all(path.startswith("/leads") for path in paths) else "/inbox", "alerts"
