"""The campaigns, ad groups and ads that a report speaks of, and which of them each ad counts for."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads import store as ads
from contatto.ads.model import Ad, AdGroup, Campaign, NodeFilter, NodeStatus, Page
from contatto.channels import store as channels
from contatto.channels.model import Platform
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal
from contatto.reports.model import Fact, Level, Subject
from contatto.reports.rules.rows import in_an_app

APPS: Final = frozenset({Platform.WHATSAPP, Platform.MESSENGER, Platform.INSTAGRAM})
"""Messaging apps other than the platform of the ads and our own chat page."""
_NO_PAGES: Final = Page(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Tree:
    """The wanted part of an ad account."""

    campaigns: dict[str, Campaign]
    ad_groups: dict[str, AdGroup]
    ads: list[Ad]
    in_app: frozenset[str]
    """Ads that lead to another messaging app."""

    @property
    def groups(self) -> dict[str, str]:
        """The ad group of each ad."""
        return {ad.id: ad.ad_group_id for ad in self.ads}

    def of_groups(self) -> "Tree | None":
        """The same where ad groups stand for their ads; None if one has ads in another app, and others."""
        first = {ad.ad_group_id: ad for ad in self.ads}
        in_app = {ad.ad_group_id for ad in self.ads if ad.id in self.in_app}
        if any(ad.ad_group_id in in_app and ad.id not in self.in_app for ad in self.ads):
            return None
        ads = [replace(ad, id=group_id) for group_id, ad in first.items()]
        return replace(self, ads=ads, in_app=frozenset(in_app))

    def owners(self, level: Level) -> dict[str, str]:
        """What each ad counts for."""
        return {ad.id: _owner(ad, self, level) for ad in self.ads}

    def owners_of_groups(self, level: Level) -> dict[str, str]:
        """What each ad group counts for, at its own level or above."""
        return {ad.ad_group_id: _owner(ad, self, level) for ad in self.ads}

    def wanted(self, facts: Iterable[Fact]) -> list[Fact]:
        """The facts of these ads; it is known of each whether its chats are in another app."""
        known = {ad.id for ad in self.ads}
        return [
            in_an_app(fact) if fact.ad_id in self.in_app else fact for fact in facts if fact.ad_id in known
        ]


def load_tree(tx: Tx, ad_account: AdAccount, wanted: NodeFilter) -> Tree:
    mine = (ad_account.business_id, ad_account.id)
    campaigns = ads.list_campaigns(tx, *mine, wanted, _NO_PAGES)
    groups = ads.list_ad_groups(tx, *mine, wanted, _NO_PAGES)
    under = ads.list_ads(tx, *mine, wanted, _NO_PAGES)
    apps = {one.id for one in channels.list_accounts(tx, ad_account.business_id) if one.platform in APPS}
    in_app = frozenset(ad.id for ad in under if ad.channel_account_id in apps)
    return Tree({one.id: one for one in campaigns}, {one.id: one for one in groups}, under, in_app)


def _owner(ad: Ad, tree: Tree, level: Level) -> str:
    group = tree.ad_groups[ad.ad_group_id]
    owners = {
        Level.AD_ACCOUNT: ad.ad_account_id,
        Level.PAGE: ad.page_id or group.page_id,
        Level.GOAL: group.goal.value,
        Level.CAMPAIGN: ad.campaign_id,
        Level.AD_GROUP: ad.ad_group_id,
        Level.AD: ad.id,
    }
    return owners[level]


def subjects_of(ad_account: AdAccount, tree: Tree, level: Level) -> list[Subject]:
    if level is Level.AD_ACCOUNT:
        goals = frozenset(group.goal for group in tree.ad_groups.values())
        return [Subject(ad_account.id, level, ad_account.name, goals)]
    if level in (Level.PAGE, Level.GOAL):
        return _kinds(tree, level)
    if level is Level.CAMPAIGN:
        goals_of = _goals_by_campaign(tree.ad_groups.values())
        return [_campaign(one, goals_of[one.id]) for one in tree.campaigns.values()]
    if level is Level.AD_GROUP:
        return [_ad_group(one, tree.campaigns[one.campaign_id]) for one in tree.ad_groups.values()]
    return [_ad(one, tree.ad_groups[one.ad_group_id], tree.campaigns[one.campaign_id]) for one in tree.ads]


def _kinds(tree: Tree, level: Level) -> list[Subject]:
    """Instant forms or goals, each with the goals of the ad groups that have it."""
    goals: defaultdict[str, set[Goal]] = defaultdict(set)
    for ad in tree.ads:
        goals[_owner(ad, tree, level)].add(tree.ad_groups[ad.ad_group_id].goal)
    return [Subject(key, level, key, frozenset(found)) for key, found in goals.items()]


def _goals_by_campaign(groups: Iterable[AdGroup]) -> defaultdict[str, frozenset[Goal]]:
    goals: defaultdict[str, frozenset[Goal]] = defaultdict(frozenset)
    for group in groups:
        goals[group.campaign_id] |= {group.goal}
    return goals


def _campaign(campaign: Campaign, goals: frozenset[Goal]) -> Subject:
    return Subject(
        campaign.id,
        Level.CAMPAIGN,
        campaign.name,
        goals,
        deleted=campaign.status is NodeStatus.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
    )


def _ad_group(group: AdGroup, campaign: Campaign) -> Subject:
    return Subject(
        group.id,
        Level.AD_GROUP,
        group.name,
        frozenset({group.goal}),
        deleted=group.status is NodeStatus.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        ad_group_number=group.number,
        ad_group_name=group.name,
    )


def _ad(ad: Ad, group: AdGroup, campaign: Campaign) -> Subject:
    return Subject(
        ad.id,
        Level.AD,
        ad.name,
        frozenset({group.goal}),
        deleted=ad.status is NodeStatus.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        ad_group_number=group.number,
        ad_group_name=group.name,
        ad_number=ad.number,
    )
