"""Logs of decisions by lot, as rows of their files; and their examples by the plainest Python."""

import random
from pathlib import Path
from typing import Any
from uuid import UUID

from contatto.delivery.engines.files import LAYOUT
from contatto.measurement.engines.parquet import write_parquet

Row = dict[str, Any]
HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 1_767_225_600_000_000  # the 1st of January 2026
KINDS = ("view", "click", "conversation", "lead", "spam", "quality")
COUNTERS = {
    "views_day": ("view", DAY, False),
    "views_of_ad_day": ("view", DAY, True),
    "clicks_day": ("click", DAY, False),
    "clicks": ("click", 14 * DAY, False),
    "conversations": ("conversation", 14 * DAY, False),
    "leads": ("lead", 14 * DAY, False),
    "spam": ("spam", 14 * DAY, False),
}


def random_log(seed: int, decisions: int = 60, viewers: int = 5) -> list[Row]:
    """Decisions for few viewers and what became of them, some told twice, late, at one moment, or without."""
    lots = random.Random(seed)  # noqa: S311 — a test draws from seeded chance
    people = [str(UUID(int=lots.getrandbits(128))) for _ in range(viewers)] + [""]
    told: list[tuple[int, Row]] = []
    for number in range(1, decisions + 1):
        ts = START + lots.randrange(20 * 24) * HOUR + lots.randrange(3)
        nonce = seed * 1_000 + number
        ad = lots.randrange(4)
        made = {"kind": "decision", "nonce": nonce, "ts": ts, "user_id": lots.choice(people), "ad": ad}
        made |= {
            "ad_group": ad % 2, "model": 3, "propensity": lots.random(), "price_micros": lots.randrange(999),
            "country": lots.choice(("SG", "ID")), "p": [0.5], "raw": [0.25],
            "hashes": [lots.getrandbits(63) - (1 << 62)], "weights": [0.5], "kinds": [1], "between": [nonce],
        }  # fmt: skip
        told.append((ts + lots.randrange(2), made))
        at = ts
        for kind in KINDS:
            if lots.random() < (0.1 if kind == "view" else 0.45):
                break
            at += lots.choice((0, 1, HOUR, DAY, 3 * DAY))
            for _ in range(lots.choice((1, 1, 1, 2))):
                said = lots.choice(("qualified", "unqualified")) if kind == "quality" else ""
                late = lots.choice((0, 0, HOUR, 2 * DAY))
                told.append(
                    (at + late, {"kind": kind, "nonce": nonce, "ts": at, "user_id": "", "said": said})
                )
    told.append((START, {"kind": "click", "nonce": 0, "ts": START, "user_id": people[0], "said": ""}))
    told.sort(key=lambda each: each[0])
    return [
        {"business_id": "shop", "seq": seq, "arrived_ts": arrived} | row
        for seq, (arrived, row) in enumerate(told, 1)
    ]


def write_log(path: Path, rows: list[Row]) -> None:
    write_parquet(path, LAYOUT, rows)


def examples_of(rows: list[Row], as_of_ts: int) -> list[Row]:
    """What is known at a moment, impression by impression, without any cleverness."""
    known = [row for row in rows if row["arrived_ts"] <= as_of_ts and row["nonce"]]
    decided = {row["nonce"]: row for row in known if row["kind"] == "decision" and row["ad"]}
    found = []
    for nonce, made in decided.items():
        mine = [row for row in known if row["nonce"] == nonce]
        when = {kind: min((row["ts"] for row in mine if row["kind"] == kind), default=None) for kind in KINDS}
        if when["view"] is None:
            continue
        qualities = [row["said"] for row in mine if row["kind"] == "quality"]
        arrived = [row["arrived_ts"] for row in mine if row["kind"] == "lead"]
        found.append(
            {name: made[name] for name in ("nonce", "user_id", "ts", "ad", "hashes", "weights", "propensity")}
            | {f"{kind}_ts": when[kind] for kind in KINDS[:-1]}
            | {"quality": qualities[-1] if qualities else None, "lead_arrived_ts": min(arrived, default=None)}
            | _counters(made, known, decided)
        )
    return sorted(found, key=lambda row: row["nonce"])


def _counters(made: Row, known: list[Row], decided: dict[int, Row]) -> Row:
    found = dict.fromkeys(COUNTERS, 0)
    if not made["user_id"]:
        return found
    for name, (kind, since, of_ad) in COUNTERS.items():
        for other in decided.values():
            if other["user_id"] != made["user_id"] or (of_ad and other["ad"] != made["ad"]):
                continue
            came = [
                row["arrived_ts"] for row in known if row["nonce"] == other["nonce"] and row["kind"] == kind
            ]
            found[name] += bool(came) and made["ts"] - since <= min(came) < made["ts"]
    return found
