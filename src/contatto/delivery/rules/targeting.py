"""Ads that fit a request: conditions, competition for placements, and shares of budgets among processes."""

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
from contatto.ads.rules.goals import most_of_day
from contatto.ads.rules.targeting import age_group_of, normal_country
from contatto.delivery.model import AdRequest, Bidder, Candidate, Member, Price
from contatto.kit.timestamps import micros
from contatto.learning import lines
from contatto.learning.budgets import MOST_OF_DAY
from contatto.learning.lines import AdGroupLine, AdLine
from contatto.learning.model import Hurdle
from contatto.measurement.model import Goal

OURS: Final = "·"
"""Before the names of features that we know ourselves, so that a publisher's own never meet them."""
DEVICE: Final = f"{OURS}device"


def features_of(request: AdRequest) -> dict[str, Any]:
    """The features of a request: where the ad stands, and what is known of a viewer who agreed to that."""
    found: dict[str, Any] = {}
    if request.placement:
        found[f"{OURS}placement"] = request.placement
    if request.channel_account_id:
        found[f"{OURS}account"] = request.channel_account_id
    if not request.has_consent:
        return found
    if request.device:
        found[DEVICE] = request.device
    if request.language is not None:
        found[f"{OURS}language"] = request.language
    if request.age is not None:
        found[f"{OURS}age"] = str(age_group_of(request.age))
    if request.interest_category_ids:
        found[f"{OURS}interests"] = sorted(request.interest_category_ids)
    return found | dict(request.features)


type Members = Mapping[str, frozenset[Member]]
type FindKnown = Callable[[Candidate], frozenset[Member]]
"""Gives what a viewer is known by to the account of an ad: a person's id, and fingerprints."""


class Fits(NamedTuple):
    """What keeps ads out of a request by their terms, before their schedule is looked at and behind it."""

    before: Hurdle | None
    behind: Hurdle | None


def find_hurdle(
    candidate: Candidate, fits: Fits, now: datetime, known: FindKnown, members: Members
) -> Hurdle | None:
    """Why an ad may not be shown for a request at this time; None when it may.

    Args:
        candidate: the ad.
        fits: what comparing the request with the terms of the ad gave.
        now: the time of the request.
        known: asked only where there are audiences.
        members: of the audiences, by number.
    """
    ad_group = candidate.live.ad_group
    hurdle = fits.before or (None if _is_on_time(ad_group, now) else Hurdle.SCHEDULE) or fits.behind
    if hurdle is not None:
        return hurdle
    if not ad_group.audience_ids and not ad_group.excluded_audience_ids:
        return None
    return None if _is_for_audience(ad_group, known(candidate), members) else Hurdle.AUDIENCE


def compare_terms(candidate: Candidate, request: AdRequest) -> Fits:
    """Compare a request with what ads of the same terms have in common; see `terms_of`."""
    before = _unfit(candidate, request)
    if before is not None:
        return Fits(before, None)
    wanted, ad = request.channel_account_id, candidate.live.ad
    if wanted is not None and ad.channel_account_id != wanted:
        return Fits(None, Hurdle.CHANNEL)
    return Fits(None, _unwanted(candidate.ad_group, request))


def terms_of(candidate: Candidate) -> tuple[object, ...]:
    """All that `compare_terms` looks at in an ad."""
    ad_group = candidate.ad_group
    return (
        candidate.may_serve, ad_group.countries, ad_group.ad_account_id, candidate.live.ad.channel_account_id,
        ad_group.languages, ad_group.age_groups, ad_group.interest_category_ids,
    )  # fmt: skip


def _is_on_time(ad_group: AdGroup, now: datetime) -> bool:
    """Return whether the schedule of an ad group has begun and not ended."""
    return ad_group.starts_at <= now and (ad_group.ends_at is None or now < ad_group.ends_at)


def _unfit(candidate: Candidate, request: AdRequest) -> Hurdle | None:
    """The goal's conditions, country and token."""
    ad_group = candidate.ad_group
    if not candidate.may_serve:
        return Hurdle.NOT_ELIGIBLE
    if normal_country(request.country) not in ad_group.countries:
        return Hurdle.COUNTRY
    if request.ad_account_ids is not None and ad_group.ad_account_id not in request.ad_account_ids:
        return Hurdle.OTHER_TOKEN
    return None


def _unwanted(ad_group: AdGroup, request: AdRequest) -> Hurdle | None:
    """Language, age and interests, where they are known."""
    language, age, interests = request.language, request.age, request.interest_category_ids
    if ad_group.languages and language is not None and language not in ad_group.languages:
        return Hurdle.LANGUAGE
    if ad_group.age_groups and age is not None and age_group_of(age) not in ad_group.age_groups:
        return Hurdle.AGE
    chosen = ad_group.interest_category_ids
    if chosen and interests is not None and interests.isdisjoint(chosen):
        return Hurdle.INTERESTS
    return None


def _is_for_audience(ad_group: AdGroup, known: frozenset[Member], members: Members) -> bool:
    """Whether a viewer who is known so is on a list that an ad group chose, and on none that it excludes."""
    if _is_member(ad_group.excluded_audience_ids, known, members):
        return False
    return not ad_group.audience_ids or _is_member(ad_group.audience_ids, known, members)


def _is_member(audiences: Iterable[str], known: frozenset[Member], members: Members) -> bool:
    return any(not known.isdisjoint(members.get(number, frozenset())) for number in audiences)


def gather_bidders(candidates: Iterable[Candidate]) -> tuple[Bidder, ...]:
    """Live ads by what a request is compared with: what keeps one of a bidder out keeps out all of it."""
    found: dict[tuple[str, str, bool, bool], list[Candidate]] = {}
    for candidate in candidates:
        ad = candidate.live.ad
        key = (candidate.ad_group.id, ad.channel_account_id, candidate.may_serve, candidate.own_chat)
        found.setdefault(key, []).append(candidate)
    terms: dict[tuple[object, ...], int] = {}
    return tuple(_bidder(same, terms.setdefault(terms_of(same[0]), len(terms))) for same in found.values())


def _bidder(same: list[Candidate], terms: int) -> Bidder:
    ad_group = same[0].ad_group
    numbers = tuple(candidate.live.ad.number for candidate in same)
    return Bidder(same[0], numbers, ad_group.id, ad_group.number, terms, ad_group.cap)


RESERVE_MICROS: Final = 1_000_000
"""Least price of a thousand views, in micros of the ad account's currency."""
LEAST_VIEW_MICROS: Final = RESERVE_MICROS // 1_000
"""What a view costs at least."""
MOST_WORDS: Final = 10
_DAY_S: Final = 86_400
_WORD: Final = re.compile(r"\w{3,}")
_MODES: Final = {
    BudgetMode.INFINITE: lines.LineBudgetMode.INFINITE,
    BudgetMode.DAY: lines.LineBudgetMode.DAY,
    BudgetMode.DYNAMIC_DAY: lines.LineBudgetMode.DAY,
    BudgetMode.TOTAL: lines.LineBudgetMode.TOTAL,
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


MOST_ASKED: Final = 50
"""So many businesses are asked for an offer for one place; each costs time before the answer."""
BY_OFFER: Final = 32
"""So many of these are those who offered most lately; the others take turns."""
TURN_S: Final = 30
"""So long a turn takes: time to read the ads of those whose turn it is, and to see what they offer."""


def choose_asked(able: Sequence[str], lately: Mapping[str, float], at_s: float) -> list[str]:
    """The businesses that are asked for an offer, in their order; all of them where these are not too many.

    Whoever offers little is asked in turn, and stays when that was a mistake: a business whose budget waits
    for places offers more and more for them.

    Args:
        able: who may compete.
        lately: what each offered lately in this place; who is missing offered nothing yet.
        at_s: the time, in seconds.
    """
    if len(able) <= MOST_ASKED:
        return list(able)
    best = set(nlargest(BY_OFFER, able, key=lambda business_id: lately.get(business_id, 0.0)))
    others = [business_id for business_id in able if business_id not in best]
    seats = MOST_ASKED - BY_OFFER
    first = int(at_s // TURN_S) * seats
    best.update(others[(first + seat) % len(others)] for seat in range(seats))
    return [business_id for business_id in able if business_id in best]


def rank_offers(offers: Sequence[int], number: int) -> tuple[int | None, list[int]]:
    """The place of the best offer, and for each the least offer that wins from the others.

    Args:
        offers: of each business, in micros; 0 for none.
        number: of the impression; whose turn it is among equal offers depends on it.

    Returns:
        None for the winner when nobody offers anything. To the winner the second best offer is the least
        that wins; the others would have had to offer more than the winner, so they do not win when the
        decision is made again from their own record.
    """
    count = len(offers)
    order = sorted(range(count), key=lambda place: (-offers[place], (place + number) % count))
    if not order or not offers[order[0]]:
        return None, [0] * count
    winner = order[0]
    second = offers[order[1]] if count > 1 else 0
    return winner, [second if place == winner else offers[winner] + 1 for place in range(count)]


@dataclass(frozen=True, slots=True)
class Want:
    """What a process would like to hold of a budget; ``left`` is None where there is no limit.

    ``purses`` are those that pay too, and that others share: the ad account, the campaign with a budget.
    ``least`` is what one view costs: less is of no use.
    """

    ad_group_id: str
    purses: tuple[str, ...]
    left: int | None
    wanted: int
    least: int


def share_budgets(
    wants: Sequence[Want], held_or_promised: Mapping[str, int], purses: Mapping[str, int], others: int
) -> dict[str, int]:
    """What a process is granted of each budget.

    Args:
        wants: what it would like.
        held_or_promised: by ad group, what others hold and what is promised.
        purses: what is left to grant of those that are limited.
        others: how many other processes serve.
    """
    rooms = dict(purses)
    granted: dict[str, int] = {}
    for want in wants:
        amount = want.wanted
        if want.left is not None:
            free = max(want.left - held_or_promised.get(want.ad_group_id, 0), 0)
            amount = _share(free, want, others)
        limited = [name for name in want.purses if name in rooms]
        for name in limited:
            amount = min(amount, _share(rooms[name], want, others))
        for name in limited:
            rooms[name] -= amount
        granted[want.ad_group_id] = amount
    return granted


def _share(free: int, want: Want, others: int) -> int:
    if free < want.least:
        return 0
    share = free // (others + 1)
    return min(want.wanted, free if share < want.least else share)
