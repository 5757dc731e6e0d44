"""Taps of which platforms told and that no ad was credited for."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from typing import Annotated, Final

from sqlalchemy import func, select

from contatto.channels.model import Platform
from contatto.channels.store import channel_accounts
from contatto.inbox.store.conversations import conversations
from contatto.inbox.store.receipts import ad_referrals
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import SealedIn
from contatto.kit.timestamps import micros
from contatto.leads.store.records import leads
from contatto.measurement.rules import natural_number
from contatto.measurement.store import touches

MOST_TAPS: Final = 20_000
"""Latest taps of the days that are looked at."""
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class UnmatchedTap:
    """A tap as its platform told of it."""

    business_id: str
    conversation_id: str
    person_id: str
    platform: Platform
    ad_number: int
    advertiser: str
    headline: Annotated[str, SealedIn("ad_referrals.headline")]
    at: datetime


def list_unmatched_taps(tx: Tx, business_id: str, days: tuple[date, date]) -> list[UnmatchedTap]:
    """The taps of some days (UTC, both ends included) that are no touch of an ad."""
    since = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    until = datetime(days[1].year, days[1].month, days[1].day, tzinfo=UTC) + timedelta(days=1)
    query = (
        select(
            ad_referrals.c.id,
            ad_referrals.c.business_id,
            ad_referrals.c.conversation_id,
            ad_referrals.c.ad_number,
            ad_referrals.c.advertiser,
            ad_referrals.c.headline,
            ad_referrals.c.at,
            conversations.c.person_id,
            channel_accounts.c.platform,
        )
        .join(conversations, conversations.c.id == ad_referrals.c.conversation_id)
        .join(channel_accounts, channel_accounts.c.id == conversations.c.channel_account_id)
        .where(
            ad_referrals.c.business_id == business_id,
            conversations.c.business_id == business_id,
            channel_accounts.c.business_id == business_id,
            ad_referrals.c.at >= since,
            ad_referrals.c.at < until,
        )
        .order_by(ad_referrals.c.at.desc())
        .limit(MOST_TAPS)
    )
    found = {_touch_id(tap): tap for tap in tx.list(UnmatchedTap, query)}
    for touch_ids in batched(list(found), _AT_ONCE, strict=False):
        mine = touches.c.business_id == business_id, touches.c.touch_id.in_(touch_ids)
        for touch_id in tx.execute(select(touches.c.touch_id).where(*mine)).scalars().all():
            found.pop(touch_id, None)
    return list(found.values())


def _touch_id(tap: UnmatchedTap) -> int:
    """The touch that a tap is once its ad is known, as the inbox makes it."""
    return natural_number("referral", tap.conversation_id, tap.ad_number, micros(tap.at))


def count_leads_of(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, int]:
    """Return how many leads each of some persons is."""
    counts: dict[str, int] = {}
    for some in batched(sorted(person_ids), _AT_ONCE, strict=False):
        mine = leads.c.business_id == business_id, leads.c.person_id.in_(some), leads.c.hidden_at.is_(None)
        rows = tx.execute(select(leads.c.person_id, func.count()).where(*mine).group_by(leads.c.person_id))
        counts |= {row[0]: int(row[1]) for row in map(tuple, rows)}
    return counts
