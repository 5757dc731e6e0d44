"""Names of ads as members tell them apart."""

from collections.abc import Collection

from contatto.ads.model import Ad
from contatto.ads.rules.names import name_apart
from contatto.ads.store.nodes import list_ads_by_name, load_ad_groups
from contatto.kit.db.tx import Tx


def name_ads(tx: Tx, business_id: str, ads: Collection[Ad]) -> dict[int, str]:
    """The names of ads of a business by their numbers, with what sets each apart from all others there."""
    alike = list_ads_by_name(tx, business_id, {ad.name for ad in ads})
    names = name_apart(alike, load_ad_groups(tx, business_id, {ad.ad_group_id for ad in alike}))
    return {ad.number: names[ad.number] for ad in ads}
