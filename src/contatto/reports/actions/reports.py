"""Reports of an ad account, their counts, files, and credited conversions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads import store as ads
from contatto.ads.model import Ad, AdGroup, Campaign, NodeFilter, NodeStatus
from contatto.channels import store as channels
from contatto.channels.model import Platform
from contatto.kit import errors
from contatto.kit.db.statements import add_counts
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.exports import ExportFormat, ExportJob, ExportKind, queue_export
from contatto.kit.log import logger
from contatto.kit.table_export import csv_lines
from contatto.kit.values import from_micros, micros
from contatto.leads.model import Lead, LeadsMerged, LeadStatusChanged
from contatto.leads.store.listing import list_leads_by_id
from contatto.measurement import actions as measurement
from contatto.measurement.actions import keep_views, list_cold_files_between, list_touches_ever
from contatto.measurement.engines import sealing
from contatto.measurement.model import Attribution, ConversionKind, CountedEvent, Goal, MeasuredAd, Touch
from contatto.measurement.rules import LATE, local_day, natural_number
from contatto.measurement.store import (
    conversions,
    list_changed_accounts,
    list_changed_days,
    list_dropped_days,
    list_links,
    list_measured_ads,
)
from contatto.reports import engines, model, store
from contatto.reports.rules import figures

SETTLED: Final = LATE + timedelta(minutes=1)
"""Age at which events are counted; a recount adds those that are stored later.

The minute beyond ``LATE`` lets open transactions end.
"""
PAUSE: Final = timedelta(minutes=5)
"""Pause between two counts of an account."""
WORTH: Final = 100
"""Uncounted touches that end the pause."""
UP_TO_DATE: Final = timedelta(days=1)
"""Lag below which an account is not behind."""

type Save = Callable[[Tx], None]

_COUNTING: Final = natural_number("counting days of reports")
"""Advisory lock, so that two workers do not write the same day."""


@dataclass(slots=True)
class DayCounter:
    """Counter of one day at a time: new events, then marked days.

    It reads a day without a lock, and saves the counts unless another worker counted meanwhile. It serves ad
    accounts in turn, so that one with a long history delays no other.
    """

    _last_account: str = field(default="", init=False)
    _broken: set[tuple[str, str, CountedEvent]] = field(default_factory=set, init=False)

    def start_over(self) -> None:
        """Retry damaged files; call it before each run."""
        self._broken.clear()

    def read_next(self, tx: Tx) -> Save | None:
        """Read the next day to count, and return a function that saves it; None if all is counted."""
        for account in _in_turn(list_changed_accounts(tx), self._last_account):
            marks: dict[tuple[str, CountedEvent], list[str]] = defaultdict(list)
            for mark in list_changed_days(tx, *account):
                marks[mark.day, mark.source].append(mark.id)
            for (day, source), mark_ids in sorted(marks.items()):
                if (account[1], day, source) in self._broken:
                    continue
                self._last_account = account[1]
                try:
                    return _recount(tx, account, (day, source, mark_ids))
                except sealing.BrokenFile as error:  # the mark stays until the file is whole
                    logger().error("reports.file_broken", says=str(error))
                    self._broken.add((account[1], day, source))
        until = micros(tx.now - SETTLED)
        accounts = set(engines.list_accounts_behind(tx, until - PAUSE // timedelta(microseconds=1)))
        accounts |= set(engines.list_busy_accounts(tx, until, WORTH))
        for business_id, ad_account_id, timezone in _in_turn(list(accounts), self._last_account):
            self._last_account = ad_account_id
            return _count_on(tx, (business_id, ad_account_id), timezone, until)
        return None


def _in_turn[T: tuple[str, ...]](accounts: Sequence[T], last: str) -> list[T]:
    """Sort accounts by their ids, from the one after the last that was served."""
    accounts = sorted(accounts, key=itemgetter(1))
    return [account for account in accounts if account[1] > last] + [
        account for account in accounts if account[1] <= last
    ]


def counted_until(tx: Tx) -> str | None:
    """Return the first day that some account has not counted in full; None if all are up to date."""
    settled = micros(tx.now - UP_TO_DATE)
    days: list[str] = []
    for business_id, ad_account_id, _ in engines.list_accounts_behind(tx, settled):
        progress = engines.find_progress(tx, business_id, ad_account_id)
        day = progress.day if progress else engines.find_first_day(tx, business_id, ad_account_id)
        days += [day] if day else []
    return min(days, default=None)


def note_lead(tx: Tx, event: LeadStatusChanged | LeadsMerged) -> None:
    """Mark the day of a lead's conversion, to count it again."""
    for lead_id in (event.lead_id, getattr(event, "merged_id", event.lead_id)):
        measurement.mark_conversion(tx, event.business_id, lead_id, ConversionKind.LEAD)


def _recount(tx: Tx, account: tuple[str, str], marked: tuple[str, CountedEvent, list[str]]) -> Save:
    """Count a marked day again; ``marked`` are the day, the kind of events, and the ids of the marks."""
    day, source, mark_ids = marked
    progress = engines.find_progress(tx, *account)
    # a day that is not counted yet needs no new count
    is_counted = progress is not None and day <= progress.day
    events = engines.EventFilter(
        *account, span=model.DayRange(day, day), until_ts=progress.counted_until if progress else None
    )
    rows = _count_events(tx, events, source) if is_counted else None

    def save(tx: Tx) -> None:
        tx.advisory_locks([_COUNTING])
        is_same = engines.find_progress(tx, *account) == progress
        if not is_same or not measurement.take_marks(tx, account[0], mark_ids) or rows is None:
            return
        counts = engines.report_counts
        tx.execute(
            counts.delete().where(
                counts.c.business_id == account[0],
                counts.c.ad_account_id == account[1],
                counts.c.grain.in_(model.Grain),
                counts.c.day == day,
                counts.c.source == source,
            )
        )
        if rows:
            tx.execute(counts.insert(), rows)

    return save


def _count_on(tx: Tx, account: tuple[str, str], timezone: str, until: int) -> Save:
    """Count new events of an account, up to a moment or to the end of the day."""
    progress = engines.find_progress(tx, *account)
    last = local_day(until, timezone)
    day = (progress.day if progress else engines.find_first_day(tx, *account)) or last
    reached = engines.CountingProgress(*account, until, last)
    if day < last:
        next_day = date.fromisoformat(day) + timedelta(days=1)
        midnight = datetime(next_day.year, next_day.month, next_day.day, tzinfo=ZoneInfo(timezone))
        reached = engines.CountingProgress(*account, micros(midnight), next_day.isoformat())
    since = progress.counted_until if progress else None
    events = engines.EventFilter(
        *account, span=model.DayRange(), since_ts=since, until_ts=reached.counted_until
    )
    events_of_day = replace(events, span=model.DayRange(day, day), days=frozenset({day}))
    touches = _count_events(tx, events_of_day, CountedEvent.TOUCH)
    conversions = _count_events(tx, events, CountedEvent.CONVERSION)

    def save(tx: Tx) -> None:
        tx.advisory_locks([_COUNTING])
        if engines.find_progress(tx, *account) == progress:
            add_counts(tx, engines.report_counts, model.STORED, touches)
            add_counts(tx, engines.report_counts, model.STORED, conversions)
            tx.save(engines.report_progress, row_of(reached), changes=("counted_until", "day"))

    return save


def _count_events(tx: Tx, events: engines.EventFilter, source: CountedEvent) -> list[dict[str, Any]]:
    """Add up events by ad, country and hour into rows of ``report_counts`` of all grains."""
    facts = engines.list_raw_facts(tx, events, source, model.TimeStep.HOUR)
    ads = list_measured_ads(tx, events.business_id, {fact.ad_id for fact in facts}) if facts else {}
    groups = {ad.ad_id: ad.ad_group_id for ad in ads.values()}
    by_hour = model.sum_counts(((fact.ad_id, fact.country, fact.day), fact.counts) for fact in facts)
    sums = model.sum_counts(
        (place, counts)
        for (ad_id, country, day_and_hour), counts in by_hour.items()
        for day, hour in (day_and_hour.split(),)
        for place in (
            (model.Grain.AD_DAY, day, "", ad_id, ""),
            (model.Grain.AD_COUNTRY_DAY, day, "", ad_id, country),
            (model.Grain.GROUP_COUNTRY_DAY, day, "", groups[ad_id], country),
            (model.Grain.GROUP_HOUR, day, hour, groups[ad_id], ""),
            (model.Grain.ACCOUNT_HOUR, day, hour, events.ad_account_id, ""),
        )
    )
    account = {"business_id": events.business_id, "ad_account_id": events.ad_account_id, "source": source}
    rows: list[dict[str, Any]] = []
    for (grain, day, hour, place_id, country), counts in sums.items():
        key = {"grain": grain, "day": day, "hour": hour, "place_id": place_id, "country": country}
        rows.append(account | key | {name: getattr(counts, name) for name in model.STORED})
    return rows


APPS: Final = frozenset({Platform.WHATSAPP, Platform.MESSENGER, Platform.INSTAGRAM})
"""Messaging apps other than the platform of the ads and our own chat page."""
_OWNER_FIELDS: Final = {
    model.Level.AD_ACCOUNT: "ad_account_id",
    model.Level.CAMPAIGN: "campaign_id",
    model.Level.AD_GROUP: "ad_group_id",
    model.Level.AD: "id",
}


@dataclass(frozen=True, slots=True)
class AdTree:
    """Campaigns, ad groups and ads of an account; ``in_app`` are ads that lead to another messaging app."""

    campaigns: dict[str, Campaign]
    ad_groups: dict[str, AdGroup]
    ads: list[Ad]
    in_app: frozenset[str]

    def select_campaign(self, number: str) -> "AdTree":
        """Return the part of one campaign; an empty number selects all."""
        if not number:
            return self
        campaigns = {
            key: campaign for key, campaign in self.campaigns.items() if str(campaign.number) == number
        }
        groups = {key: group for key, group in self.ad_groups.items() if group.campaign_id in campaigns}
        return AdTree(campaigns, groups, [ad for ad in self.ads if ad.campaign_id in campaigns], self.in_app)

    def owners(self, level: model.Level) -> dict[str, str]:
        """Return the subject's key by ad id."""
        if level is model.Level.GOAL:
            return {ad.id: self.ad_groups[ad.ad_group_id].goal.value for ad in self.ads}
        if level is model.Level.PAGE:
            return {ad.id: ad.page_id or self.ad_groups[ad.ad_group_id].page_id for ad in self.ads}
        return {ad.id: getattr(ad, _OWNER_FIELDS[level]) for ad in self.ads}

    def select_facts(self, facts: Iterable[model.Fact]) -> list[model.Fact]:
        """Return the facts of these ads, with their conversations in other messaging apps."""
        ad_ids = {ad.id for ad in self.ads}
        return [
            replace(fact, counts=replace(fact.counts, app_conversations=fact.counts.conversations))
            if fact.ad_id in self.in_app
            else fact
            for fact in facts
            if fact.ad_id in ad_ids
        ]


def load_tree(tx: Tx, ad_account: AdAccount, nodes: NodeFilter = figures.ALL_NODES) -> AdTree:
    account = (ad_account.business_id, ad_account.id)
    campaigns = ads.list_nodes(tx, Campaign, *account, nodes)
    groups = ads.list_nodes(tx, AdGroup, *account, nodes)
    tree_ads = ads.list_nodes(tx, Ad, *account, nodes)
    channel_accounts = channels.list_accounts(tx, ad_account.business_id)
    apps = {channel_account.id for channel_account in channel_accounts if channel_account.platform in APPS}
    return AdTree(
        {campaign.id: campaign for campaign in campaigns},
        {group.id: group for group in groups},
        tree_ads,
        frozenset(ad.id for ad in tree_ads if ad.channel_account_id in apps),
    )


def list_subjects(ad_account: AdAccount, tree: AdTree, level: model.Level) -> list[model.Subject]:
    if level is model.Level.AD_ACCOUNT:
        account_goals = frozenset(group.goal for group in tree.ad_groups.values())
        return [model.Subject(ad_account.id, level, ad_account.name, account_goals)]
    if level in (model.Level.PAGE, model.Level.GOAL):
        goals: defaultdict[str, set[Goal]] = defaultdict(set)
        owners = tree.owners(level)
        for ad in tree.ads:
            goals[owners[ad.id]].add(tree.ad_groups[ad.ad_group_id].goal)
        return [model.Subject(key, level, key, frozenset(key_goals)) for key, key_goals in goals.items()]
    campaign_goals: defaultdict[str, frozenset[Goal]] = defaultdict(frozenset)
    for group in tree.ad_groups.values():
        campaign_goals[group.campaign_id] |= {group.goal}
    campaigns = {
        campaign.id: model.Subject(
            campaign.id,
            model.Level.CAMPAIGN,
            campaign.name,
            campaign_goals[campaign.id],
            deleted=campaign.status is NodeStatus.DELETED,
            campaign_number=campaign.number,
            campaign_name=campaign.name,
        )
        for campaign in tree.campaigns.values()
    }
    if level is model.Level.CAMPAIGN:
        return list(campaigns.values())
    groups = {
        group.id: replace(
            campaigns[group.campaign_id],
            key=group.id,
            level=model.Level.AD_GROUP,
            name=group.name,
            goals=frozenset({group.goal}),
            deleted=group.status is NodeStatus.DELETED,
            ad_group_number=group.number,
            ad_group_name=group.name,
        )
        for group in tree.ad_groups.values()
    }
    if level is model.Level.AD_GROUP:
        return list(groups.values())
    return [
        replace(
            groups[ad.ad_group_id],
            key=ad.id,
            level=model.Level.AD,
            name=ad.name,
            deleted=ad.status is NodeStatus.DELETED,
            ad_number=ad.number,
        )
        for ad in tree.ads
    ]


def make_report(tx: Tx, ad_account: AdAccount, spec: figures.ReportSpec) -> model.Report:
    """Build the report of an ad account; days are those of its zone."""
    tree = load_tree(tx, ad_account, spec.nodes)
    subjects, owners = list_subjects(ad_account, tree, spec.level), tree.owners(spec.level)
    account = (ad_account.business_id, ad_account.id)
    if spec.by_placement:
        facts = engines.list_placed_facts(tx, *account, spec.span)
        group_owners = {ad.ad_group_id: owners[ad.id] for ad in tree.ads}
        return figures.build_report(subjects, facts, group_owners, spec.step, by_placement=True)
    if spec.step is model.TimeStep.HOUR:
        facts = engines.list_live_facts(tx, *account, spec.span, spec.step)
    else:
        broken = engines.list_unreadable(
            tx, engines.EventFilter(*account, span=spec.span), list_changed_days(tx, *account)
        )
        if broken:
            raise broken[0]
        facts = engines.list_counted_facts(tx, *account, spec.span, spec.step, by_country=spec.by_country)
    facts = tree.select_facts(facts)
    report = figures.build_report(subjects, facts, owners, spec.step, by_country=spec.by_country)
    if not spec.with_reach:
        return report
    ad_ids = None if spec.nodes == figures.ALL_NODES else frozenset(ad.id for ad in tree.ads)
    query = model.ReachQuery(spec.level, spec.step, spec.by_country, ad_ids)
    return with_reach(tx, ad_account, report, spec.span, query)


def with_reach(
    tx: Tx, ad_account: AdAccount, report: model.Report, span: model.DayRange, query: model.ReachQuery
) -> model.Report:
    """Add to each row of a report, and to its total, the number of persons who saw the ads."""
    reach, total_reach = engines.list_reach(tx, ad_account.business_id, ad_account.id, span, query)
    rows: list[model.ReportRow] = []
    for row in report.rows:
        count = reach.get((row.subject.key, row.day or "", row.country), 0)
        rows.append(replace(row, figures=replace(row.figures, reach=count)))
    return model.Report(tuple(rows), replace(report.total, reach=total_reach))


def answer_report(tx: Tx, ad_account: AdAccount, body: figures.ReportBody) -> model.Report:
    """Build the report of a request; the total has no reach if a filter leaves out rows. Raises INVALID."""
    report = make_report(tx, ad_account, figures.read_spec(body))
    rows = figures.filter_rows(report.rows, body.filtering)
    total = report.total if len(rows) == len(report.rows) else model.total_of(row.figures for row in rows)
    name, is_descending = body.order_field, body.order_type == "DESC"
    if name in model.METRICS:
        rows = figures.sort_by_metric(rows, model.METRICS[name], is_descending=is_descending)
    elif name:
        rows.sort(key=lambda row: figures.dimension_text(row, name), reverse=is_descending)
    return model.Report(tuple(rows), total)


def queue_report(tx: Tx, ad_account: AdAccount, body: figures.ReportBody, file_name: str) -> ExportJob:
    """Queue a report file for the worker. Raises INVALID."""
    figures.read_spec(body)
    figures.filter_rows([], body.filtering)
    name = file_name.strip() or "report"
    business_id, request = ad_account.business_id, body.model_dump_json()
    return queue_export(tx, ExportKind.REPORT, business_id, ad_account.id, request, name)


def render_report(tx: Tx, job: ExportJob) -> tuple[bytes, str]:
    body = figures.ReportBody.model_validate_json(job.request)
    account = accounts.find_ad_account(tx, BusinessId(job.business_id), id=job.ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    try:
        report = answer_report(tx, account, body)
    except sealing.BrokenFile as error:
        message = f"The archive file {error.file.name} is missing or damaged. {errors.FILE_BAD.remedy}"
        raise Refused(errors.FILE_BAD, message) from error
    names = (*body.dimensions, *body.metrics)
    rows = [figures.row_texts(row, account, body) for row in report.rows]
    lines = [[(dimensions | metrics)[name] for name in names] for dimensions, metrics in rows]
    return b"".join(csv_lines([names, *lines])), "csv"


REPORT_FILES: Final = ExportFormat(render_report, link=timedelta(days=30), keep=timedelta(days=30))


MOST_TOUCHES: Final = 500


@dataclass(frozen=True, slots=True)
class ConversionTrace:
    conversion: Attribution
    lead: Lead | None
    touches: list[tuple[Touch, figures.TouchVerdict]]
    ads: dict[str, MeasuredAd]
    broken: list[sealing.BrokenFile]


def trace_conversion(tx: Tx, business_id: str, conversion_id: int) -> ConversionTrace:
    query = sa.select(conversions).where(conversions.c.business_id == business_id)
    query = query.where(conversions.c.conversion_id == conversion_id)
    attribution = check_found(tx.find(Attribution, query), "Conversion not found.")
    touches, broken = list_touches_ever(tx, business_id, attribution.person_id, MOST_TOUCHES)
    judged_touches = figures.judge_touches(touches, attribution)
    lead_ids = {attribution.subject_id} if attribution.kind is ConversionKind.LEAD else set[str]()
    lead = list_leads_by_id(tx, business_id, lead_ids).get(attribution.subject_id)
    ads = list_measured_ads(tx, business_id, {touch.ad_id for touch, _ in judged_touches})
    return ConversionTrace(attribution, lead, judged_touches, ads, broken)


MOST_LISTED: Final = 50
"""Changed conversions that a what-if lists; it counts all of them."""


def compare_windows(
    tx: Tx, account: AdAccount, between: tuple[int, int], windows: figures.WhatIfWindows
) -> tuple[figures.WhatIf, list[sealing.BrokenFile]]:
    """Compare stored winners in a span of microseconds with those of other windows; list damaged files."""
    business_id, view_days = account.business_id, windows.view_days
    keep_views(tx)
    first, last = (from_micros(edge) for edge in between)
    since = first - timedelta(days=view_days)
    files = list_cold_files_between(tx, business_id, since, last) if view_days else []
    rivals: Iterable[figures.RivalTouches] = store.list_rival_touches(
        tx, business_id, account.id, between, windows
    )
    views: dict[int, Touch] = {}
    broken: list[sealing.BrokenFile] = []
    if files:
        rivals = list(rivals)
        links = list_links(tx, business_id)
        moments = [
            sealing.Moment(rival.conversion_id, user_id, rival.ts)
            for rival in rivals
            for user_id in (rival.person_id, *links.get(rival.person_id, ()))
        ]
        views, broken = sealing.load_whole(
            files,
            lambda batch: sealing.find_latest_views(batch, business_id, moments, view_days * store.DAY_US),
        )
    winners = (rival.apply_policy(windows.policy, views.get(rival.conversion_id)) for rival in rivals)
    return figures.compare_winners(winners, MOST_LISTED), broken


def list_gaps(tx: Tx, account: AdAccount, first: date, last: date) -> list[tuple[sealing.BrokenFile, bool]]:
    """Return the damaged files of some days, and whether the database still has the whole day.

    If this machine lacks the folder of a file, the file counts only if the database dropped its views.
    """
    broken = sealing.list_broken(
        sealing.list_sealed_files(tx, sealing.sealed_files.c.day.between(first.isoformat(), last.isoformat()))
    )
    if not broken:
        return []
    dropped_days = set(list_dropped_days(tx, account.business_id, account.id))
    gaps: list[tuple[sealing.BrokenFile, bool]] = []
    for error in broken:
        is_kept = error.file.day not in dropped_days or error.file.dropped_through < 0
        if not is_kept or Path(error.file.folder).is_dir():
            gaps.append((error, is_kept))
    return gaps
