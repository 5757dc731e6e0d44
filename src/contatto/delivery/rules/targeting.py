"""Targeting, prices, competition for placements, and shares of budgets among ad servers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from typing import Any, Final, NamedTuple

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
from contatto.ads.rules.goals import age_group_of, most_of_day, normal_country
from contatto.delivery.model import AdRequest, Bidder, Candidate, Member, Price
from contatto.kit.values import micros
from contatto.learning import lines
from contatto.learning.columns import DAY_S
from contatto.learning.lines import AdGroupLine, AdLine
from contatto.learning.market import MOST_OF_DAY
from contatto.learning.model import Hurdle
from contatto.measurement.model import Goal

OURS: Final = "·"
"""Prefix of our own feature names, so that they never collide with a publisher's."""
DEVICE: Final = f"{OURS}device"


def features_of(request: AdRequest) -> dict[str, Any]:
    """Return the features of a request: the place of the ad, and with consent those of the viewer."""
    features: dict[str, Any] = {}
    if request.placement:
        features[f"{OURS}placement"] = request.placement
    if request.channel_account_id:
        features[f"{OURS}account"] = request.channel_account_id
    if not request.has_consent:
        return features
    if request.device:
        features[DEVICE] = request.device
    if request.language is not None:
        features[f"{OURS}language"] = request.language
    if request.age is not None:
        features[f"{OURS}age"] = str(age_group_of(request.age))
    if request.interest_category_ids:
        features[f"{OURS}interests"] = sorted(request.interest_category_ids)
    return features | dict(request.features)


type Members = Mapping[str, frozenset[Member]]
type FindIdentity = Callable[[Candidate], frozenset[Member]]
"""Returns the ids and fingerprints of a viewer at the account of an ad."""


class TermsMatch(NamedTuple):
    """Hurdles of an ad's terms, ranked before and after its schedule."""

    before_schedule: Hurdle | None
    after_schedule: Hurdle | None


def gather_bidders(candidates: Iterable[Candidate]) -> tuple[Bidder, ...]:
    """Group live ads that every request accepts or rejects together."""
    groups: dict[tuple[str, str, bool, bool], list[Candidate]] = {}
    for candidate in candidates:
        ad = candidate.live.ad
        key = (candidate.ad_group.id, ad.channel_account_id, candidate.may_serve, candidate.own_chat)
        groups.setdefault(key, []).append(candidate)
    terms: dict[tuple[object, ...], int] = {}
    bidders = []
    for group in groups.values():
        ad_group = group[0].ad_group
        numbers = tuple(candidate.live.ad.number for candidate in group)
        term = terms.setdefault(terms_of(group[0]), len(terms))
        bidders.append(Bidder(group[0], numbers, ad_group.id, ad_group.number, term, ad_group.cap))
    return tuple(bidders)


def terms_of(candidate: Candidate) -> tuple[object, ...]:
    """Return all fields of an ad that `compare_terms` reads."""
    ad_group = candidate.ad_group
    return (
        candidate.may_serve, ad_group.countries, ad_group.ad_account_id, candidate.live.ad.channel_account_id,
        ad_group.languages, ad_group.age_groups, ad_group.interest_category_ids,
    )  # fmt: skip


def compare_terms(candidate: Candidate, request: AdRequest) -> TermsMatch:
    """Compare a request with the terms of an ad; ads with equal `terms_of` share the result.

    An unknown language, age or interest of the viewer never excludes an ad.
    """
    ad_group, account_id = candidate.ad_group, request.channel_account_id
    language, age, interests = request.language, request.age, request.interest_category_ids
    categories = ad_group.interest_category_ids
    before = after = None
    if not candidate.may_serve:
        before = Hurdle.NOT_ELIGIBLE
    elif normal_country(request.country) not in ad_group.countries:
        before = Hurdle.COUNTRY
    elif request.ad_account_ids is not None and ad_group.ad_account_id not in request.ad_account_ids:
        before = Hurdle.OTHER_TOKEN
    elif account_id is not None and candidate.live.ad.channel_account_id != account_id:
        after = Hurdle.CHANNEL
    elif ad_group.languages and language is not None and language not in ad_group.languages:
        after = Hurdle.LANGUAGE
    elif ad_group.age_groups and age is not None and age_group_of(age) not in ad_group.age_groups:
        after = Hurdle.AGE
    elif categories and interests is not None and interests.isdisjoint(categories):
        after = Hurdle.INTERESTS
    return TermsMatch(before, after)


def find_hurdle(
    candidate: Candidate, match: TermsMatch, at: datetime, find_identity: FindIdentity, members: Members
) -> Hurdle | None:
    """Return the reason why an ad may not be shown for a request; None when it may.

    Args:
        candidate: the ad.
        match: the result of `compare_terms` for the ad and the request.
        at: the time of the request.
        find_identity: called only for ad groups with audiences.
        members: the members of audiences, by number.
    """
    ad_group = candidate.live.ad_group
    is_scheduled = ad_group.starts_at <= at and (ad_group.ends_at is None or at < ad_group.ends_at)
    hurdle = match.before_schedule or (None if is_scheduled else Hurdle.SCHEDULE) or match.after_schedule
    if hurdle is not None:
        return hurdle
    if not ad_group.audience_ids and not ad_group.excluded_audience_ids:
        return None
    identity = find_identity(candidate)
    if _is_member(ad_group.excluded_audience_ids, identity, members):
        return Hurdle.AUDIENCE
    if ad_group.audience_ids and not _is_member(ad_group.audience_ids, identity, members):
        return Hurdle.AUDIENCE
    return None


def _is_member(audiences: Iterable[str], identity: frozenset[Member], members: Members) -> bool:
    return any(not identity.isdisjoint(members.get(number, frozenset())) for number in audiences)


RESERVE_MICROS: Final = 1_000_000
"""Lowest price of a thousand views, in micros of the ad account's currency."""
LEAST_VIEW_MICROS: Final = RESERVE_MICROS // 1_000
"""Lowest price of a view."""
MOST_WORDS: Final = 10
_WORD: Final = re.compile(r"\w{3,}")
_MODES: Final = {
    BudgetMode.INFINITE: lines.LineBudgetMode.INFINITE,
    BudgetMode.DAY: lines.LineBudgetMode.DAY,
    BudgetMode.DYNAMIC_DAY: lines.LineBudgetMode.DAY,
    BudgetMode.TOTAL: lines.LineBudgetMode.TOTAL,
}


def describe_group(ad_group: AdGroup, campaign: Campaign, timezone: str) -> AdGroupLine:
    """Convert an ad group to a line for the marketplace, which treats a business as one advertiser.

    A bid per click (CPC) is no target for a conversion: it limits the price of the click instead.
    """
    by_conversion = ad_group.billing_event is BillingEvent.OCPM and ad_group.bid_type is BidType.CUSTOM
    return AdGroupLine(
        ts=0,
        adgroup_id=str(ad_group.number),
        advertiser_id=ad_group.business_id,
        goal=lines.LineGoal.LEAD if ad_group.goal is Goal.LEAD else lines.LineGoal.CONVERSATION,
        budget_mode=_MODES[ad_group.budget_mode],
        budget_micros=ad_group.budget_micros,
        bid_type=lines.LineBidType.CUSTOM if by_conversion else lines.LineBidType.NO_BID,
        bid_micros=ad_group.bid_micros if by_conversion else None,
        pacing=lines.LinePacing.FAST if ad_group.pacing is Pacing.FAST else lines.LinePacing.SMOOTH,
        countries=list(ad_group.countries),
        timezone=timezone,
        starts_ts=max(micros(ad_group.starts_at), 0),
        ends_ts=None if ad_group.ends_at is None else max(micros(ad_group.ends_at), 0),
        click_window_s=(WINDOW_DAYS[ad_group.click_window] or 0) * DAY_S,
        view_window_s=(WINDOW_DAYS[ad_group.view_window] or 0) * DAY_S,
        campaign_id=str(campaign.number),
        campaign_mode=_MODES[campaign.budget_mode],
        campaign_micros=campaign.budget_micros,
    )


def describe_ad(live: LiveAd) -> AdLine:
    """Convert an ad to a line for the marketplace, with its creative and its destination as features."""
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
    """Return the price of the view and of the click for a price per thousand views, in micros.

    OCPM charges the view. CPC charges the click with the price of the views that it takes on average, and
    never more than the bid for a click.
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
    """Return the amount that may still be promised of a budget, in micros; None without a limit.

    The charges of a campaign are those of all its ad groups.
    """
    return _remaining(node, spent, most_of_day(node.budget_mode, node.budget_micros or 0))


def charge_left(node: AdGroup | Campaign, spent: Spent) -> int | None:
    """Return the amount that may still be charged to a budget, apart from promises; None without a limit.

    A late view counts on another day than its promise, so a day may take up to 125 % of its budget.
    """
    return _remaining(node, spent, (node.budget_micros or 0) * MOST_OF_DAY)


def _remaining(node: AdGroup | Campaign, spent: Spent, day_micros: float) -> int | None:
    if node.budget_micros is None or not has_budget(node):
        return None
    if node.budget_mode is BudgetMode.TOTAL:
        return max(node.budget_micros - spent.ever_micros, 0)
    return max(int(day_micros) - spent.day_micros, 0)


MOST_INVITED: Final = 50
"""At most this many businesses compete for one place, because each delays the response."""
BY_OFFER: Final = 32
"""This many of them made the highest recent offers; the others take turns."""
TURN_S: Final = 30
"""Length of a turn: time to load the ads of the next businesses and to observe their offers."""


def choose_invited(eligible: Sequence[str], recent_offers: Mapping[str, float], at_s: float) -> list[str]:
    """Choose the businesses that may bid for a place, in their order; all of them if they are few.

    A business with low offers is invited in turn. It stays once its offers rise, as pacing raises the offers
    of a business with unspent budget.

    Args:
        eligible: the businesses that may compete.
        recent_offers: the recent offers in this place, by business; a missing one counts as 0.
        at_s: the time, in seconds.
    """
    if len(eligible) <= MOST_INVITED:
        return list(eligible)
    best = set(nlargest(BY_OFFER, eligible, key=lambda business_id: recent_offers.get(business_id, 0.0)))
    rest = [business_id for business_id in eligible if business_id not in best]
    seats = MOST_INVITED - BY_OFFER
    first = int(at_s // TURN_S) * seats
    best.update(rest[(first + seat) % len(rest)] for seat in range(seats))
    return [business_id for business_id in eligible if business_id in best]


def rank_offers(offers: Sequence[int], number: int) -> tuple[int | None, list[int]]:
    """Return the index of the best offer, and for each business the lowest offer that would win.

    Args:
        offers: the offer of each business, in micros; 0 for none.
        number: the nonce of the decision, which breaks ties.

    Returns:
        None as the index without any offer. The winner has to exceed the second best offer. Each other
        business has to exceed the winner, so a replay of its own record does not make it win.
    """
    count = len(offers)
    order = sorted(range(count), key=lambda index: (-offers[index], (index + number) % count))
    if not order or not offers[order[0]]:
        return None, [0] * count
    winner = order[0]
    second = offers[order[1]] if count > 1 else 0
    return winner, [second if index == winner else offers[winner] + 1 for index in range(count)]


@dataclass(frozen=True, slots=True)
class BudgetRequest:
    """Amount that an ad server requests of a budget; ``budget_micros`` is None without a limit.

    ``payers`` also pay and are shared by ad groups: the ad account, and a campaign with a budget.
    ``least_micros`` is the price of one view: a smaller lease is of no use.
    """

    ad_group_id: str
    payers: tuple[str, ...]
    budget_micros: int | None
    requested_micros: int
    least_micros: int


def share_budgets(
    requests: Sequence[BudgetRequest],
    committed: Mapping[str, int],
    available: Mapping[str, int],
    other_servers: int,
) -> dict[str, int]:
    """Return the amount of each lease by ad group.

    Args:
        requests: the requests of one ad server.
        committed: leases of other ad servers and promises, by ad group.
        available: the unleased budget of limited payers.
        other_servers: the number of other ad servers.
    """
    remaining = dict(available)
    shares: dict[str, int] = {}
    for request in requests:
        amount = request.requested_micros
        if request.budget_micros is not None:
            free = max(request.budget_micros - committed.get(request.ad_group_id, 0), 0)
            amount = _share(free, request, other_servers)
        limited = [name for name in request.payers if name in remaining]
        for name in limited:
            amount = min(amount, _share(remaining[name], request, other_servers))
        for name in limited:
            remaining[name] -= amount
        shares[request.ad_group_id] = amount
    return shares


def _share(free: int, request: BudgetRequest, other_servers: int) -> int:
    if free < request.least_micros:
        return 0
    share = free // (other_servers + 1)
    return min(request.requested_micros, free if share < request.least_micros else share)
