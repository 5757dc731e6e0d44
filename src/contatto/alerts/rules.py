"""When an alert is told, where it leads, and what a mail or a browser says; neither holds a contact value."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from contatto.alerts.model import Alert, Choices, Kind, Way
from contatto.kit.i18n import N_, Translator

GATHERED: Final = timedelta(minutes=15)
"""Messages of one chat within so long are one alert."""
LATELY: Final = timedelta(days=1)
"""Who waits for an answer for longer than that beyond what the business wants is nobody's news any more."""
KEPT: Final = timedelta(days=30)
MOST_LINES: Final = 50
"""Lines of one mail; what is beyond is counted."""
HALF_HOURS: Final = tuple(range(0, 24 * 60, 30))
"""The times that are offered."""

KIND_TEXTS: Final[Mapping[Kind, str]] = {
    Kind.LEAD: N_("A new lead"),
    Kind.MESSAGE: N_("A message from a customer"),
    Kind.ASSIGNMENT: N_("A conversation, lead or task is assigned to you"),
    Kind.TASK: N_("A task is due"),
    Kind.WAITING: N_("A customer has waited too long for a reply"),
    Kind.CHANNEL: N_("A channel is disconnected: its platform refuses the access token"),
    Kind.CRM: N_("A CRM needs attention: leads do not arrive, or its records differ"),
    Kind.SIGNALS: N_("An ad platform needs attention: its signals do not arrive"),
}


def due_at(choices: Choices, kind: Kind, now: datetime, zone: str) -> dict[Way, datetime | None]:
    """When a member is told in each way: now, after their quiet hours, with the next digest, or never."""
    at_once = _after_quiet(choices, now, zone)
    digest = _next(choices.digest_at, now, zone) if kind in choices.digested else None
    return {
        Way.MAIL: at_once if kind in choices.mailed else digest,
        Way.PUSH: at_once if kind in choices.pushed else None,
    }


def _after_quiet(choices: Choices, now: datetime, zone: str) -> datetime:
    """The end of a member's quiet hours, or now outside of them."""
    start, end, minute = choices.quiet_from, choices.quiet_until, _minute(now, zone)
    is_quiet = start <= minute < end if start <= end else minute >= start or minute < end
    return _next(end, now, zone) if is_quiet else now


def local_day(now: datetime, zone: str) -> date:
    """The day that it is in a zone."""
    return now.astimezone(ZoneInfo(zone)).date()


def _minute(now: datetime, zone: str) -> int:
    local = now.astimezone(ZoneInfo(zone))
    return local.hour * 60 + local.minute


def _next(minute: int, now: datetime, zone: str) -> datetime:
    """The next time that a clock in this zone shows so many minutes of the day."""
    local = now.astimezone(ZoneInfo(zone))
    then = local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    later = then if then > local else (then + timedelta(days=1))
    return later.astimezone(now.tzinfo)


def message_stamp(now: datetime) -> str:
    """The quarter of an hour that a message falls into."""
    return str(int(now.timestamp() // GATHERED.total_seconds()))


def moment_stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}"


def path_of(kind: Kind, subject_id: str, stamp: str = "") -> str:
    """The page of the thing itself."""
    if kind is Kind.CHANNEL:
        return f"/settings/channels#account-{subject_id}"
    if kind is Kind.CRM:
        return f"/settings/integrations/{subject_id}"
    if kind is Kind.SIGNALS:
        return f"/settings/ad-platforms/{subject_id}/signals"
    is_chat = kind in (Kind.MESSAGE, Kind.WAITING) or (kind is Kind.ASSIGNMENT and stamp.startswith("chat"))
    return f"/inbox/{subject_id}" if is_chat else f"/leads/{subject_id}"


def alert_mail(words: Translator, alerts: Sequence[Alert], base_url: str, business: str) -> tuple[str, str]:
    """Subject and text of one mail about several alerts, with a link to each thing."""
    kinds = list(Kind)
    ordered = sorted(alerts, key=lambda each: (kinds.index(each.kind), each.created_at))
    parts: list[str] = []
    for kind, group in groupby(ordered[:MOST_LINES], key=lambda each: each.kind):
        lines = [base_url + path_of(kind, each.subject_id, each.stamp) for each in group]
        parts.append("\n".join([f"{words.gettext(KIND_TEXTS[kind])}:", *dict.fromkeys(lines)]))
    beyond = len(ordered) - MOST_LINES
    if beyond > 0:
        parts.append(words.ngettext("And %(num)s more.", "And %(num)s more.", beyond))
    choose = words.gettext("Choose what we tell you about, and when:")
    parts.append(f"{choose}\n{base_url}/settings/alerts")
    first = words.gettext(KIND_TEXTS[ordered[0].kind])
    count = len(ordered)
    subject = first if count == 1 else words.ngettext("%(num)s alert", "%(num)s alerts", count)
    return f"{subject} · {business}", "\n\n".join(parts) + "\n"


def push_text(words: Translator, alerts: Sequence[Alert]) -> tuple[str, str, str]:
    """What a browser shows of alerts: a title, the path that a click leads to, and what replaces it later."""
    first = alerts[0]
    paths = {path_of(each.kind, each.subject_id, each.stamp) for each in alerts}
    if len(paths) == 1:
        return words.gettext(KIND_TEXTS[first.kind]), paths.pop(), f"{first.kind}-{first.subject_id}"
    title = words.ngettext("%(num)s alert", "%(num)s alerts", len(alerts))
    return title, "/leads" if all(path.startswith("/leads") for path in paths) else "/inbox", "alerts"
