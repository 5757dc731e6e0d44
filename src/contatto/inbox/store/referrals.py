"""Ads that opened a chat, as the platform told of them: kept also where the ad is not one of ours."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, String, Table, select

from contatto.channels.model import Platform
from contatto.channels.store import channel_accounts
from contatto.inbox.model import AdReferral
from contatto.inbox.store.conversations import conversations
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, sealed, tenant, text

ad_referrals = Table(
    "ad_referrals",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("ad_number", BigInteger, nullable=False),
    text("click_id"),
    sealed("headline", nullable=True),
    sealed("ad_text", nullable=True),
    instant("at"),
    Column("advertiser", String(64), nullable=False, server_default=""),
    Index("ix_ad_referrals_of_conversation", "business_id", "conversation_id", "at"),
    Index("ix_ad_referrals_of_number", "business_id", "ad_number"),
)


@dataclass(frozen=True, slots=True)
class NamedTap:
    """A tap on an ad that a platform told of, and whose it was; ``advertiser`` as in `AdReferral`."""

    conversation_id: str
    person_id: str
    platform: Platform
    ad_number: int
    advertiser: str
    at: datetime


def append_referral(tx: Tx, referral: AdReferral) -> bool:
    """Append a referral; False when it was there before."""
    row = row_of(referral)
    texts = {
        name: tx.seal(row[name], referral.business_id, f"ad_referrals.{name}", referral.id)
        for name in ("headline", "ad_text")
    }
    return tx.insert_ignore(ad_referrals, row | texts)


def list_taps_on(tx: Tx, business_id: str, ad_numbers: Collection[int]) -> list[NamedTap]:
    """The taps that were told of ads with these numbers."""
    mine = (
        select(
            ad_referrals.c.conversation_id,
            ad_referrals.c.ad_number,
            ad_referrals.c.advertiser,
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
            ad_referrals.c.ad_number.in_(list(ad_numbers)),
        )
    )
    return tx.list(NamedTap, mine.order_by(ad_referrals.c.at, ad_referrals.c.id))


def list_referrals(tx: Tx, business_id: str, conversation_id: str) -> list[AdReferral]:
    mine = select(ad_referrals).where(
        ad_referrals.c.business_id == business_id, ad_referrals.c.conversation_id == conversation_id
    )
    return tx.list(AdReferral, mine.order_by(ad_referrals.c.at))
