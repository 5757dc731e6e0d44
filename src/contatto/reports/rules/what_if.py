"""Who would have earned what under other windows or another policy; the stored winners stay as they are."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from contatto.measurement.model import ConversionKind, Policy, Touch

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
class Weighed:
    """A conversion with the ad group that has it, and the one that would have it; None for nobody."""

    conversion_id: int
    kind: ConversionKind
    ts: int
    stored: str | None
    supposed: str | None


@dataclass(frozen=True, slots=True)
class Rivals:
    """A conversion with the latest tap and the latest view within the windows that are supposed."""

    conversion_id: int
    person_id: str
    kind: ConversionKind
    ts: int
    stored: str | None
    click_ts: int | None
    click_group: str | None
    view_ts: int | None
    view_id: int | None
    view_group: str | None

    def with_view(self, view: Touch | None) -> "Rivals":
        """The same with another view, if that one is the later."""
        if view is None:
            return self
        if self.view_ts is not None and (view.ts, view.touch_id) < (self.view_ts, self.view_id):
            return self
        return replace(self, view_ts=view.ts, view_id=view.touch_id, view_group=view.ad_group_id)

    def weighed(self, policy: Policy) -> Weighed:
        """Who would have the conversion: as ``measurement.rules.last_touch`` decides between the two."""
        by_click = self.click_ts is not None
        if by_click and self.view_ts is not None and policy is Policy.LAST_TOUCH:
            by_click = self.view_ts <= (self.click_ts or 0)
        winner = self.click_group if by_click else self.view_group
        return Weighed(self.conversion_id, self.kind, self.ts, self.stored, winner)


@dataclass(frozen=True, slots=True)
class Side:
    """What an ad group has: conversations and leads."""

    conversations: int = 0
    leads: int = 0

    def plus(self, kind: ConversionKind) -> "Side":
        if kind is ConversionKind.LEAD:
            return replace(self, leads=self.leads + 1)
        return replace(self, conversations=self.conversations + 1)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Both sides of each ad group (None stands for nobody), and what changes hands, the latest of it."""

    count: int
    sides: dict[str | None, tuple[Side, Side]]
    changed_count: int
    changed: tuple[Weighed, ...]


def weigh(conversions: Iterable[Weighed], most_told: int) -> WhatIf:
    """Count both sides; of what changes hands, the first are told one by one. They may be very many."""
    has: defaultdict[str | None, Side] = defaultdict(Side)
    would: defaultdict[str | None, Side] = defaultdict(Side)
    changed: list[Weighed] = []
    count = changed_count = 0
    for one in conversions:
        count += 1
        has[one.stored] = has[one.stored].plus(one.kind)
        would[one.supposed] = would[one.supposed].plus(one.kind)
        if one.stored != one.supposed:
            changed_count += 1
            if len(changed) < most_told:
                changed.append(one)
    sides = {key: (has[key], would[key]) for key in {*has, *would}}
    return WhatIf(count, sides, changed_count, tuple(changed))
