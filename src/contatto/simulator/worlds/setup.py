"""What holds at each moment of a world: which ad groups run, with which budget, over which span of time."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from contatto.simulator.worlds.model import DAY, SECOND, STARTS_TS, TICK, Flags, Floats, Group, World


@dataclass(slots=True)
class Standing:
    """An ad group as it stands now, after the edits so far."""

    group: Group
    is_on: bool = True

    def change(self, changes: Mapping[str, Any]) -> None:
        known = dict(changes)
        self.is_on = known.pop("status", "on" if self.is_on else "off") == "on"
        self.group = replace(self.group, **known)

    def runs(self, ts: int) -> bool:
        group = self.group
        return self.is_on and group.starts_ts <= ts and (not group.ends_ts or ts < group.ends_ts)


@dataclass(slots=True)
class Standings:
    """All ad groups of a world as they stand; moments may only go on."""

    world: World
    groups: list[Standing] = field(init=False)
    _next: int = 0

    def __post_init__(self) -> None:
        self.groups = [Standing(group) for group in self.world.groups]

    def move_to(self, ts: int) -> list[int]:
        """Apply the edits up to a moment; the ad groups that changed come back."""
        changed = []
        edits = self.world.edits
        while self._next < len(edits) and edits[self._next].ts <= ts:
            edit = edits[self._next]
            self.groups[edit.group].change(edit.changes)
            changed.append(edit.group)
            self._next += 1
        return changed

    def running(self, ts: int) -> Flags:
        """Return which ad groups may show ads at a moment, budgets aside."""
        return np.array([group.runs(ts) for group in self.groups])


class Spans:
    """The span over which a budget lasts: a day of the ad group's time zone, or its whole schedule."""

    def __init__(self, world: World) -> None:
        self._last = STARTS_TS + world.days * DAY
        zones = {group.timezone for group in world.groups}
        self._midnights = {zone: midnights(zone, world.days) for zone in zones}

    def at(self, group: Group, ts: int) -> tuple[int, int]:
        """Beginning and end of the span that a moment lies in."""
        if group.budget_mode != "day":
            return group.starts_ts, group.ends_ts or self._last
        known = self._midnights[group.timezone]
        place = bisect_right(known, ts)
        return known[place - 1], known[place]


def midnights(timezone: str, days: int) -> list[int]:
    """Each midnight of a time zone, from before a world's beginning until after its end."""
    zone = ZoneInfo(timezone)
    first = datetime.fromtimestamp(STARTS_TS // SECOND, UTC).date() - timedelta(days=2)
    found = []
    for number in range(days + 5):
        day = first + timedelta(days=number)
        found.append(round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND)
    return found


def offset_s(timezone: str, day: int) -> int:
    """Return how far a time zone is ahead of UTC at noon of a day, in seconds."""
    moment = datetime.fromtimestamp((STARTS_TS + day * DAY + DAY // 2) // SECOND, ZoneInfo(timezone))
    offset = moment.utcoffset()
    return round(offset.total_seconds()) if offset else 0


def expected_flow(world: World) -> Floats:
    """Requests that each ad group may expect in each tick (rows) of the whole world, by its countries."""
    aimed = np.array([[country in group.countries for country in world.countries] for group in world.groups])
    days = [world.flow(day) @ aimed.T for day in range(world.days)]
    return np.asarray(np.concatenate(days))


def tick_of(ts: int) -> int:
    """The number of the tick since the world began."""
    return (ts - STARTS_TS) // TICK
