"""Ads that opened a chat, as the platform told of them: kept also where the ad is not one of ours."""

from sqlalchemy import BigInteger, Column, Index, String, Table, select

from contatto.inbox.model import AdReferral
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, sealed, tenant, text
from contatto.kit.rows import row_of

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
    Index("ix_ad_referrals_of_conversation", "business_id", "conversation_id", "at"),
)


def append_referral(tx: Tx, referral: AdReferral) -> bool:
    """Append a referral; False when it was there before."""
    row = row_of(referral)
    texts = {name: tx.seal(row[name], referral.business_id) for name in ("headline", "ad_text")}
    return tx.insert_ignore(ad_referrals, row | texts)


def list_referrals(tx: Tx, business_id: str, conversation_id: str) -> list[AdReferral]:
    mine = select(ad_referrals).where(
        ad_referrals.c.business_id == business_id, ad_referrals.c.conversation_id == conversation_id
    )
    return tx.list(AdReferral, mine.order_by(ad_referrals.c.at))
