"""A small player by the protocol, for tests: any ad that may run, at one offer, never over a budget.

It is a program too, which misbehaves at its 50th request when ``--fault`` says so.
"""

import argparse
import json
import random
import sys
import time
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

Line = dict[str, Any]


@lru_cache(maxsize=10_000)
def local_date(timezone: str, quarter: int) -> date:
    return datetime.fromtimestamp(quarter * 900, UTC).astimezone(ZoneInfo(timezone)).date()


class RandomPlayer:
    """Takes any ad of an ad group that may run and has budget left for half as much again."""

    def __init__(self, seed: int = 0, offer_micros: int = 4_000_000) -> None:
        self.rng = random.Random(seed)  # noqa: S311  # seeded chance is the subject
        self.offer = offer_micros
        self.groups: dict[str, Line] = {}
        self.ads: dict[str, str] = {}
        self.shown: dict[str, tuple[str, int]] = {}
        self.spent: dict[tuple[str, Any], int] = {}
        self.total: dict[str, int] = {}
        self.heard: list[Line] = []

    def answer(self, line: Line) -> Line | None:
        kind = line["type"]
        if kind == "request":
            return self.decide(line)
        self.heard.append(line)
        if kind == "adgroup":
            self.groups[line["adgroup_id"]] = line
        elif kind == "ad":
            self.ads[line["ad_id"]] = line["adgroup_id"]
        elif kind == "view":
            self.charge(line)
        elif kind == "rank":
            return {"ask_id": line["ask_id"], "scores": [self.rng.random() for _ in line["candidates"]]}
        elif kind == "report":
            rows = [
                {"adgroup_id": group, "spend_micros": round(self.total.get(group, 0) / 1000)}
                for group in self.groups
            ]
            return {"ask_id": line["ask_id"], "adgroups": rows}
        return None

    def charge(self, line: Line) -> None:
        group, price = self.shown.pop(line["request_id"])
        key = self.span(self.groups[group], line["ts"])
        self.spent[key] = self.spent.get(key, 0) + price
        self.total[group] = self.total.get(group, 0) + price

    def span(self, group: Line, ts: int) -> tuple[str, Any]:
        if group["budget_mode"] != "day":
            return group["adgroup_id"], None
        return group["adgroup_id"], local_date(group["timezone"], ts // 900_000_000)

    def may_run(self, group: Line, line: Line) -> bool:
        ends = group.get("ends_ts") or line["ts"] + 1
        return group["status"] == "on" and group["starts_ts"] <= line["ts"] < ends

    def has_budget(self, group: Line, line: Line) -> bool:
        spent = self.spent.get(self.span(group, line["ts"]), 0)
        return group["budget_mode"] == "infinite" or spent < 980 * group["budget_micros"]

    def decide(self, line: Line) -> Line:
        open_groups = {
            name
            for name, group in self.groups.items()
            if line["country"] in group["countries"]
            and self.may_run(group, line)
            and self.has_budget(group, line)
        }
        able = [ad for ad, group in self.ads.items() if group in open_groups]
        if not able or self.offer < line["floor_micros"]:
            return {"request_id": line["request_id"], "ad_id": None, "adgroup_id": None}
        ad = self.rng.choice(able)
        self.shown[line["request_id"]] = (self.ads[ad], line["floor_micros"])
        return {
            "request_id": line["request_id"],
            "ad_id": ad,
            "adgroup_id": self.ads[ad],
            "offer_micros": self.offer,
            "price_micros": line["floor_micros"],
            "p_click": 0.05,
            "p_conversation": 0.4,
            "p_spam": 0.3,
            "p_lead": 0.2,
            "propensity": 1 / len(able),
        }


def misbehave(answer: Line, fault: str) -> str:
    """Return the text of an answer with a fault, or end or hang instead."""
    if fault == "dies":
        sys.exit("out of ideas")
    if fault == "hangs":
        time.sleep(600)
    changes: dict[str, Line] = {
        "another request": {"request_id": "r0"},
        "unknown ad": {"ad_id": "a-99"},
        "no price": {"price_micros": None},
        "price is a text": {"price_micros": "much"},
    }
    return "yes" if fault == "no JSON" else json.dumps(answer | changes.get(fault, {}))


def answer_lines(player: RandomPlayer, fault: str) -> None:
    """Answer the lines of standard input; the fault begins with the 50th ad that is shown."""
    ads = 0
    for text in sys.stdin:
        line = json.loads(text)
        answer = player.answer(line)
        if answer is not None:
            ads += answer.get("ad_id") is not None
            sys.stdout.write(misbehave(answer, fault if ads >= 50 else "") + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", default="")
    options = parser.parse_args()
    answer_lines(RandomPlayer(options.seed), options.fault)
