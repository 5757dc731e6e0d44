"""Permissions of roles, and validation of names, e-mails, passwords and zones."""

import re
from collections.abc import Collection
from datetime import timedelta
from functools import cache
from typing import Final
from zoneinfo import available_timezones

from contatto.accounts.model import AdAccount, Member, Permission, Role
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults
from contatto.kit.languages import countries, currencies, is_zone_of
from contatto.kit.values import InvalidEmail, checked_email

_READS: Final = frozenset({
    Permission.READ_INBOX, Permission.READ_LEADS, Permission.READ_ADS, Permission.READ_REPORTS,
})  # fmt: skip
_WORKS: Final = frozenset({Permission.WRITE_INBOX, Permission.WRITE_LEADS})

ROLE_PERMISSIONS: Final = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission),
    Role.MANAGER: _READS | _WORKS | {Permission.EXPORT_LEADS, Permission.WRITE_ADS},
    Role.AGENT: frozenset({Permission.READ_INBOX, Permission.READ_LEADS}) | _WORKS,
    Role.ANALYST: frozenset({Permission.READ_ADS, Permission.READ_REPORTS}),
}

AUTH_CODE_S: Final = 600
"""Lifetime of an auth code."""
KEEP_PAGES: Final = timedelta(hours=12)
"""Lifetime of a saved form response."""
MOST_KEPT_PAGES: Final = 30
"""Saved form responses of one member."""
MIN_PASSWORD: Final = 10
MOST_AD_ACCOUNTS: Final = 500
_PLACE: Final = re.compile(
    r"(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific)/"
)
NAME_LIMIT: Final = 100


_START_PAGES: Final = (
    (Permission.READ_REPORTS, "/home"),
    (Permission.READ_INBOX, "/inbox"),
    (Permission.READ_LEADS, "/leads"),
    (Permission.READ_ADS, "/ads"),
)


def home_path(permissions: frozenset[Permission], *, is_operator: bool = False) -> str:
    """Return the path of the start page for these permissions; for an operator the marketplace."""
    if is_operator and Permission.READ_ADS in permissions:
        return "/operator"
    return next((path for permission, path in _START_PAGES if permission in permissions), "/settings")


def local_path(path: str) -> str:
    """Return the path of a redirect if it stays on this site, else an empty text."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if safe else ""


def is_able(member: Member, permission: Permission) -> bool:
    """Report whether a member is active and has a permission."""
    return member.deactivated_at is None and permission in ROLE_PERMISSIONS[member.role]


def may_appoint(own: Role, role: Role) -> bool:
    """Report whether a member may assign or revoke a role: only owners may do so for owners."""
    return Permission.ADMINISTER in ROLE_PERMISSIONS[own] and (own is Role.OWNER or role is not Role.OWNER)


LIMITABLE: Final = frozenset({
    Permission.READ_ADS, Permission.WRITE_ADS, Permission.READ_REPORTS, Permission.READ_LEADS,
    Permission.WRITE_LEADS, Permission.EXPORT_LEADS,
})  # fmt: skip
"""Scopes that a token for some ad accounts may have; chats and settings belong to the whole business."""


def normal_email(text: str) -> str:
    """Return an e-mail for signing in: trimmed and lower-case. Raises INVALID."""
    try:
        return checked_email(text).lower()
    except InvalidEmail as error:
        raise Refused(errors.INVALID, "email: this is not an e-mail address.") from error


def check_password(password: str) -> None:
    """Refuse a password that is too short or too long. Raises INVALID."""
    if not MIN_PASSWORD <= len(password) <= 200:
        raise Refused(errors.INVALID, "password: use %(least)s to 200 characters.", least=MIN_PASSWORD)


_timezones: Final = cache(available_timezones)
"""Returns all IANA names; cached, as the search opens hundreds of files."""


@cache
def time_zones() -> tuple[str, ...]:
    """List the zones that people choose from, by name: those of places, and UTC."""
    return tuple(sorted(name for name in _timezones() if _PLACE.match(name) or name == "UTC"))


def check_timezone(name: str) -> None:
    """Refuse a name that is not an IANA time zone. Raises INVALID."""
    if name not in _timezones():
        raise Refused(errors.INVALID, "timezone: enter an IANA name, such as Asia/Singapore.")


def checked_ad_account(
    name: str,
    country: str,
    currency: str,
    timezone: str,
    other_names: Collection[str],
    before: AdAccount | None = None,
) -> dict[str, str]:
    """Return checked values; currency and zone of ``before`` stay valid. Raises INVALID, with all faults."""
    faults = Faults()
    name, country, currency = name.strip(), country.strip().upper(), currency.strip().upper()
    if not 0 < len(name) <= NAME_LIMIT or name in other_names:
        faults.note(
            Refused(errors.INVALID, "name: enter a name that no other ad account of this business has.")
        )
    if country not in countries():
        faults.note(Refused(errors.INVALID, "country: enter a two-letter code, such as SG."))
    if currency not in currencies() and (before is None or currency != before.currency):
        faults.note(Refused(errors.INVALID, "currency: enter a three-letter code, such as SGD."))
    keeps_timezone = before is not None and timezone == before.timezone
    if timezone not in _timezones():
        faults.note(Refused(errors.INVALID, "timezone: enter an IANA name, such as Asia/Singapore."))
    elif country in countries() and not is_zone_of(timezone, country) and not keeps_timezone:
        faults.note(Refused(errors.INVALID, "timezone: choose a time zone of this country."))
    faults.check()
    return {"name": name, "country": country, "currency": currency, "timezone": timezone}


_BROWSERS: Final = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS: Final = (
    ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iPadOS"), ("Windows", "Windows"),
    ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def browser_name(user_agent: str) -> str:
    """Return the usual name of a browser, such as ``Firefox, Linux``; empty for an unknown one.

    Sessions save only this name. Source: RFC 9110, section 10.1.5.
    """
    names = (
        next((name for mark, name in table if mark in user_agent), "") for table in (_BROWSERS, _SYSTEMS)
    )
    return ", ".join(name for name in names if name)
