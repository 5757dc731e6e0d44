"""Reply windows, account checks, sites of chat pages, and accounts that may send."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from contatto.channels.model import ChannelAccount, Platform, ReplyWindow
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import RetryPlan

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")

_EEA: Final = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO"
WITHOUT_MESSAGE_API: Final = {Platform.TIKTOK: frozenset(f"US CH GB {_EEA}".split())}
"""Registration countries of accounts that may send nothing through the platform's API (P7)."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """State of a reply window: its end, and the messages left. Both are None without a limit."""

    is_open: bool
    until: datetime | None = None
    left: int | None = None
    reason: str | None = None


def window_state(
    window: ReplyWindow | None, last_customer_at: datetime | None, sent_since: int, at: datetime
) -> WindowState:
    """Return whether a business may write to a person now, until when, and how often (P5).

    ``last_customer_at`` is when the person wrote last (a business cannot write first), ``sent_since`` how
    many messages the business has sent since then.

    Source: help pages of messaging partners: 10 messages within 48 hours of the person's last one.
    """
    if window is None:
        return WindowState(is_open=True)
    if last_customer_at is None:
        return WindowState(is_open=False, reason="cannot_write_first")
    until = last_customer_at + timedelta(hours=window.hours)
    remaining = None if window.most is None else max(0, window.most - sent_since)
    if at >= until:
        return WindowState(is_open=False, until=until, left=remaining, reason="window_closed")
    if remaining == 0:
        return WindowState(is_open=False, until=until, left=remaining, reason="window_used_up")
    return WindowState(is_open=True, until=until, left=remaining)


CHECK_EVERY_S: Final = 86_400.0
CHECK_PLAN: Final = RetryPlan((5, 30, 120, 600, 3_600, *(21_600 for _ in range(28))))
"""About a week; a platform that is away for longer needs a person."""
CHECK_REASONS: Final[Mapping[str, str]] = {
    "answer_lost": N_("No response received"),
    "dismissed": N_("A member dismissed this message."),
    "forbidden_address": N_("The address of the platform is not allowed"),
    "no_token": N_("The access token is missing. Add one"),
    "platform_40002": N_("The platform did not find this id, or the token has no access to it"),
    "platform_100": N_("The platform did not find this id, or the token has no access to it"),
    "platform_away": N_("The platform is not available"),
    "token_refused": N_("The platform refuses the access token"),
    "too_fast": N_("The platform's rate limit is reached"),
    "unreached": N_("The platform could not be reached"),
    "unreadable_answer": N_("The platform sent an unreadable response"),
}
"""Reasons of failed checks, as sentences. 40002 is TikTok's wrong parameter, and 100 Meta's: in a check the
only parameter is the id."""


def check_text(reason: str) -> LazyText:
    """Return the text of a check's reason; a code of the platform as it is."""
    if reason in CHECK_REASONS:
        return LazyText(CHECK_REASONS[reason])
    return LazyText("The platform returned an error (%(reason)s)", reason=reason.replace("_", " "))


MOST_ORIGINS: Final = 20


def embed_origins(text: str) -> tuple[str, ...] | str:
    """Parse the origins of a text, one a line; return the first invalid line instead.

    All sites need https against eavesdropping, except on the local machine.
    """
    origins = []
    for line in text.split():
        parts = urlsplit(line)
        is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
        try:
            port = "" if parts.port is None else f":{parts.port}"
        except ValueError:
            return line
        origin, whole = line.rstrip("/").lower(), f"{parts.scheme}://{parts.hostname}{port}"
        is_origin = _HOST.fullmatch(parts.hostname or "") is not None and origin == whole
        if not (parts.scheme == "https" or is_local) or not is_origin:
            return line
        origins.append(origin)
    return tuple(dict.fromkeys(origins))


def may_use_message_api(account: ChannelAccount) -> bool:
    """Report whether accounts of this registration country may send through the platform's API (P7)."""
    return account.registration_country not in WITHOUT_MESSAGE_API.get(account.platform, frozenset())
