"""Requests, candidates, charges and trials, with the rules of ad serving."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from heapq import nlargest
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from contatto.ads.model import (
    WINDOW_DAYS,
    AdGroup,
    BidType,
    BudgetMode,
    Campaign,
    FrequencyCap,
    LiveAd,
    Pacing,
    Spent,
)
from contatto.ads.rules.settings import COUNTRY_OF, age_group_of, most_of_day, normal_country
from contatto.audiences.model import Fingerprint, LookalikeSize, LookalikeSpec
from contatto.kit.values import micros
from contatto.learning.columns import DAY_S
from contatto.learning.features import hash_once
from contatto.learning.market import MOST_OF_DAY
from contatto.learning.model import (
    AdGroupLine,
    AdLine,
    EntryKind,
    GroupState,
    Hurdle,
    LineBidType,
    LineBudgetMode,
    LineGoal,
    LinePacing,
)
from contatto.measurement.model import Goal

type Member = Fingerprint | str
"""A fingerprint of a customer on a list, or the id of a person."""
type AdDestination = tuple[str, bool]
"""A channel account that ads lead to, and whether it is our own chat page."""


@dataclass(frozen=True, slots=True)
class AdRequest:
    """Request for an ad: the viewer, the place, and what the publisher knows of the viewer.

    ``viewer_id`` is the publisher's. ``language`` (ISO 639), ``age``, interests and fingerprints of e-mail or
    phone may be unknown (None), and then exclude no ad. ``ad_account_ids`` limits the caller to some ad
    accounts; None allows all. ``floor_micros`` is the lowest price of a thousand views that wins the place.
    ``has_consent`` allows personalized ads. Without it predictions use only the place (``placement``), not
    the viewer's ``features``, language, age, interests or history.
    """

    viewer_id: str
    country: str
    channel_account_id: str | None = None
    language: str | None = None
    age: int | None = None
    interest_category_ids: frozenset[str] | None = None
    prints: frozenset[Fingerprint] = frozenset()
    ad_account_ids: frozenset[str] | None = None
    placement: str = ""
    device: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)
    has_consent: bool = False
    floor_micros: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Ad that may serve, as the snapshot has it.

    ``may_serve`` is False for an ad of the goal Lead while a country check fails or capture is off. With
    ``own_chat`` a click leads to our own chat page, which has its own person ids. ``destinations`` are those
    of all ads that the ad group ever had, if it has a frequency cap.
    """

    live: LiveAd
    may_serve: bool
    timezone: str
    own_chat: bool = False
    currency: str = ""
    destinations: tuple[AdDestination, ...] = ()

    @property
    def ad_group(self) -> AdGroup:
        return self.live.ad_group


@dataclass(frozen=True, slots=True)
class Bidder:
    """Ads of one ad group that lead to one account, by number, and one of them as an example.

    Bidders with equal ``terms`` share one result of `rules.compare_terms`.
    """

    candidate: Candidate
    ads: tuple[int, ...]
    ad_group_id: str
    ad_group_number: int
    terms: int = 0
    cap: FrequencyCap | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Live ads of a business, with their latest states in the learner.

    ``members`` are those of the chosen audiences, by audience number. ``lines`` are the ads in the form of
    the marketplace, each after its ad group. ``version`` is the newest published model, 0 for none.
    """

    business_id: str
    business_name: str
    candidates: tuple[Candidate, ...]
    members: Mapping[str, frozenset[Member]] = field(default_factory=dict)
    lines: tuple[AdGroupLine | AdLine, ...] = ()
    states: tuple[GroupState, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class ServedAd:
    """Ad as the publisher shows it; its links are signed for one impression."""

    ad_id: str
    ad_name: str
    headline: str
    text: str
    business_name: str
    view_url: str
    click_url: str
    decision_id: str


@dataclass(frozen=True, slots=True)
class ChargedDay:
    """Views, clicks and charges of an ad group on a day (``YYYY-MM-DD``) of its ad account."""

    business_id: str
    ad_group_id: str
    day: str
    ad_account_id: str
    views: int
    clicks: int
    charged_micros: int


@dataclass(frozen=True, slots=True)
class Promise:
    """Budget reserved for the expected view or click of an impression, until ``expires_at`` (microseconds).

    ``viewer`` is the pseudonym of the viewer if the ad group has a frequency cap, else empty.
    """

    business_id: str
    nonce: int
    ad_group_id: str
    ad_account_id: str
    micros: int
    expires_at: int
    viewer: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Part of a budget that an ad server may promise until ``expires_at`` (microseconds)."""

    business_id: str
    ad_group_id: str
    server_id: str
    ad_account_id: str
    micros: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class DecisionFile:
    """A Parquet file with log entries of one business and one day (UTC).

    ``name`` is its path below ``folder``; it depends only on the business, the day and the first entry.
    """

    business_id: str
    name: str
    folder: str
    day: str
    first_seq: int
    last_seq: int
    entries: int
    size: int
    sha256: str


class Stage(StrEnum):
    """Stage or result of a relearning run."""

    JUDGING = "judging"
    """The candidate learns without the newest days, which then test it."""
    LEARNING = "learning"
    """The candidate passed the test and learns all days."""
    PUBLISHED = "published"
    KEPT = "kept"
    """The candidate predicts worse, so the current model stays."""
    TOO_LITTLE = "too_little"
    """The test days have too few outcomes."""
    BROKEN = "broken"
    """The computation failed: memory, time, or a file."""
    OVERTAKEN = "overtaken"
    """Another model was published meanwhile; the next night tries again."""


class LossComparison(msgspec.Struct, array_like=True, frozen=True):
    """Mean log loss of one question on the test days: of the candidate, and of the current model."""

    question: str
    cases: int
    positives: int
    loss: float
    current_loss: float


@dataclass(frozen=True, slots=True)
class Relearning:
    """Last relearning run of a business; ``version`` is 0 without a published model."""

    business_id: str
    started_at: datetime
    told_at: datetime
    stage: Stage
    views: int
    version: int
    compared: tuple[LossComparison, ...]


@dataclass(frozen=True, slots=True)
class TrialDay:
    """Views, charges and conversions of an ad group in one group of viewers on a day.

    ``trial`` is the group of viewers (see `rules.trial_of`). ``day`` is the ad account's
    (``YYYY-MM-DD``): of the charged touch, or of the touch that earned the conversation or lead.
    """

    business_id: str
    ad_group_id: str
    day: str
    trial: int
    views: int = 0
    clicks: int = 0
    charged_micros: int = 0
    conversations: int = 0
    leads: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """Log of a business, with the progress of its learner."""

    business_id: str
    last_seq: int
    trained_seq: int
    published_seq: int
    published_at: int
    lease_by: str
    lease_until: int
    sealed_seq: int


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry without its number in the log."""

    kind: EntryKind
    ts: int
    nonce: int = 0
    ad_id: str = ""
    touch_id: int | None = None
    person_id: str | None = None
    body: bytes = b""


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
        compared = (  # all fields that `compare_terms` reads
            group[0].may_serve, ad_group.countries, ad_group.ad_account_id,
            group[0].live.ad.channel_account_id, ad_group.languages, ad_group.age_groups,
            ad_group.interest_category_ids,
        )  # fmt: skip
        term = terms.setdefault(compared, len(terms))
        bidders.append(Bidder(group[0], numbers, ad_group.id, ad_group.number, term, ad_group.cap))
    return tuple(bidders)


def compare_terms(candidate: Candidate, request: AdRequest) -> TermsMatch:
    """Compare a request with the terms of an ad; bidders with equal ``terms`` share the result.

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

    ``match`` is the result of `compare_terms`, and ``members`` are those of audiences, by number. Only ad
    groups with audiences call ``find_identity``.
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
    BudgetMode.INFINITE: LineBudgetMode.INFINITE,
    BudgetMode.DAY: LineBudgetMode.DAY,
    BudgetMode.DYNAMIC_DAY: LineBudgetMode.DAY,
    BudgetMode.TOTAL: LineBudgetMode.TOTAL,
}


def describe_group(ad_group: AdGroup, campaign: Campaign, timezone: str) -> AdGroupLine:
    """Convert an ad group to a line for the marketplace, which treats a business as one advertiser."""
    has_bid = ad_group.bid_type is BidType.CUSTOM
    return AdGroupLine(
        ts=0,
        adgroup_id=str(ad_group.number),
        advertiser_id=ad_group.business_id,
        goal=LineGoal.LEAD if ad_group.goal is Goal.LEAD else LineGoal.CONVERSATION,
        budget_mode=_MODES[ad_group.budget_mode],
        budget_micros=ad_group.budget_micros,
        bid_type=LineBidType.CUSTOM if has_bid else LineBidType.NO_BID,
        bid_micros=ad_group.bid_micros if has_bid else None,
        pacing=LinePacing.FAST if ad_group.pacing is Pacing.FAST else LinePacing.SMOOTH,
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


def has_budget(node: AdGroup | Campaign) -> bool:
    """Return whether an ad group or a campaign has a budget of its own."""
    return node.budget_micros is not None and node.budget_mode is not BudgetMode.INFINITE


def budget_left(node: AdGroup | Campaign, spent: Spent, *, for_charge: bool = False) -> int | None:
    """Return the amount that may still be promised of a budget, in micros; None without a limit.

    The charges of a campaign are those of all its ad groups. A late view counts on another day than its
    promise, so with ``for_charge`` a day may take up to 125 % of its budget.
    """
    if node.budget_micros is None or not has_budget(node):
        return None
    if node.budget_mode is BudgetMode.TOTAL:
        return max(node.budget_micros - spent.ever_micros, 0)
    budget = node.budget_micros
    most = budget * MOST_OF_DAY if for_charge else most_of_day(node.budget_mode, budget)
    return max(int(most) - spent.day_micros, 0)


MOST_INVITED: Final = 50
"""At most this many businesses compete for one place, because each delays the response."""
BY_OFFER: Final = 32
"""This many of them made the highest recent offers; the others take turns."""
TURN_S: Final = 30
"""Length of a turn: time to load the ads of the next businesses and to observe their offers."""


def choose_invited(eligible: Sequence[str], recent_offers: Mapping[str, float], at_s: float) -> list[str]:
    """Choose the businesses that may bid for a place, in their order; all of them if they are few.

    A business with low offers is invited in turn, by the time in seconds. It stays once its offers rise, as
    pacing raises the offers of a business with unspent budget. A missing recent offer counts as 0.
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

    Offers are micros, 0 for none; the index is None without any. ``number`` breaks ties. The winner has to
    exceed the second best offer. Each other business has to exceed the winner, so a replay of its own record
    does not make it win.
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
    """

    ad_group_id: str
    payers: tuple[str, ...]
    budget_micros: int | None
    requested_micros: int


def share_budgets(
    requests: Sequence[BudgetRequest],
    committed: Mapping[str, int],
    available: Mapping[str, int],
    other_servers: int,
) -> dict[str, int]:
    """Return the amount of each lease of one ad server by ad group.

    ``committed`` are leases of other ad servers and promises, by ad group; ``available`` is the unleased
    budget of limited payers.
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
    if free < LEAST_VIEW_MICROS:  # such a lease is of no use
        return 0
    share = free // (other_servers + 1)
    return min(request.requested_micros, free if share < LEAST_VIEW_MICROS else share)


PRIOR: Final = 5.0
"""The prior rate of all ad groups of a goal weighs as much as this many conversions."""
DRIFT: Final = 0.1
"""Relative variance of the cost per conversion between periods."""
_TENTH: Final = 1.2816
"""The 90 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Earnings:
    """Conversions, and their cost in micros."""

    conversions: int
    spend_micros: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Conversions that a budget brings, with an 80 % interval from ``low`` to ``high``."""

    low: int
    middle: float
    high: int


def forecast(own: Earnings, similar: Earnings, budget_micros: int) -> Forecast | None:
    """Predict the conversions that a budget brings an ad group.

    ``similar`` are the recent results of all ad groups of its goal, its own included; without any spending or
    conversions of these the result is None. The interval uses quantiles of the gamma distribution (E. B.
    Wilson and M. M. Hilferty, PNAS 17, 1931).
    """
    if not similar.spend_micros or not similar.conversions:
        return None
    usual = similar.conversions / similar.spend_micros
    shape = own.conversions + PRIOR
    middle = budget_micros * shape / (own.spend_micros + PRIOR / usual)
    if middle <= 0.0:
        return Forecast(0, 0.0, 0)
    variance = middle + middle**2 * (1.0 / shape + DRIFT)
    share = variance / (9.0 * middle**2)
    low, high = (float(middle * max(1.0 - share + z * math.sqrt(share), 0.0) ** 3) for z in (-_TENTH, _TENTH))
    return Forecast(math.floor(low), middle, max(math.ceil(high), 1))


BUCKETS: Final = 20
"""Groups of viewers in each arm; their differences give the variance of the lift."""
ENOUGH_CONVERSIONS: Final = 20
"""With fewer conversions in an arm the interval of the lift would not be reliable."""
_SURE: Final = 1.959964
"""The 97.5 % quantile of the normal distribution."""


def trial_of(viewer: str, share: float) -> int:
    """Return the group of a viewer: below 0 in the random arm, above 0 in the learned arm, 0 without a trial.

    The pseudonym of the viewer is a keyed hash; ``share`` is that of the random arm, 0 to 1.
    """
    if not share:
        return 0
    number = hash_once("trial", viewer)
    bucket = 1 + number % BUCKETS
    return -bucket if (number // BUCKETS) % 1_000_003 < share * 1_000_003 else bucket


@dataclass(frozen=True, slots=True)
class Arm:
    """Results of one arm of the trial in all groups of viewers; money is micros."""

    views: int
    spend_micros: int
    conversions: int
    by_bucket: tuple[tuple[int, int], ...]
    """Conversions and views by group of viewers."""

    @property
    def cost_micros(self) -> int | None:
        """Return the cost of a conversion, rounded down; None without conversions."""
        return self.spend_micros // self.conversions if self.conversions else None


@dataclass(frozen=True, slots=True)
class TrialArms:
    """Results of an ad group in the learned and in the random arm."""

    learned: Arm
    random: Arm


@dataclass(frozen=True, slots=True)
class Lift:
    """Additional conversions of the learned arm for the same views: 0.23 for 23 % more.

    ``low`` and ``high`` bound the 95 % interval. All three are None with too few conversions; ``missing``
    then counts the conversions that the random and the learned arm still need.
    """

    lift: float | None
    low: float | None
    high: float | None
    missing: tuple[int, int] = (0, 0)


def measure_lift(pairs: Sequence[TrialArms]) -> Lift:
    """Compare the conversions of both arms for equal numbers of views of each ad group.

    Learning moves views to ad groups with more potential. So each ad group is compared with itself, and one
    with views in a single arm is left out. Viewers are randomized, so the variance is that of their groups
    (the delta method for a ratio of sums). The quantile is Student's, with Welch's degrees of freedom.

    Source: W. G. Cochran, Sampling Techniques (ratio estimators, standardisation); B. L. Welch, Biometrika 34
    (1947); M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    both = [pair for pair in pairs if pair.learned.views and pair.random.views]
    learned = sum(pair.learned.conversions for pair in both)
    random = sum(pair.random.conversions for pair in both)
    missing = (max(ENOUGH_CONVERSIONS - random, 0), max(ENOUGH_CONVERSIONS - learned, 0))
    if any(missing):
        return Lift(None, None, None, missing)
    factors = [pair.learned.views / pair.random.views for pair in both]
    expected = sum(factor * pair.random.conversions for factor, pair in zip(factors, both, strict=True))
    ratio = math.log(learned / expected)
    variances = [
        _variance([(1.0 / learned, pair.learned) for pair in both]) or 1.0 / learned,
        _variance([(factor / expected, pair.random) for factor, pair in zip(factors, both, strict=True)])
        or 1.0 / random,
    ]
    freedom = sum(variances) ** 2 / sum(variance**2 / (BUCKETS - 1) for variance in variances)
    z = _SURE  # of the normal distribution; the terms add up to three digits from 5 degrees of freedom on
    quantile = (
        z
        + (z**3 + z) / 4.0 / freedom
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0 / freedom**2
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0 / freedom**3
    )
    reach = quantile * math.sqrt(sum(variances))
    return Lift(math.expm1(ratio), math.expm1(ratio - reach), math.expm1(ratio + reach))


def _variance(weighted: Sequence[tuple[float, Arm]]) -> float:
    """Return the variance of the logarithm of a weighted sum of conversions, given the views."""
    deviations = [0.0] * BUCKETS
    for weight, arm in weighted:
        rate = arm.conversions / arm.views
        for bucket, (count, views) in enumerate(arm.by_bucket):
            deviations[bucket] += weight * (count - rate * views)
    return BUCKETS / (BUCKETS - 1) * sum(deviation**2 for deviation in deviations)


SHARES: Final = {LookalikeSize.NARROW: 0.01, LookalikeSize.BALANCED: 0.05, LookalikeSize.BROAD: 0.10}
"""Share of the reachable viewers in a lookalike, by size."""
LEAST_KNOWN: Final = 100
"""With fewer viewers scores do not discriminate."""
_SYSTEMS: Final = {"IOS": ("ios", "iphone", "ipad"), "ANDROID": ("android",)}
_NO_PHONES: Final = ("desktop", "laptop", "computer", "tv")
"""Words of publishers for devices with neither system."""
_FIRST_POWER: Final = 0.45
"""Exponent that calibrates scores without leads; with many it is 1. The simulator measured it."""
_FIRST_DEVIATION: Final = 0.6
_LAST_DEVIATION: Final = 0.35
"""Standard deviations of the exponent without leads and with many."""
_HALF_LEARNED: Final = 10.0
"""Leads with which both are halfway."""
_NINE_OF_TEN: Final = 1.281552
"""The 90 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class LookalikeMatch:
    """Members of a lookalike; ``lift`` is their predicted lead rate divided by that of all ``known`` viewers.

    ``low`` and ``high`` bound the 80 % interval. All three are None without members.
    """

    viewers: tuple[str, ...]
    known: int
    lift: float | None = None
    low: float | None = None
    high: float | None = None


class LookalikeFilter:
    """Filter of viewers by their last country and device.

    Only the system of a device matters; a device without a known system passes.
    """

    def __init__(self, spec: LookalikeSpec) -> None:
        ids = spec.location_ids  # unknown ones are ignored
        self._countries = {COUNTRY_OF[id_] for id_ in ids if id_ in COUNTRY_OF} if ids else None
        self._system = spec.mobile_os if spec.mobile_os in _SYSTEMS else ""

    def takes(self, country: str, device: str) -> bool:
        if self._countries is not None and country.upper() not in self._countries:
            return False
        if not self._system:
            return True
        words = device.lower()
        systems = {name for name, marks in _SYSTEMS.items() if any(mark in words for mark in marks)}
        return self._system in systems if systems else not any(word in words for word in _NO_PHONES)


def choose_lookalikes(
    scores: Mapping[str, float], size: LookalikeSize, left_out: Collection[str], leads: int = 0
) -> LookalikeMatch:
    """Choose the viewers with the best scores, except some: the people of the source.

    ``scores`` are by pseudonym, 0 for a viewer who cannot be reached. ``leads`` is the number of leads of the
    ad groups that gave the scores.
    """
    able = {viewer: score for viewer, score in scores.items() if score > 0.0 and viewer not in left_out}
    if len(able) < LEAST_KNOWN:
        return LookalikeMatch((), len(able))
    order = sorted(able, key=lambda viewer: (-able[viewer], viewer))
    chosen = tuple(order[: max(round(SHARES[size] * len(order)), 1)])
    relative = np.array([able[viewer] for viewer in order]) / able[order[0]]
    # the power that calibrates scores after this number of leads, in the middle of its 80 % interval
    progress = leads**2 / (leads**2 + _HALF_LEARNED**2)
    power = _FIRST_POWER + (1.0 - _FIRST_POWER) * progress
    reach = _NINE_OF_TEN * (_FIRST_DEVIATION + (_LAST_DEVIATION - _FIRST_DEVIATION) * progress)
    powers = (max(power - reach, 0.0), power, power + reach)
    low, middle, high = (
        float(rates[: len(chosen)].mean() / rates.mean()) for rates in (relative**power for power in powers)
    )
    return LookalikeMatch(chosen, len(able), middle, low, high)


LEAST_POSITIVES: Final = 20
"""A question with fewer positive or negative outcomes has no vote: its losses are chance."""
WORST: Final = 0.02
"""Largest relative increase of the loss that is accepted for a single question."""


def judge_candidate(compared: Sequence[LossComparison]) -> Stage:
    """Return LEARNING for a candidate that may replace the current model, else the final stage.

    Questions have equal weight, or clicks would outvote leads. In total the candidate must be no worse than
    the current model, which had learned those days too.
    """
    voting = [
        question
        for question in compared
        if min(question.positives, question.cases - question.positives) >= LEAST_POSITIVES
    ]
    if not voting:
        return Stage.TOO_LITTLE
    increases = [item.loss / item.current_loss - 1.0 for item in voting if item.current_loss > 0.0]
    # a loss that is NaN is neither above nor below, and must not pass
    is_good = all(increase <= WORST for increase in increases) and sum(increases) <= 0.0
    return Stage.LEARNING if is_good and increases else Stage.KEPT
