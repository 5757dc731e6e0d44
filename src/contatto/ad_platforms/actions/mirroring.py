"""Keeping what a platform says of an account: its ads, told on to measuring, and what they cost."""

from collections.abc import Collection, Sequence

from contatto.ad_platforms.model import (
    AdDay,
    NodeLevel,
    NodeStatus,
    OutsideAccount,
    OutsideAdsMirrored,
    OutsideNode,
)
from contatto.ad_platforms.registry import CONNECTORS
from contatto.ad_platforms.rules.matching import KnownAds
from contatto.ad_platforms.rules.mirroring import measured
from contatto.ad_platforms.store import mirror as store
from contatto.ad_platforms.store.accounts import list_outside_accounts
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit
from contatto.measurement import actions as measurement
from contatto.measurement.store import list_measured_ads


def keep_nodes(tx: Tx, account: OutsideAccount, nodes: Sequence[OutsideNode], mark: int) -> None:
    """Keep campaigns, ad groups or ads; ads are told on to measuring with all above them."""
    store.save_nodes(tx, account, nodes, mark)
    publish_outside_ads(tx, account, [node for node in nodes if node.level is NodeLevel.AD])


def keep_spend(tx: Tx, account: OutsideAccount, days: Sequence[AdDay], mark: int) -> None:
    """Keep what ads cost; an ad that the platform lists no more is known by its number from then on."""
    store.save_days(tx, account, days, mark)
    named = {day.ad_number for day in days}
    known = {node.number for node in store.list_nodes(tx, account, NodeLevel.AD, named)}
    gone = [
        OutsideNode(NodeLevel.AD, number, 0, str(number), NodeStatus.DELETED)
        for number in sorted(named - known)
    ]
    if gone:
        keep_nodes(tx, account, gone, mark)


def publish_outside_ads(tx: Tx, account: OutsideAccount, ads: Sequence[OutsideNode]) -> None:
    """Tell measuring of ads, where something of them is new; say which were not known before."""
    if not ads:
        return
    groups = store.list_nodes(tx, account, NodeLevel.AD_GROUP, {ad.parent for ad in ads})
    group_of = {group.number: group for group in groups}
    campaigns = store.list_nodes(tx, account, NodeLevel.CAMPAIGN, {group.parent for group in groups})
    campaign_of = {campaign.number: campaign for campaign in campaigns}
    goal_of = CONNECTORS[account.platform].goal_of
    fresh = []
    for ad in ads:
        group = group_of.get(ad.parent)
        campaign = campaign_of.get(group.parent) if group else None
        fresh.append(measured(tx.vault.named_id, account, (ad, group, campaign), goal_of))
    known = list_measured_ads(tx, account.business_id, {each.ad_id for each in fresh})
    for each in fresh:
        if known.get(each.ad_id) != each:
            measurement.publish_ad(tx, each)
    new = tuple(str(each.ad_number) for each in fresh if each.ad_id not in known)
    if new:
        emit(tx, account.business_id, OutsideAdsMirrored(account.business_id, account.id, new))


def find_known_ads(tx: Tx, business_id: str, ad_numbers: Collection[int]) -> KnownAds:
    """What is known of the ads elsewhere that have one of these numbers."""
    ads = store.list_outside_ads(tx, business_id, ad_numbers)
    accounts = list_outside_accounts(tx, business_id) if ads else []
    return KnownAds(ads, {account.id: account.external_id for account in accounts})
