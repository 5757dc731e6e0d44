"""Which ad earned which lead."""

from contatto.kit.db.tx import Tx
from contatto.measurement import store as measurement
from contatto.measurement.model import Attribution, MeasuredAd

type Credit = tuple[Attribution, MeasuredAd]


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
