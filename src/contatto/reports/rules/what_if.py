"""Who would have earned what under other windows or another policy; the stored winners stay as they are."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from contatto.measurement.model import Attribution, Conversion, ConversionKind, Policy, Touch, TouchKind
from contatto.measurement.rules import MICROSECONDS, last_touch

DAY_S: Final = 86_400
CLICK_DAYS: Final = (0, 1, 7, 14, 28)
VIEW_DAYS: Final = (0, 1, 7)
"""The windows that an ad group may have, in days; 0 stands for off."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """Windows in days (0 for off) and the policy that a report supposes for all ad groups."""

    click_days: int = 7
    view_days: int = 1
    policy: Policy = Policy.CLICK_FIRST


@dataclass(frozen=True, slots=True)
class Moved:
    """A conversion with the ad group that has it, and the one that would have it; None for nobody."""

    conversion: Attribution
    stored: str | None
    supposed: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """What an ad group has: conversations and leads."""

    conversations: int = 0
    leads: int = 0

    def plus(self, kind: ConversionKind) -> "Side":
        if kind is ConversionKind.LEAD:
            return replace(self, leads=self.leads + 1)
        return replace(self, conversations=self.conversations + 1)


def suppose(
    conversions: Iterable[Attribution], touches: Mapping[str, list[Touch]], supposed: Supposed
) -> list[Moved]:
    """Each conversion with both of its winners. ``touches`` are those of each person, by their id."""
    found: list[Moved] = []
    for stored in conversions:
        conversion = Conversion(**{name: getattr(stored, name) for name in Conversion.__dataclass_fields__})
        restamped = [_restamped(touch, supposed) for touch in touches.get(stored.person_id, [])]
        winner = last_touch(restamped, conversion, supposed.policy)
        found.append(Moved(stored, stored.ad_group_id, winner.ad_group_id if winner else None))
    return found


def _restamped(touch: Touch, supposed: Supposed) -> Touch:
    days = supposed.click_days if touch.kind is TouchKind.CLICK else supposed.view_days
    return replace(touch, expires_ts=touch.ts + days * DAY_S * MICROSECONDS if days else touch.ts - 1)


def sides(moved: Iterable[Moved]) -> dict[str | None, tuple[Side, Side]]:
    """What each ad group has, and what it would have; None stands for nobody."""
    has: defaultdict[str | None, Side] = defaultdict(Side)
    would: defaultdict[str | None, Side] = defaultdict(Side)
    for one in moved:
        has[one.stored] = has[one.stored].plus(one.conversion.kind)
        would[one.supposed] = would[one.supposed].plus(one.conversion.kind)
    return {key: (has[key], would[key]) for key in {*has, *would}}
