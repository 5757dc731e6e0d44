"""The ads that opened chats: ours as touches at once, those elsewhere as soon as they are known."""

from collections.abc import Sequence
from datetime import datetime
from itertools import batched
from typing import Final

from contatto.ad_platforms.actions.mirroring import find_known_ads
from contatto.ad_platforms.model import OutsideAdsMirrored
from contatto.ad_platforms.registry import AD_PLATFORMS
from contatto.channels.model import AdTap, Platform
from contatto.inbox.model import AdReferral, Conversation
from contatto.inbox.store import referrals
from contatto.inbox.store.referrals import NamedTap
from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id
from contatto.kit.timestamps import micros
from contatto.measurement import actions as measurement
from contatto.measurement import store as measurement_store
from contatto.measurement.model import MeasuredAd, TouchKind
from contatto.measurement.rules import natural_number

_AT_ONCE: Final = 200


def keep_tap(tx: Tx, platform: Platform, conversation: Conversation, tap: AdTap, at: datetime) -> bool:
    """Keep a tap; False when it was kept before.

    One on an ad of ours is a touch. Any other is kept as it was told, and is a touch as well as soon as
    exactly one ad of the platform is known by that number.
    """
    business_id = conversation.business_id
    named = NamedTap(conversation.id, conversation.person_id, platform, tap.ad_number, tap.advertiser, at)
    ad = measurement_store.find_measured_ad_by_number(tx, business_id, tap.ad_number)
    if ad is not None:
        return _record_tap(tx, ad, named)
    referral_id = named_id(conversation.id, f"referral:{tap.ad_number}:{tap.click_id}:{micros(at)}")
    shown = (tap.click_id, tap.headline, tap.text)
    told = (tap.ad_number, *shown, at, tap.advertiser)
    is_new = referrals.append_referral(tx, AdReferral(referral_id, business_id, conversation.id, *told))
    if is_new:
        _credit_taps(tx, business_id, [named])
    return is_new


def credit_referrals(tx: Tx, event: OutsideAdsMirrored) -> None:
    """Credit the chats that named an ad before it was known; a handler of the outbox."""
    for numbers in batched(map(int, event.ad_numbers), _AT_ONCE, strict=False):
        _credit_taps(tx, event.business_id, referrals.list_taps_on(tx, event.business_id, numbers))


def _credit_taps(tx: Tx, business_id: str, taps: Sequence[NamedTap]) -> None:
    """Record the touches of taps whose ads are known."""
    known = find_known_ads(tx, business_id, {tap.ad_number for tap in taps})
    for tap in taps:
        ad = known.find(AD_PLATFORMS.get(tap.platform), tap.ad_number, tap.advertiser)
        if ad is not None:
            _record_tap(tx, ad, tap)


def _record_tap(tx: Tx, ad: MeasuredAd, tap: NamedTap) -> bool:
    ts = micros(tap.at)
    touch_id = natural_number("referral", tap.conversation_id, tap.ad_number, ts)
    touch = measurement.stamp_touch(ad, TouchKind.CLICK, tap.person_id, ts, touch_id, 0)
    return measurement.record_touch(tx, touch)
