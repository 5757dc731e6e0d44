"""Last-touch attribution and signed tracking links, as pure functions.

Theory of attribution. A touch is eligible for a conversion of the same person and business when
``touch.ts <= conversion.ts <= touch.expires_ts``. The window of the ad group at the time of the touch set
its expiry. Policy ``click_first`` prefers clicks to views, then later touches, then greater ids. Policy
``last_touch`` prefers later touches, then clicks, then greater ids. The winner is a maximum, so order and
repetition of events do not matter. Ad groups of both goals compete alike.

Source: TikTok help "Lead optimization goal" (last touch; 7-day click, 1-day view) and "Attribution overview"
(a view counts for those who did not click).
"""

import hashlib
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from itsdangerous import BadSignature, Signer

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.values import from_base64url, to_base64url
from contatto.measurement import model

MICROSECONDS: Final = 1_000_000
LONGEST_WINDOW: Final = timedelta(days=28)
"""No ad group has a longer window."""
LATE: Final = timedelta(minutes=1)
"""An event older than this marks its day as changed when it is stored or changed."""
_MASK_63: Final = (1 << 63) - 1
TRACKING_KEY: Final = "tracking"
"""Purpose of the vault's signing key for tracking tickets."""


def expires_ts(ad: model.MeasuredAd, kind: model.TouchKind, ts: int) -> int:
    """Return the last microsecond at which a touch may win; ``ts - 1`` if it never wins."""
    window_s = ad.click_window_s if kind is model.TouchKind.CLICK else ad.view_window_s
    return ts - 1 if window_s is None else ts + window_s * MICROSECONDS


def local_day(ts: int, timezone: str) -> str:
    """Return the calendar date of an instant in a zone, as ``YYYY-MM-DD``."""
    seconds = ts // MICROSECONDS
    return datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(timezone)).date().isoformat()


def is_eligible(touch: model.Touch, conversion: model.Conversion) -> bool:
    same = touch.person_id == conversion.person_id and touch.business_id == conversion.business_id
    return same and touch.ts <= conversion.ts <= touch.expires_ts


def last_touch(
    touches: Iterable[model.Touch],
    conversion: model.Conversion,
    policy: model.AttributionPolicy = model.AttributionPolicy.CLICK_FIRST,
) -> model.Touch | None:
    """Return the touch that earned a conversion, or None."""
    eligible = [touch for touch in touches if is_eligible(touch, conversion)]
    clicks = [touch for touch in eligible if touch.kind is model.TouchKind.CLICK]
    candidates = clicks if clicks and policy is model.AttributionPolicy.CLICK_FIRST else eligible
    return max(
        candidates,
        key=lambda touch: (touch.ts, touch.kind is model.TouchKind.CLICK, touch.touch_id),
        default=None,
    )


def natural_number(*parts: str | int) -> int:
    """Hash a natural key to a positive 63-bit number, so that a repeated event finds its own row."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) & _MASK_63


def conversion_number(business_id: str, kind: model.ConversionKind, subject_id: str) -> int:
    """Return the number of a conversion; a lead or a conversation has one of each kind."""
    return natural_number(business_id, kind, subject_id)


type NameId = Callable[[str, str], str]
"""Derives an id from a namespace and a name, as the vault does: names of viewers may be personal."""


def viewer_id_of(name_id: NameId, channel_account_id: str, viewer: str, *, own_chat: bool) -> str:
    """Return the id of a publisher's viewer at one channel account.

    On a messaging platform the publisher's id is that of the person. In our own chat we create the ids of
    persons, so viewers get ids that match none of them.
    """
    name = f"viewer:{viewer}" if own_chat else viewer
    return name_id(channel_account_id, name)  # derived like a person's id


def viewer_of(name_id: NameId, ad: model.MeasuredAd, ticket: model.TrackingTicket) -> str | None:
    if not ticket.viewer:
        return None
    return viewer_id_of(name_id, ad.channel_account_id, ticket.viewer, own_chat=ad.opens_own_chat)


def sign_ticket(ticket: model.TrackingTicket, signer: Signer) -> str:
    parts = [
        ticket.kind,
        ticket.business_id,
        ticket.ad_id,
        ticket.nonce,
        ticket.viewer,
        ticket.cost_micros,
        ticket.country,
    ]
    if ticket.placement or ticket.trial:
        parts.append(ticket.placement)
    if ticket.trial:
        parts.append(ticket.trial)
    body = msgspec.json.encode(parts)
    return signer.sign(to_base64url(body)).decode()


def impression_of(touch: model.Touch, ticket: model.TrackingTicket) -> model.Impression:
    return model.Impression(touch, ticket.nonce, ticket.placement, ticket.trial)


def read_ticket(token: str, kinds: Collection[model.TicketKind], signer: Signer) -> model.TrackingTicket:
    """Return the ticket of a signed token. Raises UNSIGNED, also for a ticket of another kind."""
    try:
        body = signer.unsign(token).decode()
    except BadSignature as error:
        raise Refused(errors.UNSIGNED) from error
    kind, *parts = msgspec.json.decode(from_base64url(body))
    if kind not in kinds:
        raise Refused(errors.UNSIGNED)
    return model.TrackingTicket(model.TicketKind(kind), *parts)
