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
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import Goal, MeasuredAd
from contatto.reports import engines, model, store
from contatto.reports.actions.reports import AdTree, list_subjects, load_tree, with_reach
from contatto.reports.rules import queries
from contatto.reports.rules.figures import REACH_METRICS, build_report

HOURS: Final = tuple(f"{hour:02d}" for hour in range(24))


@dataclass(frozen=True, slots=True)
class GoalPart:
    goal: Goal
    ad_groups: int
    figures: model.Figures


@dataclass(frozen=True, slots=True)
class Overview:
    """Figures of the report page; ``previous`` has those of the previous days by the key of a row.

    ``days`` has every day of the span, ``hours`` only the hours with counts (``YYYY-MM-DD HH``).
    """

    first: date
    last: date
    rows: tuple[model.ReportRow, ...]
    total: model.Figures
    by_goal: tuple[GoalPart, ...]
    days: dict[str, model.Counts]
    hours: dict[str, model.Counts]
    previous: dict[str, model.Figures]
    previous_total: model.Figures | None
    campaigns: list[tuple[str, str]]


def key_of(row: model.ReportRow, group_by: queries.GroupBy) -> str:
    """Return a key of the row that is the same in other periods."""
    if group_by is queries.GroupBy.COUNTRY:
        return row.country or queries.UNKNOWN_COUNTRY
    return row.day or "" if group_by in (queries.GroupBy.DAY, queries.GroupBy.HOUR) else row.subject.key


def load_overview(tx: Tx, account: AdAccount, query: queries.OverviewQuery, today: date) -> Overview:
    """Load the figures of the report page from one reading of the counts."""
    first, last = queries.days_of(query, today)
    whole_tree = load_tree(tx, account)
    tree = whole_tree.select_campaign(query.campaign)
    span = queries.span_of(first, last)
    report, places, (facts, hours) = _load_rows(tx, account, tree, query, span, with_hours=True)
    if query.group_by is queries.GroupBy.DAY:  # one fact for each ad
        sums = model.sum_counts((fact.ad_id, fact.counts) for fact in facts)
        facts = [model.Fact(ad_id, "", counts) for ad_id, counts in sums.items()]
    subjects = list_subjects(account, tree, model.Level.AD_GROUP)
    groups = build_report(subjects, facts, places.owners(model.Level.AD_GROUP), model.TimeStep.WHOLE).rows
    previous: model.Report | None = None
    if query.compare:
        span = queries.span_of(*queries.previous_days(first, last))
        with_hours = query.group_by is queries.GroupBy.HOUR
        previous, _, _ = _load_rows(tx, account, tree, query, span, with_hours=with_hours)
    rows_by_goal = {goal: [row for row in groups if goal in row.figures.goals] for goal in Goal}
    no_counts = {
        (first + timedelta(days=n)).isoformat(): model.Counts() for n in range((last - first).days + 1)
    }
    return Overview(
        first,
        last,
        report.rows,
        replace(model.total_of(row.figures for row in groups), reach=report.total.reach),
        tuple(
            GoalPart(goal, len(rows), model.total_of(row.figures for row in rows))
            for goal, rows in rows_by_goal.items()
            if rows
        ),
        no_counts | model.sum_counts((hour[:10], counts) for hour, counts in hours.items()),
        hours,
        {key_of(row, query.group_by): row.figures for row in previous.rows} if previous else {},
        previous.total if previous else None,
        [(str(campaign.number), campaign.name) for campaign in whole_tree.campaigns.values()],
    )


def _load_rows(
    tx: Tx,
    account: AdAccount,
    tree: AdTree,
    query: queries.OverviewQuery,
    span: model.DayRange,
    *,
    with_hours: bool,
) -> tuple[model.Report, AdTree, engines.CountedFacts]:
    """Load the rows of some days, with their facts and the tree of these facts.

    Rows by country have ad groups in place of ads, unless only some ads of a group lead to another app.
    """
    places, grain, by_country = tree, model.Grain.AD_DAY, query.group_by is queries.GroupBy.COUNTRY
    if by_country:
        in_app = {ad.ad_group_id for ad in tree.ads if ad.id in tree.in_app}
        grain = model.Grain.AD_COUNTRY_DAY
        if not any(ad.ad_group_id in in_app and ad.id not in tree.in_app for ad in tree.ads):
            group_ads = {ad.ad_group_id: replace(ad, id=ad.ad_group_id) for ad in tree.ads}
            places = replace(tree, ads=list(group_ads.values()), in_app=frozenset(in_app))
            grain = model.Grain.GROUP_COUNTRY_DAY
    hour_grain = model.Grain.GROUP_HOUR if query.campaign else model.Grain.ACCOUNT_HOUR
    step = model.TimeStep.DAY if query.group_by is queries.GroupBy.DAY else model.TimeStep.WHOLE
    groups = tree.owners(model.Level.AD_GROUP)
    count_query = engines.CountQuery(grain, step, hour_grain if with_hours else None, groups)
    facts, hours = engines.load_counted(tx, account.business_id, account.id, span, count_query)
    facts = places.select_facts(facts)

    level = queries.GROUP_LEVELS.get(query.group_by, model.Level.AD_ACCOUNT)
    subjects = list_subjects(account, places, level)
    is_by_hour = query.group_by is queries.GroupBy.HOUR
    if is_by_hour:
        sums = model.sum_counts((hour[11:], counts) for hour, counts in hours.items())
        figures = {hour: model.Figures(sums.get(hour, model.Counts()), subjects[0].goals) for hour in HOURS}
        rows = tuple(
            model.ReportRow(subjects[0], hour, hour_figures) for hour, hour_figures in figures.items()
        )
        report = model.Report(rows, model.total_of(figures.values()))
    else:
        report = build_report(subjects, facts, places.owners(level), step, by_country=by_country)

    if not REACH_METRICS.isdisjoint(query.columns):
        ad_ids = frozenset(ad.id for ad in tree.ads) if query.campaign else None
        try:
            reached = with_reach(tx, account, report, span, model.ReachQuery(level, step, by_country, ad_ids))
        except BrokenFile:  # the page names the damaged file
            return report, places, (facts, hours)
        # rows by hour of the day have no reach
        report = model.Report(report.rows, reached.total) if is_by_hour else reached
    return report, places, (facts, hours)


MOST_SAVED: Final = 50
LONGEST_NAME: Final = 60


def save_report_query(
    tx: Tx, owner: tuple[str, str], name: str, query: str, *, is_shared: bool = False
) -> model.SavedReport:
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
    report = model.SavedReport(new_id(), business_id, member_id, title, query, is_shared, tx.now)
    tx.insert(store.saved_reports, row_of(report))
    return report


def remove_saved_report(tx: Tx, owner: tuple[str, str], report_id: str) -> None:
    """Remove a member's own saved report. Raises NOT_FOUND, also for a report that another member shares."""
    business_id, member_id = owner
    if not tx.delete(store.saved_reports, business_id, id=report_id, member_id=member_id):
        raise Refused(errors.NOT_FOUND, "Saved report not found.")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Row with the platform that shows its ads and the account that pays for them."""

    source: queries.AdSource
    account: str
    row: model.ReportRow


@dataclass(frozen=True, slots=True)
class CurrencyPart:
    """Rows paid in one currency; amounts of two currencies are never added up."""

    currency: str
    rows: tuple[SourceRow, ...]
    total: model.Figures


def load_sources(tx: Tx, business_id: str, query: queries.AdSourceQuery) -> tuple[CurrencyPart, ...]:
    """Load the ads of all platforms by the currencies that they are paid in."""
    by_currency: defaultdict[str, list[SourceRow]] = defaultdict(list)
    if query.source in (None, queries.AdSource.CONTATTO):
        span = queries.span_of(query.first, query.last)
        for account in accounts.list_ad_accounts(tx, BusinessId(business_id)):
            tree = load_tree(tx, account)
            facts = engines.list_counted_facts(
                tx, business_id, account.id, span, model.TimeStep.WHOLE, by_country=False
            )
            subjects, owners = list_subjects(account, tree, query.level), tree.owners(query.level)
            report = build_report(subjects, tree.select_facts(facts), owners, model.TimeStep.WHOLE)
            by_currency[account.currency] += [
                SourceRow(queries.AdSource.CONTATTO, account.name, row) for row in report.rows
            ]
    for outside in list_outside_accounts(tx, business_id):
        source = queries.AdSource(outside.platform.value)
        if query.source in (None, source):
            name = outside.name or outside.external_id
            rows = _report_outside(tx, outside, query).rows
            by_currency[outside.currency] += [SourceRow(source, name, row) for row in rows]
    parts: list[CurrencyPart] = []
    for currency, source_rows in sorted(by_currency.items()):
        with_goals = [source_row for source_row in source_rows if source_row.row.figures.goals]
        if with_goals:
            total = model.total_of(source_row.row.figures for source_row in with_goals)
            parts.append(CurrencyPart(currency, tuple(with_goals), total))
    return tuple(parts)


def _report_outside(tx: Tx, account: OutsideAccount, query: queries.AdSourceQuery) -> model.Report:
    """Join the costs and counts of the platform with the credited chats and leads."""
    ads = list_account_ads(tx, account)
    span = queries.span_of(query.first, query.last)
    credited = engines.list_live_facts(tx, account.business_id, account.id, span, model.TimeStep.WHOLE)
    # The platform knows the clicks and views of its ads better than we do.
    facts = [
        replace(fact, country="", counts=replace(fact.counts, spend_micros=0, impressions=0, clicks=0))
        for fact in credited
    ]
    sums = list_ad_sums(tx, account, (query.first.isoformat(), query.last.isoformat()))
    facts += [
        model.Fact(ad.ad_id, "", model.Counts(paid.spend_micros, paid.impressions, paid.clicks))
        for ad in ads
        if (paid := sums.get(ad.ad_number))
    ]
    nodes = list_nodes(tx, account, NodeLevel.AD)
    live = {node.number for node in nodes if node.status is not OutsideStatus.DELETED}
    ads_by_key: defaultdict[str, list[MeasuredAd]] = defaultdict(list)
    owners: dict[str, str] = {}
    for ad in ads:
        keys = {
            model.Level.AD_ACCOUNT: account.id,
            model.Level.CAMPAIGN: ad.campaign_id,
            model.Level.AD_GROUP: ad.ad_group_id,
        }
        owners[ad.ad_id] = keys.get(query.level, ad.ad_id)
        ads_by_key[owners[ad.ad_id]].append(ad)
    level, has_group = query.level, query.level in (model.Level.AD_GROUP, model.Level.AD)
    subjects: list[model.Subject] = []
    for key, key_ads in ads_by_key.items():
        ad = key_ads[0]
        names = {
            model.Level.AD_ACCOUNT: account.name or account.external_id,
            model.Level.CAMPAIGN: ad.campaign_name,
            model.Level.AD_GROUP: ad.ad_group_name,
        }
        subject = model.Subject(
            key,
            level,
            names.get(level, ad.ad_name),
            frozenset(key_ad.goal for key_ad in key_ads),
            deleted=not any(key_ad.ad_number in live for key_ad in key_ads),
            campaign_number=0 if level is model.Level.AD_ACCOUNT else ad.campaign_number,
            campaign_name="" if level is model.Level.AD_ACCOUNT else ad.campaign_name,
            ad_group_number=ad.ad_group_number if has_group else 0,
            ad_group_name=ad.ad_group_name if has_group else "",
            ad_number=ad.ad_number if level is model.Level.AD else 0,
        )
        subjects.append(subject)
    return build_report(subjects, facts, owners, model.TimeStep.WHOLE)


def list_unmatched_ads(tx: Tx, business_id: str, query: queries.AdSourceQuery) -> list[dict[str, Any]]:
    """Return the ads of chats without credit, most chats first; two accounts may have an ambiguous one."""
    grouped: defaultdict[tuple[queries.AdSource, int, str], list[store.UnmatchedTap]] = defaultdict(list)
    for tap in store.list_unmatched_taps(tx, business_id, (query.first, query.last)):
        platform = AD_PLATFORMS.get(tap.platform)
        if platform is not None and query.source in (None, queries.AdSource(platform.value)):
            grouped[queries.AdSource(platform.value), tap.ad_number, tap.advertiser].append(tap)
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


def load_placed(tx: Tx, business_id: str, query: queries.AdSourceQuery) -> list[dict[str, Any]]:
    """Return our ads by placement and currency, the most expensive first; none for other platforms."""
    if query.source not in (None, queries.AdSource.CONTATTO):
        return []
    span = queries.span_of(query.first, query.last)
    sums: defaultdict[tuple[str, str], model.Counts] = defaultdict(model.Counts)
    for account in accounts.list_ad_accounts(tx, BusinessId(business_id)):
        for fact in engines.list_placed_facts(tx, business_id, account.id, span):
            sums[fact.placement, account.currency] += fact.counts
    rows = sorted(sums.items(), key=lambda row: (row[0][1], -row[1].spend_micros, row[0][0]))
    return [
        {"placement": placement, "currency": currency, "figures": model.Figures(counts, frozenset())}
        for (placement, currency), counts in rows
    ]
