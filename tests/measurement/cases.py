"""Small worlds of events that try to break attribution: ties, edges of windows, zones, repeats, any order."""

import random
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
SECOND = 1_000_000
DAY = 86_400 * SECOND
SPRING = 1_774_746_000 * SECOND
"""The 29th of March 2026, 01:00 UTC: the clocks of Europe go forward."""
BASES = (
    SPRING,
    1_792_893_600 * SECOND,  # and back again, in October
    1_767_225_600 * SECOND,
    0,
    -86_400 * SECOND * 400,  # before 1970
    4_102_444_800 * SECOND,  # the year 2100
    -4_000_000_000 * SECOND,  # the year 1843, when towns had times of their own
)
ZONES = (
    "Europe/Rome", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "UTC", "America/Santiago",
    "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Monrovia",
)  # fmt: skip
WINDOWS = (None, 0, 1, 60, 3_600, 86_400, 7 * 86_400, 28 * 86_400)


def world(seed: int, touches: int = 60, name: str = "", views: Sequence[int | None] = WINDOWS) -> list[Row]:
    """One world, its ids marked with ``name`` and its seed, so that many can share a file.

    ``views`` are the windows of views to choose from.
    """
    chance = random.Random(seed)  # noqa: S311  # the same world in every run
    mark = f"{name}{seed}"
    number = seed * 10_000
    rows: list[Row] = []
    businesses = [f"b{mark}-{one}" for one in range(2)]
    rows += [{"type": "business", "business_id": one, "timezone": chance.choice(ZONES)} for one in businesses]
    groups = [f"g{mark}-{one}" for one in range(5)]
    owner = {one: chance.choice(businesses) for one in groups}
    rows += [
        {
            "type": "adgroup",
            "adgroup_id": one,
            "campaign_id": f"c{mark}",
            "business_id": owner[one],
            "goal": chance.choice(["lead", "conversation"]),
        }
        for one in groups
    ]
    start = chance.choice(BASES)
    moments = [start + chance.randrange(-30, 30) * DAY // 4 for _ in range(8)]
    for group in groups:
        for _ in range(chance.choice([0, 0, 1, 3])):
            rows.append(
                {
                    "type": "window",
                    "adgroup_id": group,
                    "from_ts": chance.choice(moments),
                    "click_s": chance.choice(WINDOWS),
                    "view_s": chance.choice(views),
                }
            )
    users = [f"u{chance.randrange(3)}" for _ in range(3)]
    events = [
        {
            "type": "touch",
            "touch_id": number + one,
            "user_id": chance.choice(users),
            "adgroup_id": chance.choice(groups),
            "ad_id": f"a{mark}",
            "kind": chance.choice(["view", "view", "click"]),
            "ts": _moment(chance, moments),
            "cost_micros": chance.choice([0, 1, 7, 1_000_001]),
        }
        for one in chance.sample(range(touches), touches)
    ]
    events += [_conversion(chance, number + one, (businesses, users), (events, moments)) for one in range(15)]
    events += chance.choices(events, k=touches // 5)
    chance.shuffle(events)
    return rows + events


def _moment(chance: random.Random, moments: list[int]) -> int:
    return chance.choice(moments) + chance.choice([0, 0, 0, 1, -1, SECOND, 3_600 * SECOND, DAY])


def _conversion(
    chance: random.Random, number: int, who: tuple[list[str], list[str]], when: tuple[list[Row], list[int]]
) -> Row:
    """A conversion that is often just at, or just beyond, the edge of some touch's window."""
    (businesses, users), (events, moments) = who, when
    near = chance.choice(events)
    window = chance.choice([seconds for seconds in WINDOWS if seconds is not None]) * SECOND
    edge = near["ts"] + window + chance.choice([-1, 0, 0, 1])
    return {
        "type": "conversion",
        "conversion_id": number,
        "user_id": near["user_id"] if chance.random() < 0.7 else chance.choice(users),
        "business_id": chance.choice(businesses),
        "kind": chance.choice(["lead", "conversation"]),
        "ts": edge if chance.random() < 0.7 else _moment(chance, moments),
    }


def joined(worlds: list[list[Row]]) -> list[Row]:
    """Many worlds as one file: configuration first."""
    rows = [row for world in worlds for row in world]
    return sorted(rows, key=lambda row: row["type"] in {"touch", "conversion"})
