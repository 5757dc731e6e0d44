"""Values of the report page, the Ads Manager and the ads of all platforms."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

import sqlalchemy as sa

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ad_platforms.actions import AD_PLATFORMS, find_known_ads
from contatto.ad_platforms.model import AdPlatform, NodeLevel, OutsideAccount, OutsideStatus
from contatto.ad_platforms.store import list_account_ads, list_ad_sums, list_nodes, list_outside_accounts
from contatto.ads.actions.edits import load_outline
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import Goal, MeasuredAd
from contatto.reports import engines, store
from contatto.reports.actions.reports import AdTree, list_subjects, load_tree, with_reach
from contatto.reports.model import (
    Counts,
    DayRange,
    Fact,
    Figures,
    Grain,
    Level,
    ReachQuery,
    Report,
    ReportRow,
    SavedReport,
    Subject,
    TimeStep,
    sum_counts,
    total_of,
)
from contatto.reports.rules.figures import REACH_METRICS, build_report
from contatto.reports.rules.queries import (
    GROUP_LEVELS,
    UNKNOWN_COUNTRY,
    AdSource,
    AdSourceQuery,
    Branch,
    GroupBy,
    OverviewQuery,
    build_branches,
    days_of,
    previous_days,
    span_of,
)

HOURS: Final = tuple(f"{hour:02d}" for hour in range(24))


@dataclass(frozen=True, slots=True)
class GoalPart:
    """Figures of the ad groups of one goal."""

    goal: Goal
    ad_groups: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Overview:
    """Figures of the report page; ``previous`` has those of the previous days by the key of a row.

    ``days`` has every day of the span, ``hours`` only the hours with counts (``YYYY-MM-DD HH``).
    """

    first: date
    last: date
    rows: tuple[ReportRow, ...]
    total: Figures
    by_goal: tuple[GoalPart, ...]
    days: dict[str, Counts]
    hours: dict[str, Counts]
    previous: dict[str, Figures]
    previous_total: Figures | None
    campaigns: list[tuple[str, str]]


def key_of(row: ReportRow, group_by: GroupBy) -> str:
    """Return a key of the row that is the same in other periods."""
    if group_by is GroupBy.COUNTRY:
        return row.country or UNKNOWN_COUNTRY
    return row.day or "" if group_by in (GroupBy.DAY, GroupBy.HOUR) else row.subject.key


def load_overview(tx: Tx, account: AdAccount, query: OverviewQuery, today: date) -> Overview:
    """Load the figures of the report page from one reading of the counts."""
    first, last = days_of(query, today)
    whole_tree = load_tree(tx, account)
    tree = whole_tree.select_campaign(query.campaign)
    report, places, counted = _load_rows(tx, account, tree, query, span_of(first, last), with_hours=True)
    facts = counted.facts
    if query.group_by is GroupBy.DAY:  # one fact for each ad
        sums = sum_counts((fact.ad_id, fact.counts) for fact in facts)
        facts = [Fact(ad_id, "", counts) for ad_id, counts in sums.items()]
    subjects = list_subjects(account, tree, Level.AD_GROUP)
    groups = build_report(subjects, facts, places.owners(Level.AD_GROUP), TimeStep.WHOLE).rows
    previous: Report | None = None
    if query.compare:
        span = span_of(*previous_days(first, last))
        with_hours = query.group_by is GroupBy.HOUR
        previous, _, _ = _load_rows(tx, account, tree, query, span, with_hours=with_hours)
    rows_by_goal = {goal: [row for row in groups if goal in row.figures.goals] for goal in Goal}
    no_counts = {(first + timedelta(days=n)).isoformat(): Counts() for n in range((last - first).days + 1)}
    return Overview(
        first,
        last,
        report.rows,
        replace(total_of(row.figures for row in groups), reach=report.total.reach),
        tuple(
            GoalPart(goal, len(rows), total_of(row.figures for row in rows))
            for goal, rows in rows_by_goal.items()
            if rows
        ),
        no_counts | sum_counts((hour[:10], counts) for hour, counts in counted.hours.items()),
        counted.hours,
        {key_of(row, query.group_by): row.figures for row in previous.rows} if previous else {},
        previous.total if previous else None,
        [(str(campaign.number), campaign.name) for campaign in whole_tree.campaigns.values()],
    )


def _load_rows(
    tx: Tx, account: AdAccount, tree: AdTree, query: OverviewQuery, span: DayRange, *, with_hours: bool
) -> tuple[Report, AdTree, engines.CountedFacts]:
    """Load the rows of some days, with their facts and the tree of these facts.

    Rows by country have ad groups in place of ads, unless only some ads of a group lead to another app.
    """
    places, grain, by_country = tree, Grain.AD_DAY, query.group_by is GroupBy.COUNTRY
    if by_country:
        in_app = {ad.ad_group_id for ad in tree.ads if ad.id in tree.in_app}
        grain = Grain.AD_COUNTRY_DAY
        if not any(ad.ad_group_id in in_app and ad.id not in tree.in_app for ad in tree.ads):
            group_ads = {ad.ad_group_id: replace(ad, id=ad.ad_group_id) for ad in tree.ads}
            places = replace(tree, ads=list(group_ads.values()), in_app=frozenset(in_app))
            grain = Grain.GROUP_COUNTRY_DAY
    hour_grain = Grain.GROUP_HOUR if query.campaign else Grain.ACCOUNT_HOUR
    step = TimeStep.DAY if query.group_by is GroupBy.DAY else TimeStep.WHOLE
    groups = tree.owners(Level.AD_GROUP)
    count_query = engines.CountQuery(grain, step, hour_grain if with_hours else None, groups)
    counted = engines.load_counted(tx, account.business_id, account.id, span, count_query)
    counted = replace(counted, facts=places.select_facts(counted.facts))

    level = GROUP_LEVELS.get(query.group_by, Level.AD_ACCOUNT)
    subjects = list_subjects(account, places, level)
    is_by_hour = query.group_by is GroupBy.HOUR
    if is_by_hour:
        sums = sum_counts((hour[11:], counts) for hour, counts in counted.hours.items())
        figures = {hour: Figures(sums.get(hour, Counts()), subjects[0].goals) for hour in HOURS}
        rows = tuple(ReportRow(subjects[0], hour, hour_figures) for hour, hour_figures in figures.items())
        report = Report(rows, total_of(figures.values()))
    else:
        report = build_report(subjects, counted.facts, places.owners(level), step, by_country=by_country)

    if not REACH_METRICS.isdisjoint(query.columns):
        ad_ids = frozenset(ad.id for ad in tree.ads) if query.campaign else None
        try:
            reached = with_reach(tx, account, report, span, ReachQuery(level, step, by_country, ad_ids))
        except BrokenFile:  # the page names the damaged file
            return report, places, counted
        # rows by hour of the day have no reach
        report = Report(report.rows, reached.total) if is_by_hour else reached
    return report, places, counted


MOST_SAVED: Final = 50
LONGEST_NAME: Final = 60


def save_report_query(
    tx: Tx, owner: tuple[str, str], name: str, query: str, *, is_shared: bool = False
) -> SavedReport:
    """Save a query of the report page. Raises INVALID without a name, or with too many saved reports."""
    business_id, member_id = owner
    title = " ".join(name.split())[:LONGEST_NAME]
    if not title:
        raise Refused(errors.INVALID, "name: Enter a name for the report.")
    tx.hold_key("saved reports", business_id, member_id)
    own = sa.select(sa.func.count()).where(store.saved_reports.c.business_id == business_id)
    if tx.scalar(own.where(store.saved_reports.c.member_id == member_id)) >= MOST_SAVED:
        raise Refused(
            errors.INVALID, "name: You can save up to %(most)s reports. Remove one first.", most=MOST_SAVED
        )
    report = SavedReport(new_id(), business_id, member_id, title, query, is_shared, tx.now)
    tx.insert(store.saved_reports, row_of(report))
    return report


def remove_saved_report(tx: Tx, owner: tuple[str, str], report_id: str) -> None:
    """Remove a member's own saved report. Raises NOT_FOUND, also for a report that another member shares."""
    business_id, member_id = owner
    if not tx.delete(store.saved_reports, business_id, id=report_id, member_id=member_id):
        raise Refused(errors.NOT_FOUND, "Saved report not found.")


def load_branches(tx: Tx, account: AdAccount, span: DayRange) -> tuple[Branch, ...]:
    """Load the ads tree without deleted nodes, newest first; the figures of parents include deleted nodes."""
    tree = load_tree(tx, account)
    counted = engines.list_counted_facts(
        tx, account.business_id, account.id, span, TimeStep.WHOLE, by_country=False
    )
    facts = tree.select_facts(counted)
    figures: dict[str, Figures] = {}
    for level in (Level.CAMPAIGN, Level.AD_GROUP, Level.AD):
        subjects = list_subjects(account, tree, level)
        report = build_report(subjects, facts, tree.owners(level), TimeStep.WHOLE)
        figures |= {row.subject.key: row.figures for row in report.rows}
    return build_branches(load_outline(tx, account), figures)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Row with the platform that shows its ads and the account that pays for them."""

    source: AdSource
    account: str
    row: ReportRow


@dataclass(frozen=True, slots=True)
class CurrencyPart:
    """Rows paid in one currency; amounts of two currencies are never added up."""

    currency: str
    rows: tuple[SourceRow, ...]
    total: Figures


def load_sources(tx: Tx, business_id: str, query: AdSourceQuery) -> tuple[CurrencyPart, ...]:
    """Load the ads of all platforms by the currencies that they are paid in."""
    by_currency: defaultdict[str, list[SourceRow]] = defaultdict(list)
    if query.source in (None, AdSource.CONTATTO):
        span = span_of(query.first, query.last)
        for account in accounts.list_ad_accounts(tx, BusinessId(business_id)):
            tree = load_tree(tx, account)
            facts = engines.list_counted_facts(
                tx, business_id, account.id, span, TimeStep.WHOLE, by_country=False
            )
            subjects, owners = list_subjects(account, tree, query.level), tree.owners(query.level)
            report = build_report(subjects, tree.select_facts(facts), owners, TimeStep.WHOLE)
            by_currency[account.currency] += [
                SourceRow(AdSource.CONTATTO, account.name, row) for row in report.rows
            ]
    for outside in list_outside_accounts(tx, business_id):
        source = AdSource(outside.platform.value)
        if query.source in (None, source):
            name = outside.name or outside.external_id
            rows = _report_outside(tx, outside, query).rows
            by_currency[outside.currency] += [SourceRow(source, name, row) for row in rows]
    parts: list[CurrencyPart] = []
    for currency, source_rows in sorted(by_currency.items()):
        with_goals = [source_row for source_row in source_rows if source_row.row.figures.goals]
        if with_goals:
            total = total_of(source_row.row.figures for source_row in with_goals)
            parts.append(CurrencyPart(currency, tuple(with_goals), total))
    return tuple(parts)


def _report_outside(tx: Tx, account: OutsideAccount, query: AdSourceQuery) -> Report:
    """Join the costs and counts of the platform with the credited chats and leads."""
    ads = list_account_ads(tx, account)
    span = span_of(query.first, query.last)
    credited = engines.list_live_facts(tx, account.business_id, account.id, span, TimeStep.WHOLE)
    # The platform knows the clicks and views of its ads better than we do.
    facts = [
        replace(fact, country="", counts=replace(fact.counts, spend_micros=0, impressions=0, clicks=0))
        for fact in credited
    ]
    sums = list_ad_sums(tx, account, (query.first.isoformat(), query.last.isoformat()))
    facts += [
        Fact(ad.ad_id, "", Counts(paid.spend_micros, paid.impressions, paid.clicks))
        for ad in ads
        if (paid := sums.get(ad.ad_number))
    ]
    nodes = list_nodes(tx, account, NodeLevel.AD)
    live = {node.number for node in nodes if node.status is not OutsideStatus.DELETED}
    ads_by_key: defaultdict[str, list[MeasuredAd]] = defaultdict(list)
    owners: dict[str, str] = {}
    for ad in ads:
        keys = {Level.AD_ACCOUNT: account.id, Level.CAMPAIGN: ad.campaign_id, Level.AD_GROUP: ad.ad_group_id}
        owners[ad.ad_id] = keys.get(query.level, ad.ad_id)
        ads_by_key[owners[ad.ad_id]].append(ad)
    level, has_group = query.level, query.level in (Level.AD_GROUP, Level.AD)
    subjects: list[Subject] = []
    for key, key_ads in ads_by_key.items():
        ad = key_ads[0]
        names = {
            Level.AD_ACCOUNT: account.name or account.external_id,
            Level.CAMPAIGN: ad.campaign_name,
            Level.AD_GROUP: ad.ad_group_name,
        }
        subject = Subject(
            key,
            level,
            names.get(level, ad.ad_name),
            frozenset(key_ad.goal for key_ad in key_ads),
            deleted=not any(key_ad.ad_number in live for key_ad in key_ads),
            campaign_number=0 if level is Level.AD_ACCOUNT else ad.campaign_number,
            campaign_name="" if level is Level.AD_ACCOUNT else ad.campaign_name,
            ad_group_number=ad.ad_group_number if has_group else 0,
            ad_group_name=ad.ad_group_name if has_group else "",
            ad_number=ad.ad_number if level is Level.AD else 0,
        )
        subjects.append(subject)
    return build_report(subjects, facts, owners, TimeStep.WHOLE)


def list_unmatched_ads(tx: Tx, business_id: str, query: AdSourceQuery) -> list[dict[str, Any]]:
    """Return the ads of chats without credit, those with the most chats first.

    ``is_ambiguous`` if several connected accounts have an ad with this number.
    """
    grouped: defaultdict[tuple[AdSource, int, str], list[store.UnmatchedTap]] = defaultdict(list)
    for tap in store.list_unmatched_taps(tx, business_id, (query.first, query.last)):
        platform = AD_PLATFORMS.get(tap.platform)
        if platform is not None and query.source in (None, AdSource(platform.value)):
            grouped[AdSource(platform.value), tap.ad_number, tap.advertiser].append(tap)
    known_ads = find_known_ads(tx, business_id, {number for _, number, _ in grouped})
    person_ids = {tap.person_id for taps in grouped.values() for tap in taps}
    leads = store.count_leads_by_person(tx, business_id, person_ids)
    unmatched_ads = [
        {
            "source": source,
            "ad_number": number,
            "advertiser": advertiser,
            "headline": next((tap.headline for tap in taps if tap.headline), ""),
            "chats": len({tap.conversation_id for tap in taps}),
            "leads": sum(leads.get(person_id, 0) for person_id in {tap.person_id for tap in taps}),
            "is_ambiguous": known_ads.is_ambiguous(AdPlatform(source.value), number),
        }
        for (source, number, advertiser), taps in grouped.items()
    ]
    return sorted(unmatched_ads, key=lambda ad: (-ad["chats"], ad["ad_number"]))


def load_placed(tx: Tx, business_id: str, query: AdSourceQuery) -> list[dict[str, Any]]:
    """Return our ads by placement and currency, the most expensive first; none for other platforms."""
    if query.source not in (None, AdSource.CONTATTO):
        return []
    span = span_of(query.first, query.last)
    sums: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
    for account in accounts.list_ad_accounts(tx, BusinessId(business_id)):
        for fact in engines.list_placed_facts(tx, business_id, account.id, span):
            sums[fact.placement, account.currency] += fact.counts
    rows = sorted(sums.items(), key=lambda row: (row[0][1], -row[1].spend_micros, row[0][0]))
    return [
        {"placement": placement, "currency": currency, "figures": Figures(counts, frozenset())}
        for (placement, currency), counts in rows
    ]
