"""Making a report of an ad account: whom it speaks of, the facts of their ads, and its file."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads import store as ads
from contatto.ads.model import Ad, AdGroup, Campaign, Page, Status, Wanted
from contatto.channels import store as channels
from contatto.channels.model import Platform
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal
from contatto.reports.engines.counts import list_counted_facts
from contatto.reports.model import Fact, Level, Report, ReportRow, Span, Step, Subject
from contatto.reports.registry import ENGINE, METRICS
from contatto.reports.rules.answers import ordered_rows
from contatto.reports.rules.filters import matching
from contatto.reports.rules.queries import Asked, Question, check_metrics, conditions_of, question_of
from contatto.reports.rules.rows import build_report, in_an_app

APPS: Final = frozenset({Platform.WHATSAPP, Platform.MESSENGER, Platform.INSTAGRAM})
"""Messaging apps other than the platform of the ads and our own chat page."""
_NO_PAGES: Final = Page(1, 1_000_000)


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
    subjects = _subjects(ad_account, tree, question.level)
    owners = {ad.id: _owner(ad, tree, question.level) for ad in tree.ads}
    facts = _load_facts(tx, ad_account, question, tree)
    report = build_report(subjects, facts, owners, question.step, by_country=question.by_country)
    return _with_reach(tx, ad_account, question, report) if question.with_reach else report


def _load_facts(tx: Tx, ad_account: AdAccount, question: Question, tree: _Tree) -> list[Fact]:
    mine = (ad_account.business_id, ad_account.id)
    read = ENGINE.list_facts if question.step is Step.HOUR else list_counted_facts
    apps = {one.id for one in channels.list_accounts(tx, ad_account.business_id) if one.platform in APPS}
    in_app = {ad.id for ad in tree.ads if ad.channel_account_id in apps}
    facts = read(tx, *mine, question.span, question.step)
    return [in_an_app(fact) if fact.ad_id in in_app else fact for fact in facts]


def _with_reach(tx: Tx, ad_account: AdAccount, question: Question, report: Report) -> Report:
    by = (question.level, question.step)
    reach = ENGINE.list_reach(tx, ad_account.business_id, ad_account.id, question.span, by)
    rows = [
        replace(row, figures=replace(row.figures, reach=reach.get((row.subject.key, row.day or ""), 0)))
        for row in report.rows
    ]
    return Report(tuple(rows), report.total)


def _load_tree(tx: Tx, ad_account: AdAccount, wanted: Wanted) -> _Tree:
    mine = (ad_account.business_id, ad_account.id)
    campaigns = ads.list_campaigns(tx, *mine, wanted, _NO_PAGES)
    groups = ads.list_ad_groups(tx, *mine, wanted, _NO_PAGES)
    under = ads.list_ads(tx, *mine, wanted, _NO_PAGES)
    return _Tree({one.id: one for one in campaigns}, {one.id: one for one in groups}, under)


def _owner(ad: Ad, tree: _Tree, level: Level) -> str:
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


def _subjects(ad_account: AdAccount, tree: _Tree, level: Level) -> list[Subject]:
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


def _kinds(tree: _Tree, level: Level) -> list[Subject]:
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


def answer_report(tx: Tx, ad_account: AdAccount, asked: Asked) -> list[ReportRow]:
    """The rows that a request asks for, filtered and in its order.

    Raises:
        Refused: INVALID.
    """
    check_metrics(asked, METRICS)
    report = make_report(tx, ad_account, question_of(asked))
    return ordered_rows(matching(report.rows, conditions_of(asked), METRICS), asked, METRICS)
