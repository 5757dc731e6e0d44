"""Ads as they were sent to operators, and what these said of each revision."""

from collections.abc import Iterable

from sqlalchemy import BigInteger, Column, Index, String, Table, func, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, metadata, row_of, text
from contatto.operators.model import AdReview, ReviewState

ad_reviews = Table(
    "ad_reviews",
    metadata,
    Column("operator_id", String(36), primary_key=True),
    Column("ad_id", String(36), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("business_id", String(36), nullable=False),
    Column("number", BigInteger, nullable=False),
    text("business_name"),
    text("name"),
    text("headline"),
    text("text"),
    text("ad_format"),
    text("call_to_action"),
    text("video_id"),
    Column("state", Choice(ReviewState), nullable=False),
    text("reason"),
    instant("sent_at"),
    instant("reviewed_at", nullable=True),
    Index("ix_ad_reviews_business_id", "business_id", "operator_id"),
    Index("ix_ad_reviews_state", "operator_id", "state", "sent_at"),
)


def save_sent_ads(tx: Tx, sent: Iterable[AdReview]) -> int:
    """Add revisions that were not sent before; say how many."""
    rows = [row_of(each) for each in sent]
    added = tx.upsert(ad_reviews).on_conflict_do_nothing()
    return sum(tx.execute(added, row).rowcount for row in rows)


def list_sent(tx: Tx, operator_id: str, business_id: str) -> set[tuple[str, str]]:
    """The revisions of a business's ads that an operator has, as ids and digests."""
    wanted = select(ad_reviews.c.ad_id, ad_reviews.c.digest).where(
        ad_reviews.c.operator_id == operator_id, ad_reviews.c.business_id == business_id
    )
    return {(ad_id, digest) for ad_id, digest in map(tuple, tx.execute(wanted))}


def list_approved(tx: Tx, operator_id: str) -> frozenset[tuple[str, str]]:
    """The revisions that an operator approved, as ids and digests."""
    wanted = select(ad_reviews.c.ad_id, ad_reviews.c.digest).where(
        ad_reviews.c.operator_id == operator_id, ad_reviews.c.state == ReviewState.APPROVED
    )
    return frozenset((ad_id, digest) for ad_id, digest in map(tuple, tx.execute(wanted)))


def find_review(tx: Tx, operator_id: str, ad_id: str, digest: str) -> AdReview | None:
    mine = (
        ad_reviews.c.operator_id == operator_id, ad_reviews.c.ad_id == ad_id, ad_reviews.c.digest == digest,
    )  # fmt: skip
    return tx.find(AdReview, select(ad_reviews).where(*mine))


def list_reviews(
    tx: Tx, operator_id: str, state: ReviewState | None = None, limit: int = 200
) -> list[AdReview]:
    """The revisions that an operator has: those that wait, oldest first; of others the latest."""
    mine = select(ad_reviews).where(ad_reviews.c.operator_id == operator_id)
    if state is not None:
        mine = mine.where(ad_reviews.c.state == state)
    at = ad_reviews.c.sent_at
    order = (at, ad_reviews.c.number) if state is ReviewState.PENDING else (at.desc(), ad_reviews.c.number)
    return tx.list(AdReview, mine.order_by(*order).limit(limit))


def list_reviews_of_business(tx: Tx, business_id: str, limit: int = 500) -> list[AdReview]:
    """What operators said of a business's ads, latest first."""
    mine = select(ad_reviews).where(ad_reviews.c.business_id == business_id)
    return tx.list(AdReview, mine.order_by(ad_reviews.c.sent_at.desc(), ad_reviews.c.number).limit(limit))


def count_reviews(tx: Tx, operator_id: str) -> dict[ReviewState, int]:
    """How many revisions an operator has in each state."""
    wanted = select(ad_reviews.c.state, func.count()).where(ad_reviews.c.operator_id == operator_id)
    return dict(map(tuple, tx.execute(wanted.group_by(ad_reviews.c.state))))


def record_review(tx: Tx, review: AdReview, state: ReviewState, reason: str) -> None:
    """Note what an operator says of a revision."""
    mine = (
        ad_reviews.c.operator_id == review.operator_id, ad_reviews.c.ad_id == review.ad_id,
        ad_reviews.c.digest == review.digest,
    )  # fmt: skip
    tx.execute(update(ad_reviews).where(*mine).values(state=state, reason=reason, reviewed_at=tx.now))
