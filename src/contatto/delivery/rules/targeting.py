"""Which ads fit a request: country, account, schedule and the conditions of the goal."""

from datetime import datetime

from contatto.ads.rules.markets import normal_country
from contatto.delivery.model import AdRequest, Candidate


def fits(candidate: Candidate, request: AdRequest, now: datetime) -> bool:
    """Whether an ad may be shown for this request at this time."""
    ad_group = candidate.ad_group
    in_time = ad_group.starts_at <= now and (ad_group.ends_at is None or now < ad_group.ends_at)
    wanted = request.channel_account_id
    right_account = wanted is None or candidate.live.ad.channel_account_id == wanted
    in_country = normal_country(request.country) in ad_group.countries
    return candidate.may_serve and in_time and right_account and in_country
