"""What a pull reads next, up to which day, and whether a platform leads it in circles."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from contatto.ad_platforms.model import OutsideAccount, Part, Place
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import NotNow, RetryPlan

EVERY_S: Final = 3_600.0
"""Seconds between two pulls of an account."""
RECENT_DAYS: Final = 3
"""Days before the last one that each pull reads again."""
CORRECTED_DAYS: Final = 28
"""Days that are read again once a day.

Source: Meta, Insights API: figures are final 28 days after they are reported. TikTok corrects for less long.
"""
CHUNK_DAYS: Final = 30
"""Most days of one question. Source: TikTok, /report/integrated/get/ with stat_time_day."""
MOST_BACKFILL: Final = 730
PLAN: Final = RetryPlan((60, 300, 1_800, 7_200, *(21_600 for _ in range(28))))
"""About a week; then a person has to look at it. Nothing is lost: the next pull reads all that is missing."""
REPEATED: Final = NotNow("repeated_cursor")
STOPS: Final[Mapping[str, str]] = {
    "account_not_shared": N_("The token has no access to this ad account"),
    "app_missing": N_("The app of this connection is no longer registered. Register it under Channels"),
    "not_json": N_("The response of the platform could not be read"),
    "platform_away": N_("The platform is not available"),
    "repeated_cursor": N_("The platform repeats the same page"),
    "token_missing": N_("The access token is missing. Add one"),
    "token_refused": N_("The platform no longer accepts the access token"),
    "too_fast": N_("The platform's rate limit is reached"),
}
"""Why a pull waits or has stopped, in words for people."""
_ORDER: Final = tuple(Part)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a pull stands, kept sealed between its steps.

    ``mark`` tells what this pull has seen from what was there before, ``left_out`` counts what it could not
    read. ``anchor``, ``steps`` and ``reach`` find a circle among the cursors. ``code`` is what has to be
    changed into a token first.

    Source: R. P. Brent, "An improved Monte Carlo factorization algorithm", BIT 20 (1980): finding cycles.
    """

    part: Part = Part.ACCOUNT
    cursor: str = ""
    first: str = ""
    last: str = ""
    through: str = ""
    mark: int = 0
    left_out: int = 0
    anchor: str = ""
    steps: int = 0
    reach: int = 1
    code: str = ""
    back: str = ""
    app_id: str = ""

    @property
    def place(self) -> Place:
        return Place(self.part, self.cursor, self.first, self.last)


_walks: Final = msgspec.json.Decoder(Walk)


def read_walk(text: str) -> Walk | None:
    """Where a pull stands; None at its beginning."""
    return _walks.decode(text) if text else None


def write_walk(walk: Walk) -> str:
    return msgspec.json.encode(walk).decode()


def follow_cursor(walk: Walk, cursor: str) -> Walk | None:
    """The next page of a part; None where its cursor was there before, so that it would never end."""
    if cursor in (walk.cursor, walk.anchor):
        return None
    if walk.steps + 1 < walk.reach:
        return replace(walk, cursor=cursor, steps=walk.steps + 1)
    return replace(walk, cursor=cursor, anchor=cursor, steps=0, reach=2 * walk.reach)


def next_part(walk: Walk, account: OutsideAccount, now: datetime) -> Walk | None:
    """The part after one that is read to its end; None when all is read."""
    fresh = replace(walk, cursor="", anchor="", steps=0, reach=1)
    if walk.part is not Part.SPEND:
        part = _ORDER[_ORDER.index(walk.part) + 1]
        if part is not Part.SPEND:
            return replace(fresh, part=part)
        today = now.astimezone(ZoneInfo(account.timezone or "UTC")).date()
        first = first_day(account, today)
        return _chunk(replace(fresh, part=part, through=today.isoformat()), first)
    if walk.last >= walk.through:
        return None
    first = date.fromisoformat(walk.last) + timedelta(days=1)
    return _chunk(fresh, first)


def first_day(account: OutsideAccount, today: date) -> date:
    """From which day on figures are read: all of them at first, then those that may have been corrected."""
    if not account.pulled_through:
        return today - timedelta(days=account.backfill_days)
    back = RECENT_DAYS if account.deep_day == today.isoformat() else CORRECTED_DAYS
    pulled = min(today, date.fromisoformat(account.pulled_through))
    return max(pulled - timedelta(days=back), today - timedelta(days=MOST_BACKFILL))


def _chunk(walk: Walk, first: date) -> Walk:
    """The walk at its next days: as many as one question may name."""
    last = min(date.fromisoformat(walk.through), first + timedelta(days=CHUNK_DAYS - 1))
    return replace(walk, first=first.isoformat(), last=last.isoformat())
