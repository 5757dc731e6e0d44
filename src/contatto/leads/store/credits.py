"""Which ad earned which lead."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, literal, select

from contatto.accounts.store import ad_accounts
from contatto.kit.db.tx import Tx
from contatto.measurement import store as measurement
from contatto.measurement.model import Attribution, MeasuredAd
from contatto.measurement.store import conversions, measured_ads

type Credit = tuple[Attribution, MeasuredAd]


@dataclass(frozen=True, slots=True)
class AdNames:
    """What an ad and those above it are called."""

    campaign_name: str
    ad_group_name: str
    ad_name: str


def earned_elsewhere(
    lead_id: ColumnElement[str], business_id: str, ad_account_id: str
) -> ColumnElement[bool]:
    """The condition that an ad of another ad account of ours earned a lead.

    One that no ad earned, or one that another platform shows, is of every account.
    """
    return (
        select(conversions.c.conversion_id)
        .where(
            conversions.c.business_id == business_id,
            conversions.c.subject_id == lead_id,
            conversions.c.ad_id.is_not(None),
            conversions.c.ad_account_id != ad_account_id,
            conversions.c.ad_account_id.in_(
                select(ad_accounts.c.id).where(ad_accounts.c.business_id == business_id)
            ),
        )
        .exists()
    )


def is_earned_elsewhere(tx: Tx, business_id: str, lead_id: str, ad_account_id: str) -> bool:
    """Whether an ad of another ad account earned a lead."""
    return bool(tx.scalar(select(earned_elsewhere(literal(lead_id), business_id, ad_account_id))))


def list_credits(tx: Tx, business_id: str, lead_ids: set[str]) -> dict[str, Credit]:
    """For each lead that an ad earned: the attribution and the ad."""
    earned = measurement.list_attributions(tx, business_id, lead_ids)
    ad_ids = {each.ad_id for each in earned.values() if each.ad_id}
    ads = measurement.list_measured_ads(tx, business_id, ad_ids)
    return {
        lead_id: (each, ads[each.ad_id])
        for lead_id, each in earned.items()
        if each.ad_id and each.ad_id in ads
    }


def list_winning_ads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, AdNames]:
    """For each lead that an ad earned: what the ad is called. Lists show no more of it."""
    names = (measured_ads.c.campaign_name, measured_ads.c.ad_group_name, measured_ads.c.ad_name)
    mine = (
        select(conversions.c.subject_id, *names)
        .join(measured_ads, measured_ads.c.ad_id == conversions.c.ad_id)
        .where(
            conversions.c.business_id == business_id,
            conversions.c.subject_id.in_(lead_ids),
            conversions.c.ad_id.is_not(None),
            measured_ads.c.business_id == business_id,
        )
    )
    found = tx.execute(mine).all()
    return {row.subject_id: AdNames(row.campaign_name, row.ad_group_name, row.ad_name) for row in found}
