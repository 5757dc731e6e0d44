"""Why a conversion is credited as it is: each touch of the person with what spoke for or against it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from contatto.measurement.model import Conversion, Policy, Touch, TouchKind
from contatto.measurement.rules import is_eligible, last_touch


class TouchVerdict(StrEnum):
    """What became of a touch when the winner was sought."""

    WON = "won"
    EARLIER = "earlier"
    BEHIND_CLICK = "behind_click"
    EXPIRED = "expired"
    NEVER_COUNTS = "never_counts"
    AFTERWARDS = "afterwards"


@dataclass(frozen=True, slots=True)
class Judged:
    """A touch and its verdict."""

    touch: Touch
    verdict: TouchVerdict


def judge_touches(
    touches: Iterable[Touch], conversion: Conversion, policy: Policy = Policy.CLICK_FIRST
) -> list[Judged]:
    """Every touch with its verdict, the latest first."""
    ordered = sorted(touches, key=lambda touch: (touch.ts, touch.touch_id), reverse=True)
    winner = last_touch(ordered, conversion, policy)
    return [Judged(touch, _verdict(touch, conversion, winner)) for touch in ordered]


def _verdict(touch: Touch, conversion: Conversion, winner: Touch | None) -> TouchVerdict:
    if winner is not None and touch.touch_id == winner.touch_id:
        return TouchVerdict.WON
    if touch.expires_ts < touch.ts:
        return TouchVerdict.NEVER_COUNTS
    if touch.ts > conversion.ts:
        return TouchVerdict.AFTERWARDS
    if winner is None or not is_eligible(touch, conversion):
        return TouchVerdict.EXPIRED
    later = (touch.ts, touch.touch_id) > (winner.ts, winner.touch_id)
    behind = touch.kind is TouchKind.VIEW and winner.kind is TouchKind.CLICK
    return TouchVerdict.BEHIND_CLICK if behind and later else TouchVerdict.EARLIER
