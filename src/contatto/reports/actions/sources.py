"""All ads of a business beside each other: ours, and those that other platforms show."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.ad_platforms.actions.pulling import find_known_ads
from contatto.ad_platforms.model import AdDay, AdPlatform, NodeLevel, NodeStatus, OutsideAccount
from contatto.ad_platforms.registry import AD_PLATFORMS
from contatto.ad_platforms.store import list_account_ads, list_ad_sums, list_nodes, list_outside_accounts
from contatto.ads.model import NodeFilter
from contatto.ads.model import NodeStatus as OwnStatus
from contatto.kit.db.tx import Tx
from contatto.measurement.model import MeasuredAd
from contatto.reports.actions.subjects import load_tree, subjects_of
from contatto.reports.engines.counted import list_counted_facts
from contatto.reports.model import Counts, Fact, Figures, Level, Report, ReportRow, Span, Subject, TimeStep
from contatto.reports.registry import ENGINE
from contatto.reports.rules.rows import build_report, total_of
from contatto.reports.rules.sources import Source, SourceLook
from contatto.reports.store.unmatched import UnmatchedTap, count_leads_of, list_unmatched_taps


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row with who shows its ads, and the account that pays for them."""

    source: Source
    account: str
    row: ReportRow


@dataclass(frozen=True, slots=True)
class CurrencyPart:
    """What is paid in one currency: amounts of two are never added up."""

    currency: str
    rows: tuple[SourceRow, ...]
    total: Figures


@dataclass(frozen=True, slots=True)
class UnmatchedAd:
    """An ad that platforms named and that nobody could be credited for.

    ``is_ambiguous`` where two connected accounts have an ad with this number, and nobody told which is meant.
    """

    source: Source
    ad_number: int
    advertiser: str
    headline: str
    chats: int
    leads: int
    is_ambiguous: bool


@dataclass(frozen=True, slots=True)
class SourceReport:
    parts: tuple[CurrencyPart, ...]
    unmatched: tuple[UnmatchedAd, ...]


def load_sources(tx: Tx, business_id: str, look: SourceLook) -> SourceReport:
    """The ads of all sources, by the currencies that they are paid in."""
    by_currency: defaultdict[str, list[SourceRow]] = defaultdict(list)
    for currency, rows in [*_ours(tx, business_id, look), *_elsewhere(tx, business_id, look)]:
        by_currency[currency] += [one for one in rows if one.row.figures.goals]
    parts = [
        CurrencyPart(currency, tuple(rows), total_of([one.row for one in rows]))
        for currency, rows in sorted(by_currency.items())
        if rows
    ]
    return SourceReport(tuple(parts), tuple(_unmatched(tx, business_id, look)))


type _Rows = Iterator[tuple[str, list[SourceRow]]]


def _span(look: SourceLook) -> Span:
    return Span(look.first.isoformat(), look.last.isoformat())


def _ours(tx: Tx, business_id: str, look: SourceLook) -> _Rows:
    if look.source not in (None, Source.OURS):
        return
    for account in accounts.list_ad_accounts(tx, BusinessId(business_id)):
        tree = load_tree(tx, account, NodeFilter(statuses=frozenset(OwnStatus)))
        mine = (business_id, account.id, _span(look))
        counted = list_counted_facts(tx, *mine, TimeStep.WHOLE, by_country=False)
        subjects, owners = subjects_of(account, tree, look.level), tree.owners(look.level)
        report = build_report(subjects, tree.wanted(counted), owners, TimeStep.WHOLE)
        yield account.currency, _sourced(Source.OURS, account.name, report)


def _elsewhere(tx: Tx, business_id: str, look: SourceLook) -> _Rows:
    for account in list_outside_accounts(tx, business_id):
        source = Source(account.platform.value)
        if look.source in (None, source):
            report = _report_elsewhere(tx, account, look)
            yield account.currency, _sourced(source, account.name or account.external_id, report)


def _sourced(source: Source, account: str, report: Report) -> list[SourceRow]:
    return [SourceRow(source, account, row) for row in report.rows]


def _report_elsewhere(tx: Tx, account: OutsideAccount, look: SourceLook) -> Report:
    """What the platform counts and costs, with the chats and leads that we have credited."""
    span = _span(look)
    ads = list_account_ads(tx, account)
    earned = ENGINE.list_facts(tx, account.business_id, account.id, span, TimeStep.WHOLE)
    sums = list_ad_sums(tx, account, (look.first.isoformat(), look.last.isoformat()))
    live = {
        node.number for node in list_nodes(tx, account, NodeLevel.AD) if node.status is not NodeStatus.DELETED
    }
    owners = {ad.ad_id: _key(account, ad, look.level) for ad in ads}
    facts = [*map(_credited, earned), *(_paid(ad, sums[ad.ad_number]) for ad in ads if ad.ad_number in sums)]
    return build_report(_subjects(account, ads, live, look.level), facts, owners, TimeStep.WHOLE)


def _credited(fact: Fact) -> Fact:
    """What an ad earned; how often it was tapped and seen, the platform knows better."""
    return replace(fact, country="", counts=replace(fact.counts, spend_micros=0, impressions=0, clicks=0))


def _paid(ad: MeasuredAd, sums: AdDay) -> Fact:
    return Fact(ad.ad_id, "", Counts(sums.spend_micros, sums.impressions, sums.clicks))


def _key(account: OutsideAccount, ad: MeasuredAd, level: Level) -> str:
    keys = {Level.AD_ACCOUNT: account.id, Level.CAMPAIGN: ad.campaign_id, Level.AD_GROUP: ad.ad_group_id}
    return keys.get(level, ad.ad_id)


def _subjects(
    account: OutsideAccount, ads: Iterable[MeasuredAd], live: set[int], level: Level
) -> list[Subject]:
    """What may have a row: one without an ad that is still there has one only with something in it."""
    under: defaultdict[str, list[MeasuredAd]] = defaultdict(list)
    for ad in ads:
        under[_key(account, ad, level)].append(ad)
    return [_subject(account, key, found, live, level) for key, found in under.items()]


def _subject(
    account: OutsideAccount, key: str, ads: list[MeasuredAd], live: set[int], level: Level
) -> Subject:
    first = ads[0]
    names = {
        Level.AD_ACCOUNT: account.name or account.external_id,
        Level.CAMPAIGN: first.campaign_name,
        Level.AD_GROUP: first.ad_group_name,
    }
    is_deep = level in (Level.AD_GROUP, Level.AD)
    return Subject(
        key,
        level,
        names.get(level, first.ad_name),
        frozenset(ad.goal for ad in ads),
        deleted=not any(ad.ad_number in live for ad in ads),
        campaign_number=0 if level is Level.AD_ACCOUNT else first.campaign_number,
        campaign_name="" if level is Level.AD_ACCOUNT else first.campaign_name,
        ad_group_number=first.ad_group_number if is_deep else 0,
        ad_group_name=first.ad_group_name if is_deep else "",
        ad_number=first.ad_number if level is Level.AD else 0,
    )


def _unmatched(tx: Tx, business_id: str, look: SourceLook) -> list[UnmatchedAd]:
    """The ads that chats came from and that could not be credited, with the most chats first."""
    grouped: defaultdict[tuple[Source, int, str], list[UnmatchedTap]] = defaultdict(list)
    for tap in list_unmatched_taps(tx, business_id, (look.first, look.last)):
        platform = AD_PLATFORMS.get(tap.platform)
        if platform is not None and look.source in (None, Source(platform.value)):
            grouped[Source(platform.value), tap.ad_number, tap.advertiser].append(tap)
    known_ads = find_known_ads(tx, business_id, {number for _, number, _ in grouped})
    leads = count_leads_of(tx, business_id, {tap.person_id for taps in grouped.values() for tap in taps})
    found = [
        UnmatchedAd(
            source,
            number,
            advertiser,
            next((tap.headline for tap in taps if tap.headline), ""),
            len({tap.conversation_id for tap in taps}),
            sum(leads.get(person_id, 0) for person_id in {tap.person_id for tap in taps}),
            known_ads.is_ambiguous(AdPlatform(source.value), number),
        )
        for (source, number, advertiser), taps in grouped.items()
    ]
    return sorted(found, key=lambda one: (-one.chats, one.ad_number))
