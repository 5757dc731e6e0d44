"""The ads that may be shown now, with ad groups and campaigns above them; read again every few seconds."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, Table, bindparam, select

from contatto.ads.model import Ad, AdGroup, Audit, Campaign, LiveAd, NodeStatus
from contatto.ads.store.nodes import ad_groups, ads, campaigns
from contatto.kit.db.hot import Listed, Seek
from contatto.kit.db.tx import Tx


def _active(table: Table, *conditions: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    mine = table.c.business_id == bindparam("of")
    return select(table).where(mine, table.c.status == NodeStatus.ACTIVE, *conditions)


_CAMPAIGNS: Final = Seek(Campaign, _active(campaigns).order_by(campaigns.c.number))
_AD_GROUPS: Final = Seek(AdGroup, _active(ad_groups).order_by(ad_groups.c.number))
_ADS: Final = Seek(Ad, _active(ads, ads.c.audit == Audit.PASS).order_by(ads.c.number))


@dataclass(frozen=True, slots=True)
class LiveNodes:
    """The live ads of a business, and the active nodes that they are made of."""

    live: tuple[LiveAd, ...]
    campaigns: Listed[Campaign]
    ad_groups: Listed[AdGroup]
    ads: Listed[Ad]


def list_live_ads(tx: Tx, business_id: str) -> list[LiveAd]:
    """Ads that passed their review and are active, as what is above them is; schedules are not looked at."""
    return list(load_live_nodes(tx, business_id).live)


def load_live_nodes(tx: Tx, business_id: str, before: LiveNodes | None = None) -> LiveNodes:
    """The same; what was read ``before`` comes back itself where nothing has changed since."""
    mine = {"of": business_id}
    found = (
        _CAMPAIGNS.list_again(tx, mine, None if before is None else before.campaigns),
        _AD_GROUPS.list_again(tx, mine, None if before is None else before.ad_groups),
        _ADS.list_again(tx, mine, None if before is None else before.ads),
    )
    if before is not None and found == (before.campaigns, before.ad_groups, before.ads):
        return before
    by_campaign = {campaign.id: campaign for campaign in found[0].all}
    by_group = {group.id: group for group in found[1].all}
    live = tuple(
        LiveAd(ad, by_group[ad.ad_group_id], by_campaign[ad.campaign_id])
        for ad in found[2].all
        if ad.ad_group_id in by_group and ad.campaign_id in by_campaign
    )
    return LiveNodes(live, *found)
