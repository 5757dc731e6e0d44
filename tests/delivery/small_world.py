"""A small world that plays lines: some viewers and ads, and what becomes of each view, from a seed."""

import heapq
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from contatto.learning import batch_learning
from contatto.learning.market import MarketState

type Line = dict[str, Any]
type Ask = Callable[[Line], Line | None]

BEGINS = 1_767_225_600_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
ZONES = ("UTC", "America/New_York", "Asia/Tokyo")


def set_up(ads: int = 6, **changes: Any) -> Iterator[Line]:
    """Ad groups with an ad each, of two advertisers, in three time zones."""
    for number in range(ads):
        yield {
            "type": "adgroup",
            "ts": BEGINS,
            "adgroup_id": f"group {number}",
            "advertiser_id": f"advertiser {number % 2}",
            "goal": "lead" if number % 3 else "conversation",
            "budget_mode": "day",
            "budget_micros": 2_000_000,
            "countries": ["IT", "SG"] if number % 2 else ["IT"],
            "timezone": ZONES[number % 3],
            **changes,
        }
        yield {
            "type": "ad",
            "ts": BEGINS,
            "ad_id": f"ad {number}",
            "adgroup_id": f"group {number}",
            "features": {
                "theme": f"theme {number % 3}",
                "words": ["free", f"word {number}"],
                "length": number,
            },
        }


def play(ask: Ask, seed: int = 1, requests: int = 2_000, days: float = 1.0, ads: int = 6) -> list[Line]:
    """Play a world through ``ask``; every line that was told comes back, in order."""
    chance = random.Random(seed)  # noqa: S311 — seeded
    told: list[Line] = []
    later: list[tuple[int, int, Line]] = []

    def tell(line: Line) -> Line | None:
        told.append(line)
        return ask(line)

    def plan(line: Line) -> None:
        heapq.heappush(later, (line["ts"], len(told) + len(later), line))

    for line in set_up(ads):
        tell(line)
    for number in range(requests):
        ts = BEGINS + round(number * days * DAY / requests)
        while later and later[0][0] <= ts:
            tell(heapq.heappop(later)[2])
        viewer = chance.randrange(200)
        request = {
            "type": "request",
            "ts": ts,
            "request_id": f"r{number}",
            "viewer_id": f"viewer {viewer}",
            "country": "IT" if viewer % 3 else "SG",
            "features": {
                "taste": f"taste {viewer % 5}",
                "age": 18 + viewer % 50,
                "likes": ["a", "b"][: viewer % 3],
            },
            "floor_micros": chance.randrange(500_000, 3_000_000),
        }
        answer = tell(request)
        if answer and answer["ad_id"] and chance.random() < 0.95:
            _live(plan, chance, request, answer, viewer)
    while later:
        tell(heapq.heappop(later)[2])
    tell({"type": "report", "ts": told[-1]["ts"], "ask_id": "the end"})
    return told


def _live(
    plan: Callable[[Line], None], chance: random.Random, request: Line, answer: Line, viewer: int
) -> None:
    ts, name = request["ts"], request["request_id"]
    plan({"type": "view", "ts": ts + SECOND, "request_id": name})
    ad = int(answer["ad_id"].split()[1])
    if chance.random() > (0.4 if viewer % 5 == ad % 5 else 0.1):
        return
    plan({"type": "click", "ts": ts + 5 * SECOND, "request_id": name})
    about = {"viewer_id": f"viewer {viewer}", "advertiser_id": f"advertiser {ad % 2}"}
    if chance.random() < 0.6:
        plan({"type": "conversation", "ts": ts + 60 * SECOND, **about})
        if viewer % 7 == 0:
            plan({"type": "spam", "ts": ts + 3_600 * SECOND, **about})
        elif chance.random() < 0.5:
            after = round(chance.expovariate(1 / 7_200)) * SECOND
            plan({"type": "lead", "ts": ts + 61 * SECOND + after, **about, "source": "chat"})
            status = chance.choice(["qualified", "unqualified", "converted"])
            plan({"type": "quality", "ts": ts + 62 * SECOND + 2 * after, **about, "status": status})


def relearn_market(market: MarketState) -> None:
    """Do all slices of a training on all observations at once."""
    with patch.object(batch_learning, "MOST_OLD_PER_NEW", 10**6):
        for _ in batch_learning.relearn_in_slices(market):
            pass
