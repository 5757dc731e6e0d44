"""The conversions behind a figure, why one is credited as it is, and what other windows would have done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads.model import NodeFilter as WantedAds
from contatto.ads.model import NodeStatus as AdStatus
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.timestamps import from_micros
from contatto.leads.model import Lead
from contatto.leads.store.records import list_leads_by_id
from contatto.measurement.actions import keep_views, list_cold_files_between, list_touches_ever
from contatto.measurement.engines.sealing import BrokenFile, Moment, find_latest_views, load_whole
from contatto.measurement.model import (
    Attribution,
    Conversion,
    ConversionKind,
    Goal,
    MeasuredAd,
    SealedFile,
)
from contatto.measurement.store import list_links, list_measured_ads
from contatto.reports.actions.overview import UNKNOWN
from contatto.reports.actions.subjects import Tree, load_tree
from contatto.reports.model import Span
from contatto.reports.rules.behind import BEHIND, KINDS
from contatto.reports.rules.explained import Judged, judge_touches
from contatto.reports.rules.looks import LEVELS, By, Look
from contatto.reports.rules.what_if import Supposed, WhatIf, weigh
from contatto.reports.store import conversions as store
from contatto.reports.store.conversions import ConversionFilter
from contatto.reports.store.supposing import DAY_US, list_rivals, list_weighed

MOST_TOLD: Final = 50
"""Conversions that change hands in a what-if and are told one by one; all are counted."""
MOST_TOUCHES: Final = 500


@dataclass(frozen=True, slots=True)
class Explained:
    """A conversion with its person's touches, each judged, the ads that they are of, and what is missing."""

    conversion: Attribution
    lead: Lead | None
    touches: list[Judged]
    ads: dict[str, MeasuredAd]
    broken: list[BrokenFile]


def behind_figure(
    tx: Tx, account: AdAccount, look: Look, span: Span, metric: str, key: str
) -> ConversionFilter:
    """Return which conversions a cell of the report counts.

    Raises:
        Refused: INVALID, for a metric that counts none, or the conversions of unlike goals together.
    """
    behind = BEHIND.get(metric)
    if behind is None:
        raise Refused(
            errors.INVALID, "metric: This metric does not count conversions. Choose leads or conversations."
        )
    tree = load_tree(tx, account, WantedAds(statuses=frozenset(AdStatus)))
    ad_ids = _ads_of(tree, look, key)
    goals = {tree.ad_groups[ad.ad_group_id].goal for ad in tree.ads if ad.id in ad_ids}
    if look.by is By.DAY and key:
        span = Span(key, key)
    return ConversionFilter(
        account.business_id,
        account.id,
        span,
        frozenset(ad_ids),
        behind.kind or _counted(goals),
        own_day=behind.own_day,
        via=behind.via,
        country=key.removeprefix(UNKNOWN) if look.by is By.COUNTRY and key else None,
        origins=behind.origins,
        statuses=behind.statuses,
    )


def _ads_of(tree: Tree, look: Look, key: str) -> set[str]:
    mine = {ad.id for ad in tree.ads if _is_in(tree, ad.campaign_id, look)}
    level = LEVELS.get(look.by)
    if level is None or not key:
        return mine
    owners = tree.owners(level)
    return {ad_id for ad_id in mine if owners[ad_id] == key}


def _is_in(tree: Tree, campaign_id: str, look: Look) -> bool:
    return not look.campaign or str(tree.campaigns[campaign_id].number) == look.campaign


def _counted(goals: set[Goal]) -> ConversionKind:
    if len(goals) > 1:
        raise Refused(
            errors.INVALID,
            "metric: Conversions of two goals cannot be added up. Choose leads or conversations.",
        )
    return KINDS[goals.pop()] if goals else ConversionKind.LEAD


def trace_conversion(tx: Tx, business_id: str, conversion_id: int) -> Explained:
    """Why a conversion is credited as it is.

    Raises:
        Refused: NOT_FOUND.
    """
    conversion = store.find_conversion(tx, business_id, conversion_id)
    if conversion is None:
        raise Refused(errors.NOT_FOUND, "Conversion not found.")
    touches, broken = list_touches_ever(tx, business_id, conversion.person_id, MOST_TOUCHES)
    judged = judge_touches(touches, conversion_of(conversion))
    lead_ids = {conversion.subject_id} if conversion.kind is ConversionKind.LEAD else set()
    lead = list_leads_by_id(tx, business_id, lead_ids).get(conversion.subject_id)
    ads = list_measured_ads(tx, business_id, {one.touch.ad_id for one in judged})
    return Explained(conversion, lead, judged, ads, broken)


def conversion_of(found: Attribution) -> Conversion:
    """What happened, without who earned it."""
    return Conversion(**{name: getattr(found, name) for name in Conversion.__dataclass_fields__})


def suppose_windows(
    tx: Tx, account: AdAccount, between: tuple[int, int], supposed: Supposed
) -> tuple[WhatIf, list[BrokenFile]]:
    """Both winners of each conversion in a span of microseconds; nothing that is stored changes.

    What could not be read for it comes along.
    """
    mine = (account.business_id, account.id)
    keep_views(tx)
    files = _files_of_views(tx, account.business_id, between, supposed)
    if not files:
        return weigh(list_weighed(tx, *mine, between, supposed), MOST_TOLD), []
    rivals = list_rivals(tx, *mine, between, supposed)
    links = list_links(tx, account.business_id)
    moments = [
        Moment(one.conversion_id, user_id, one.ts)
        for one in rivals
        for user_id in (one.person_id, *links.get(one.person_id, ()))
    ]
    window_us = supposed.view_days * DAY_US
    views, broken = load_whole(
        files, lambda some: find_latest_views(some, account.business_id, moments, window_us)
    )
    weighed = (one.with_view(views.get(one.conversion_id)).weighed(supposed.policy) for one in rivals)
    return weigh(weighed, MOST_TOLD), broken


def _files_of_views(
    tx: Tx, business_id: str, between: tuple[int, int], supposed: Supposed
) -> list[SealedFile]:
    """The files with dropped views that may count."""
    if not supposed.view_days:
        return []
    since, until = (from_micros(edge) for edge in between)
    return list_cold_files_between(tx, business_id, since - timedelta(days=supposed.view_days), until)


def names_of(tx: Tx, business_id: str, found: list[Attribution]) -> Mapping[str, Lead]:
    """The leads of conversions that are leads, by the conversion's subject."""
    ids = {one.subject_id for one in found if one.kind is ConversionKind.LEAD}
    return list_leads_by_id(tx, business_id, ids)
