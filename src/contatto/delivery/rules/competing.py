"""How ads and ad groups compete: as the lines that the marketplace knows them by, and what a price means."""

import re
from typing import Any, Final

from contatto.ads.model import (
    WINDOW_DAYS,
    AdGroup,
    BidType,
    BillingEvent,
    BudgetMode,
    Campaign,
    LiveAd,
    Pacing,
    Spent,
)
from contatto.ads.rules.goals import most_of_day
from contatto.delivery.model import lines
from contatto.delivery.model.decisions import Price
from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.delivery.rules.budgets import MOST_OF_DAY
from contatto.kit.timestamps import micros
from contatto.measurement.model import Goal

RESERVE_MICROS: Final = 1_000_000
"""Least price of a thousand views, in micros of the ad account's currency."""
LEAST_VIEW_MICROS: Final = RESERVE_MICROS // 1_000
"""What a view costs at least."""
MOST_WORDS: Final = 10
_DAY_S: Final = 86_400
_WORD: Final = re.compile(r"\w{3,}")
_MODES: Final = {
    BudgetMode.INFINITE: lines.BudgetMode.INFINITE,
    BudgetMode.DAY: lines.BudgetMode.DAY,
    BudgetMode.DYNAMIC_DAY: lines.BudgetMode.DAY,
    BudgetMode.TOTAL: lines.BudgetMode.TOTAL,
}


def describe_group(ad_group: AdGroup, campaign: Campaign, timezone: str) -> AdGroupLine:
    """An ad group as the marketplace knows it; a business is one advertiser there.

    A bid for a click (CPC) is no target for a conversion: it bounds the price of the click instead.
    """
    by_conversion = ad_group.billing_event is BillingEvent.OCPM and ad_group.bid_type is BidType.CUSTOM
    return AdGroupLine(
        ts=0,
        adgroup_id=str(ad_group.number),
        advertiser_id=ad_group.business_id,
        goal=lines.Goal.LEAD if ad_group.goal is Goal.LEAD else lines.Goal.CONVERSATION,
        budget_mode=_MODES[ad_group.budget_mode],
        budget_micros=ad_group.budget_micros,
        bid_type=lines.BidType.CUSTOM if by_conversion else lines.BidType.NO_BID,
        bid_micros=ad_group.bid_micros if by_conversion else None,
        pacing=lines.Pacing.FAST if ad_group.pacing is Pacing.FAST else lines.Pacing.SMOOTH,
        countries=list(ad_group.countries),
        timezone=timezone,
        starts_ts=max(micros(ad_group.starts_at), 0),
        ends_ts=None if ad_group.ends_at is None else max(micros(ad_group.ends_at), 0),
        click_window_s=(WINDOW_DAYS[ad_group.click_window] or 0) * _DAY_S,
        view_window_s=(WINDOW_DAYS[ad_group.view_window] or 0) * _DAY_S,
        campaign_id=str(campaign.number),
        campaign_mode=_MODES[campaign.budget_mode],
        campaign_micros=campaign.budget_micros,
    )


def describe_ad(live: LiveAd) -> AdLine:
    """An ad as the marketplace knows it: what a viewer sees of it, and what a tap leads to."""
    ad, ad_group = live.ad, live.ad_group
    words = list(dict.fromkeys(_WORD.findall(f"{ad.headline} {ad.text}".lower())))[:MOST_WORDS]
    features: dict[str, Any] = {
        "format": ad.ad_format,
        "call": ad.call_to_action,
        "account": ad.channel_account_id,
        "form": bool(ad.page_id or ad_group.page_id),
        "welcome": bool(ad.auto_message_id),
        "headline": ad.headline.lower()[:200],
        "words": words,
    }
    return AdLine(ts=0, ad_id=str(ad.number), adgroup_id=str(ad_group.number), features=features)


def price_of(ad_group: AdGroup, price_micros: int, p_click: float) -> Price:
    """What the view and the click cost at a price for a thousand views, in micros.

    OCPM is charged with the view. CPC is charged with the click: the price of as many views as it takes to
    get one, and never more than the bid for a click.
    """
    view = price_micros // 1_000
    if ad_group.billing_event is not BillingEvent.CPC:
        return Price(view, 0)
    click = round(price_micros / (1_000 * max(p_click, 1e-4)))
    if ad_group.bid_type is BidType.CUSTOM and ad_group.bid_micros:
        click = min(click, ad_group.bid_micros)
    return Price(0, click)


def has_budget(node: AdGroup | Campaign) -> bool:
    """Return whether an ad group or a campaign has a budget of its own."""
    return node.budget_micros is not None and node.budget_mode is not BudgetMode.INFINITE


def budget_left(node: AdGroup | Campaign, spent: Spent) -> int | None:
    """What may still be promised of a budget, in micros; None for one without end.

    A campaign has spent what all of its ad groups have.
    """
    return _left(node, spent, most_of_day(node.budget_mode, node.budget_micros or 0))


def charge_left(node: AdGroup | Campaign, spent: Spent) -> int | None:
    """What may still be charged to a budget, whatever was promised; None for one without end.

    A view that comes late counts on another day than it was promised on: so up to 125 % of a day's budget.
    """
    return _left(node, spent, (node.budget_micros or 0) * MOST_OF_DAY)


def _left(node: AdGroup | Campaign, spent: Spent, day_micros: float) -> int | None:
    """What is left of a budget, of which so much is for one day where it is daily."""
    if node.budget_micros is None or not has_budget(node):
        return None
    if node.budget_mode is BudgetMode.TOTAL:
        return max(node.budget_micros - spent.ever_micros, 0)
    return max(int(day_micros) - spent.day_micros, 0)
