"""Rules of pulls: next request, days, repeated cursors, and values that platforms send."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from babel.numbers import is_currency

from contatto.ad_platforms.model import AdPlatform, OutsideAccount, OutsideNode, Part, Place
from contatto.kit.i18n import N_
from contatto.kit.numbers import LARGEST, read_number, to_micros
from contatto.kit.outbound.model import NotNow, RetryPlan
from contatto.measurement.model import Goal, MeasuredAd
from contatto.measurement.rules import NameId

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
"""Reasons why a pull waits or stopped, as sentences."""
_ORDER: Final = tuple(Part)


@dataclass(frozen=True, slots=True)
class Walk:
    """Position of a pull, stored sealed between its steps.

    ``mark`` distinguishes rows of this pull from older ones, ``left_out`` counts unreadable rows. ``anchor``,
    ``steps`` and ``reach`` find a cycle among the cursors. ``code`` has to be exchanged for a token first.

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
    """Return the position of a pull; None at its beginning."""
    return _walks.decode(text) if text else None


def write_walk(walk: Walk) -> str:
    return msgspec.json.encode(walk).decode()


def follow_cursor(walk: Walk, cursor: str) -> Walk | None:
    """Return the next page of a part; None for a repeated cursor, which would never end."""
    if cursor in (walk.cursor, walk.anchor):
        return None
    if walk.steps + 1 < walk.reach:
        return replace(walk, cursor=cursor, steps=walk.steps + 1)
    return replace(walk, cursor=cursor, anchor=cursor, steps=0, reach=2 * walk.reach)


def next_part(walk: Walk, account: OutsideAccount, at: datetime) -> Walk | None:
    """Return the part after a finished one; None at the end of the pull."""
    fresh = replace(walk, cursor="", anchor="", steps=0, reach=1)
    if walk.part is not Part.SPEND:
        part = _ORDER[_ORDER.index(walk.part) + 1]
        if part is not Part.SPEND:
            return replace(fresh, part=part)
        today = at.astimezone(ZoneInfo(account.timezone or "UTC")).date()
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
    """Move the walk to its next days: as many as one question may name."""
    last = min(date.fromisoformat(walk.through), first + timedelta(days=CHUNK_DAYS - 1))
    return replace(walk, first=first.isoformat(), last=last.isoformat())


NAME_LIMIT: Final = 300
_MOST_COUNT: Final = 10**15


def platform_number(value: object) -> int | None:
    """Return an id, which may come as text or as a number; None for anything else."""
    if isinstance(value, bool):
        return None
    number = (
        value if isinstance(value, int) else read_number(value.strip()) if isinstance(value, str) else None
    )
    return number if number is not None and 0 < number <= LARGEST else None


def platform_day(value: object) -> str | None:
    """Return the day of ``YYYY-MM-DD`` or of ``YYYY-MM-DD HH:MM:SS``."""
    text = value.strip()[:10] if isinstance(value, str) else ""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else None
    except ValueError:
        return None


def platform_micros(value: object) -> int | None:
    """Return an amount in units of the currency as micros; None for another value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return to_micros(value)
    except ValueError:
        return None


def platform_count(sent_value: object) -> int | None:
    """Return a count, which may be text and have a fraction of zeros."""
    if isinstance(sent_value, bool) or not isinstance(sent_value, str | int | float):
        return None
    try:
        value = float(sent_value)
    except ValueError:
        return None
    return int(value) if 0 <= value < _MOST_COUNT and value == int(value) else None


def known_zone(value: object) -> str:
    """Return an IANA time zone; UTC for another name."""
    return value if isinstance(value, str) and value in available_timezones() else "UTC"


def known_currency(value: object) -> str:
    """Return a currency's three letters, also for a withdrawn one; empty for anything else."""
    text = value.strip().upper() if isinstance(value, str) else ""
    return text if is_currency(text) else ""


def short_name(value: object) -> str:
    return value.replace("\0", "")[:NAME_LIMIT] if isinstance(value, str) else ""


class KnownAds:
    """Mirrored ads by their numbers on the platforms.

    Args:
        ads: the mirrored ads.
        external_ids: the platforms' ids of their accounts, by our ids.
    """

    def __init__(self, ads: Iterable[MeasuredAd], external_ids: Mapping[str, str]) -> None:
        self._ads: defaultdict[int, list[MeasuredAd]] = defaultdict(list)
        self._external_ids = external_ids
        for ad in ads:
            self._ads[ad.ad_number].append(ad)

    def find(self, platform: AdPlatform | None, ad_number: int, advertiser: str) -> MeasuredAd | None:
        """Return the one ad with this number; None for several.

        ``advertiser`` is the platform's id of the ad's account, if known.
        """
        matches = self._list_ads(platform, ad_number)
        if advertiser:
            matches = [ad for ad in matches if self._external_ids.get(ad.ad_account_id) == advertiser]
        return matches[0] if len(matches) == 1 else None

    def is_ambiguous(self, platform: AdPlatform | None, ad_number: int) -> bool:
        """Report whether several accounts of a platform have an ad with this number."""
        return len(self._list_ads(platform, ad_number)) > 1

    def _list_ads(self, platform: AdPlatform | None, ad_number: int) -> list[MeasuredAd]:
        return [ad for ad in self._ads.get(ad_number, ()) if ad.platform == platform]


def outside_id(name_id: NameId, account: OutsideAccount, kind: str, number: int) -> str:
    """Return our id of a number of an account, as two accounts may have the same number."""
    return name_id(account.id, f"{kind}:{number}")


def measured(
    name_id: NameId,
    account: OutsideAccount,
    path: tuple[OutsideNode, OutsideNode | None, OutsideNode | None],
    goal_of: Callable[[str], Goal],
) -> MeasuredAd:
    """Return an ad elsewhere, with its ad group and campaign where these are known."""
    ad, group, campaign = path
    group_number, campaign_number = group.number if group else 0, campaign.number if campaign else 0
    return MeasuredAd(
        ad_id=outside_id(name_id, account, "ad", ad.number),
        ad_number=ad.number,
        ad_name=ad.name,
        ad_group_id=outside_id(name_id, account, "ad_group", group_number),
        ad_group_number=group_number,
        ad_group_name=group.name if group else "",
        campaign_id=outside_id(name_id, account, "campaign", campaign_number),
        campaign_number=campaign_number,
        campaign_name=campaign.name if campaign else "",
        business_id=account.business_id,
        ad_account_id=account.id,
        channel_account_id="",
        goal=goal_of(group.goal if group else ""),
        click_window_s=group.click_window_s if group else ad.click_window_s,
        view_window_s=group.view_window_s if group else ad.view_window_s,
        timezone=account.timezone or "UTC",
        currency=account.currency,
        landing_path="",
        headline="",
        text="",
        platform=account.platform.value,
    )
