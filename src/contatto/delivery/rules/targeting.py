"""Which ads fit a request: country, account, schedule and the conditions of the goal."""

from datetime import datetime

from contatto.ads.rules.markets import normal_country
from contatto.delivery.model import AdRequest, Candidate


def fits(candidate: Candidate, request: AdRequest, now: datetime) -> bool:
    """Whether an ad may be shown for this request at this time."""
    ad_group = candidate.ad_group
    if not candidate.may_serve or normal_country(request.country) not in ad_group.countries:
        return False
    in_time = ad_group.starts_at <= now and (ad_group.ends_at is None or now < ad_group.ends_at)
    wanted = request.channel_account_id
    right_account = wanted is None or candidate.live.ad.channel_account_id == wanted
    return in_time and right_account
