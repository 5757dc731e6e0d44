"""Making a report of an ad account: whom it speaks of, and the facts of their ads."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads import store as ads
from contatto.ads.model import Ad, AdGroup, Campaign, Page, Status, Wanted
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal
from contatto.reports.model import Level, Report, Span, Subject
from contatto.reports.registry import ENGINE
from contatto.reports.rules.rows import build_report

EVERYTHING: Final = Wanted(statuses=frozenset(Status))
_NO_PAGES: Final = Page(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is asked: days, what a row stands for, of which ads, and whether by day."""

    span: Span
    level: Level = Level.AD_GROUP
    wanted: Wanted = EVERYTHING
    by_day: bool = False


@dataclass(frozen=True, slots=True)
class _Tree:
    """The wanted part of an ad account."""

    campaigns: dict[str, Campaign]
    ad_groups: dict[str, AdGroup]
    ads: list[Ad]


def ad_group_report(
    tx: Tx, business_id: str, ad_account: AdAccount, span: Span, level: Level = Level.AD_GROUP
) -> Report:
    """The report in which conversions follow the goal of each ad group (R47, R52 to R56)."""
    if ad_account.business_id != business_id:
        raise ValueError("the ad account is of another business")
    return make_report(tx, ad_account, Question(span, level))


def make_report(tx: Tx, ad_account: AdAccount, question: Question) -> Report:
    """The answer to a question about an ad account; days are days of its zone."""
    tree = _load_tree(tx, ad_account, question.wanted)
    facts = ENGINE.list_facts(
        tx, ad_account.business_id, ad_account.id, question.span, by_day=question.by_day
    )
    subjects = _subjects(ad_account, tree, question.level)
    owners = {ad.id: _owner(ad, question.level) for ad in tree.ads}
    return build_report(subjects, facts, owners, by_day=question.by_day)


def _load_tree(tx: Tx, ad_account: AdAccount, wanted: Wanted) -> _Tree:
    mine = (ad_account.business_id, ad_account.id)
    campaigns = ads.list_campaigns(tx, *mine, wanted, _NO_PAGES)
    groups = ads.list_ad_groups(tx, *mine, wanted, _NO_PAGES)
    under = ads.list_ads(tx, *mine, wanted, _NO_PAGES)
    return _Tree({one.id: one for one in campaigns}, {one.id: one for one in groups}, under)


def _owner(ad: Ad, level: Level) -> str:
    owners = {
        Level.AD_ACCOUNT: ad.ad_account_id,
        Level.CAMPAIGN: ad.campaign_id,
        Level.AD_GROUP: ad.ad_group_id,
        Level.AD: ad.id,
    }
    return owners[level]


def _subjects(ad_account: AdAccount, tree: _Tree, level: Level) -> list[Subject]:
    if level is Level.AD_ACCOUNT:
        goals = frozenset(group.goal for group in tree.ad_groups.values())
        return [Subject(ad_account.id, level, ad_account.name, goals)]
    if level is Level.CAMPAIGN:
        goals_of = _goals_by_campaign(tree.ad_groups.values())
        return [_campaign(one, goals_of[one.id]) for one in tree.campaigns.values()]
    if level is Level.AD_GROUP:
        return [_ad_group(one, tree.campaigns[one.campaign_id]) for one in tree.ad_groups.values()]
    return [_ad(one, tree.ad_groups[one.ad_group_id], tree.campaigns[one.campaign_id]) for one in tree.ads]


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
        deleted=campaign.status is Status.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
    )


def _ad_group(group: AdGroup, campaign: Campaign) -> Subject:
    return Subject(
        group.id,
        Level.AD_GROUP,
        group.name,
        frozenset({group.goal}),
        deleted=group.status is Status.DELETED,
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
        deleted=ad.status is Status.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        ad_group_number=group.number,
        ad_group_name=group.name,
        ad_number=ad.number,
    )
