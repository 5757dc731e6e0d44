"""All that the report page shows, from one reading of the counts: rows, totals, days, hours, days before."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads.model import NodeFilter, NodeStatus
from contatto.kit.db.tx import Tx
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import Goal
from contatto.reports.actions.answers import with_reach
from contatto.reports.actions.subjects import Tree, load_tree, subjects_of
from contatto.reports.engines.counted import Wanted, load_counted
from contatto.reports.model import (
    Counts,
    Fact,
    Figures,
    Grain,
    Level,
    ReachBy,
    Report,
    ReportRow,
    Span,
    Subject,
    TimeStep,
    add_up,
)
from contatto.reports.rules.looks import LEVELS, By, Look, before, days_of, span_of
from contatto.reports.rules.rows import build_report, total_of, without_days
from contatto.reports.rules.texts import NEED_REACH

UNKNOWN: Final = "-"
"""The country that nobody told, as the key of a row."""
HOURS: Final = tuple(f"{hour:02d}" for hour in range(24))


@dataclass(frozen=True, slots=True)
class GoalPart:
    """What the ad groups of one goal have together."""

    goal: Goal
    ad_groups: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Overview:
    """A report page's figures. ``before`` has those of the days before by the key of a row.

    ``days`` has every day of the span, ``hours`` the hours with something in them (``YYYY-MM-DD HH``).
    """

    first: date
    last: date
    rows: tuple[ReportRow, ...]
    total: Figures
    by_goal: tuple[GoalPart, ...]
    days: dict[str, Counts]
    hours: dict[str, Counts]
    before: dict[str, Figures]
    total_before: Figures | None
    campaigns: list[tuple[str, str]]


def key_of(row: ReportRow, by: By) -> str:
    """What a row stands for, in a word that the same row of other days has too."""
    if by is By.COUNTRY:
        return row.country or UNKNOWN
    return row.day or "" if by in (By.DAY, By.HOUR) else row.subject.key


def load_overview(tx: Tx, account: AdAccount, look: Look, today: date) -> Overview:
    first, last = days_of(look, today)
    everything = load_tree(tx, account, NodeFilter(statuses=frozenset(NodeStatus)))
    tree = _narrowed(everything, look)
    span = span_of((first, last))
    found = _load(tx, account, tree, look, span, with_hours=True)
    facts, hours = found.facts, found.hours
    whole = without_days(facts) if look.by is By.DAY else facts
    report = _report(account, found.places, look, facts, hours)
    by_group = found.places.groups
    groups = build_report(subjects_of(account, tree, Level.AD_GROUP), whole, by_group, TimeStep.WHOLE)
    total = replace(report, total=total_of(groups.rows))
    report = _with_persons(tx, account, tree, look, total, span)
    earlier = _before(tx, account, tree, look, (first, last)) if look.compare else None
    by_key = {} if earlier is None else {key_of(row, look.by): row.figures for row in earlier.rows}
    return Overview(
        first,
        last,
        report.rows,
        report.total,
        _by_goal(groups.rows),
        _by_day(hours, first, last),
        hours,
        by_key,
        earlier.total if earlier else None,
        [(str(one.number), one.name) for one in everything.campaigns.values()],
    )


def _step_of(look: Look) -> TimeStep:
    return TimeStep.DAY if look.by is By.DAY else TimeStep.WHOLE


def _narrowed(tree: Tree, look: Look) -> Tree:
    """The part of one campaign, if the page asks for one."""
    if not look.campaign:
        return tree
    campaigns = {key: one for key, one in tree.campaigns.items() if str(one.number) == look.campaign}
    groups = {key: one for key, one in tree.ad_groups.items() if one.campaign_id in campaigns}
    under = [ad for ad in tree.ads if ad.campaign_id in campaigns]
    return Tree(campaigns, groups, under, tree.in_app)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Facts of the places of a tree, which are ads or, of countries, ad groups; and the hours."""

    places: Tree
    facts: list[Fact]
    hours: dict[str, Counts]


def _load(tx: Tx, account: AdAccount, tree: Tree, look: Look, span: Span, *, with_hours: bool) -> _Loaded:
    grain, places = Grain.AD_DAY, tree
    if look.by is By.COUNTRY:
        of_groups = tree.of_groups()
        grain = Grain.GROUP_COUNTRY_DAY if of_groups else Grain.AD_COUNTRY_DAY
        places = of_groups or tree
    hours = (Grain.GROUP_HOUR if look.campaign else Grain.ACCOUNT_HOUR) if with_hours else None
    wanted = Wanted(grain, _step_of(look), hours, tree.groups)
    counted = load_counted(tx, account.business_id, account.id, span, wanted)
    return _Loaded(places, places.wanted(counted.facts), counted.hours)


def _before(tx: Tx, account: AdAccount, tree: Tree, look: Look, days: tuple[date, date]) -> Report:
    span = span_of(before(*days))
    found = _load(tx, account, tree, look, span, with_hours=look.by is By.HOUR)
    report = _report(account, found.places, look, found.facts, found.hours)
    return _with_persons(tx, account, tree, look, report, span)


def _with_persons(tx: Tx, account: AdAccount, tree: Tree, look: Look, report: Report, span: Span) -> Report:
    """Add the reach, if a column needs it; hours of the day have none, as they stand for many days."""
    if NEED_REACH.isdisjoint(look.columns):
        return report
    ad_ids = frozenset(ad.id for ad in tree.ads) if look.campaign else None
    by = ReachBy(LEVELS.get(look.by, Level.AD_ACCOUNT), _step_of(look), look.by is By.COUNTRY, ad_ids)
    try:
        reached = with_reach(tx, account, report, span, by)
    except BrokenFile:  # the page names the damaged file
        return report
    return Report(report.rows, reached.total) if look.by is By.HOUR else reached


def _report(
    account: AdAccount, tree: Tree, look: Look, facts: list[Fact], hours: Mapping[str, Counts]
) -> Report:
    level = LEVELS.get(look.by, Level.AD_ACCOUNT)
    subjects = subjects_of(account, tree, level)
    if look.by is By.HOUR:
        return _by_hour(subjects[0], hours)
    step = _step_of(look)
    by_country = look.by is By.COUNTRY
    return build_report(subjects, facts, tree.owners(level), step, by_country=by_country)


def _by_hour(subject: Subject, hours: Mapping[str, Counts]) -> Report:
    """A row for each hour of the day, all days together."""
    sums = add_up((hour[11:], counts) for hour, counts in hours.items())
    rows = tuple(ReportRow(subject, hour, Figures(sums.get(hour, Counts()), subject.goals)) for hour in HOURS)
    return Report(rows, total_of(rows))


def _by_goal(rows: Iterable[ReportRow]) -> tuple[GoalPart, ...]:
    found: list[GoalPart] = []
    for goal in Goal:
        mine = [row for row in rows if goal in row.figures.goals]
        if mine:
            found.append(GoalPart(goal, len(mine), total_of(mine)))
    return tuple(found)


def _by_day(hours: Mapping[str, Counts], first: date, last: date) -> dict[str, Counts]:
    days = {(first + timedelta(days=n)).isoformat(): Counts() for n in range((last - first).days + 1)}
    return days | add_up((hour[:10], counts) for hour, counts in hours.items())
