"""Which ads fit a request: country, account, schedule, the conditions of the goal, and whom it looks for.

What the publisher does not know of a viewer rules nothing out, save for audiences: an audience is a list of
known persons, and who is not known to be on it is not on it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from contatto.ads.model import AdGroup
from contatto.ads.rules.targeting import age_group_of, normal_country
from contatto.delivery.model.decisions import AdRequest, Bidder, Candidate, Member
from contatto.delivery.model.log import Hurdle

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
