"""Which ads fit a request: country, account, schedule, the conditions of the goal, and whom it looks for.

What the publisher does not know of a viewer rules nothing out, save for audiences: an audience is a list of
known persons, and who is not known to be on it is not on it.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from contatto.ads.model import AdGroup
from contatto.ads.rules.markets import normal_country
from contatto.ads.rules.targeting import age_group_of
from contatto.delivery.model.decisions import AdRequest, Candidate, Member
from contatto.delivery.model.log import Hurdle

type Members = Mapping[str, frozenset[Member]]


def find_hurdle(
    candidate: Candidate, request: AdRequest, now: datetime, known: frozenset[Member], members: Members
) -> Hurdle | None:
    """Why an ad may not be shown for this request at this time; None when it may.

    Args:
        candidate: the ad.
        request: the viewer and the place.
        now: the time of the request.
        known: what the viewer is known by to the ad's account: a person's id, and fingerprints.
        members: of the audiences, by number.
    """
    return next(_hurdles(candidate, request, now, known, members), None)


def _hurdles(
    candidate: Candidate, request: AdRequest, now: datetime, known: frozenset[Member], members: Members
) -> Iterator[Hurdle]:
    ad_group = candidate.ad_group
    if not candidate.may_serve:
        yield Hurdle.NOT_ELIGIBLE
    if normal_country(request.country) not in ad_group.countries:
        yield Hurdle.COUNTRY
    if request.ad_account_ids is not None and ad_group.ad_account_id not in request.ad_account_ids:
        yield Hurdle.OTHER_TOKEN
    if now < ad_group.starts_at or (ad_group.ends_at is not None and ad_group.ends_at <= now):
        yield Hurdle.SCHEDULE
    wanted = request.channel_account_id
    if wanted is not None and candidate.live.ad.channel_account_id != wanted:
        yield Hurdle.CHANNEL
    yield from _unwanted(ad_group, request)
    if not _by_audience(ad_group, known, members):
        yield Hurdle.AUDIENCE


def _unwanted(ad_group: AdGroup, request: AdRequest) -> Iterator[Hurdle]:
    """Language, age and interests, where they are known."""
    language, age, interests = request.language, request.age, request.interest_category_ids
    if ad_group.languages and language is not None and language not in ad_group.languages:
        yield Hurdle.LANGUAGE
    if ad_group.age_groups and age is not None and age_group_of(age) not in ad_group.age_groups:
        yield Hurdle.AGE
    chosen = ad_group.interest_category_ids
    if chosen and interests is not None and interests.isdisjoint(chosen):
        yield Hurdle.INTERESTS


def _by_audience(ad_group: AdGroup, known: frozenset[Member], members: Members) -> bool:
    if _is_member(ad_group.excluded_audience_ids, known, members):
        return False
    return not ad_group.audience_ids or _is_member(ad_group.audience_ids, known, members)


def _is_member(audiences: Iterable[str], known: frozenset[Member], members: Members) -> bool:
    return any(not known.isdisjoint(members.get(number, frozenset())) for number in audiences)
