"""Recording touches and conversions, and keeping the winner of each conversion right."""

from dataclasses import dataclass

from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id, new_id, new_number
from contatto.measurement import rules, store
from contatto.measurement.model import (
    Conversion,
    ConversionKind,
    MeasuredAd,
    Touch,
    TouchKind,
    TrackingTicket,
)


@dataclass(frozen=True, slots=True)
class Earned:
    """A conversion to record: what happened, to whom, and when (``ts`` in microseconds)."""

    business_id: str
    person_id: str
    kind: ConversionKind
    subject_id: str
    ts: int


def publish_ad(tx: Tx, ad: MeasuredAd) -> None:
    """Tell measuring what an ad is; called whenever an ad, its ad group or its campaign changes."""
    store.save_measured_ad(tx, ad)


def stamp_touch(
    ad: MeasuredAd, kind: TouchKind, person_id: str, ts: int, touch_id: int, cost_micros: int
) -> Touch:
    """A touch with its expiry and its local day stamped on it."""
    return Touch(
        touch_id=touch_id,
        business_id=ad.business_id,
        person_id=person_id,
        ad_id=ad.ad_id,
        ad_group_id=ad.ad_group_id,
        ad_account_id=ad.ad_account_id,
        kind=kind,
        ts=ts,
        expires_ts=rules.expires_ts(ad, kind, ts),
        day=rules.local_day(ts, ad.timezone),
        cost_micros=cost_micros,
    )


def stamp_ticket(
    ad: MeasuredAd, ticket: TrackingTicket, kind: TouchKind, visitor: str | None, ts: int
) -> Touch:
    """The touch of a tracking link.

    Views of nobody known get a person of their own: they count as impressions and can win nothing.
    """
    person_id = named_id(ad.channel_account_id, visitor) if visitor else new_id()
    cost = ticket.view_cost_micros if kind is TouchKind.VIEW else ticket.click_cost_micros
    touch_id = rules.natural_number("link", ticket.nonce, kind) if ticket.nonce else new_number()
    return stamp_touch(ad, kind, person_id, ts, touch_id, cost)


def record_touch(tx: Tx, touch: Touch) -> bool:
    """Append a touch; where it came after a conversion that it may have won, settle that one again.

    Returns:
        Whether the touch is new.
    """
    _hold_person(tx, touch)
    if not store.append_touch(tx, touch):
        return False
    span = (touch.ts, touch.expires_ts)
    for conversion in store.list_conversions_between(tx, touch.business_id, touch.person_id, span):
        _settle_winner(tx, conversion)
    return True


def record_conversion(tx: Tx, earned: Earned) -> None:
    """Append a conversion, once, and find the touch that won it.

    Messages come in any order: the same conversion with an earlier time moves back and is settled anew.
    """
    conversion = Conversion(
        conversion_id=rules.natural_number(earned.business_id, earned.kind, earned.subject_id),
        business_id=earned.business_id,
        person_id=earned.person_id,
        kind=earned.kind,
        subject_id=earned.subject_id,
        ts=earned.ts,
    )
    _hold_person(tx, conversion)
    if store.append_conversion(tx, conversion) or store.record_earlier(tx, conversion):
        _settle_winner(tx, conversion)


def _hold_person(tx: Tx, of: Touch | Conversion) -> None:
    """A touch and a conversion that come in at the same time must see each other."""
    tx.hold(rules.natural_number("person", of.business_id, of.person_id))


def withdraw_conversion(tx: Tx, business_id: str, subject_id: str, kind: ConversionKind) -> None:
    """Take a conversion out of the reports: it turned out to be none. The row stays, marked."""
    store.record_withdrawal(tx, business_id, subject_id, kind)


def _settle_winner(tx: Tx, conversion: Conversion) -> None:
    winner = rules.last_touch(store.list_candidates(tx, conversion), conversion)
    ad = store.find_measured_ad(tx, winner.business_id, winner.ad_id) if winner else None
    rt_day = rules.local_day(conversion.ts, ad.timezone) if ad else None
    store.record_winner(tx, conversion, winner, rt_day)
