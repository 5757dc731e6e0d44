"""The winner that is found when an event comes in is the one that the batch finds, in any order of events."""

import random
from typing import Any

import pytest
from sqlalchemy import select

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.measurement.actions import NewConversion, publish_ad, record_conversions
from contatto.measurement.model import LONGEST_VIEW_S, Attribution, ConversionKind, Goal, Touch, TouchKind
from contatto.measurement.rules import natural_number
from contatto.measurement.store import conversions
from tests import make
from tests.make import record_touch
from tests.measurement import oracle
from tests.measurement.cases import WINDOWS, world

VIEWS = [each for each in WINDOWS if (each or 0) <= LONGEST_VIEW_S]

Row = dict[str, Any]


def record_world(tx: Tx, rows: list[Row], chance: random.Random) -> None:
    """Every event of a world, in any order, some of them twice."""
    groups = {row["adgroup_id"]: row for row in rows if row["type"] == "adgroup"}
    zones = {row["business_id"]: row["timezone"] for row in rows if row["type"] == "business"}
    windows = [row for row in rows if row["type"] == "window"]
    for name, group in groups.items():
        ad = make.ad(
            group["business_id"],
            ad_id=name,
            ad_group_id=name,
            ad_number=natural_number(name),
            goal=Goal(group["goal"]),
            timezone=zones[group["business_id"]],
        )
        publish_ad(tx, ad)
    events = [row for row in rows if row["type"] in {"touch", "conversion"}]
    events += chance.choices(events, k=10)
    chance.shuffle(events)
    events.sort(key=lambda event: event["kind"] != TouchKind.VIEW)  # a view is stored when it happens
    for event in events:
        if event["type"] == "touch":
            business_id = groups[event["adgroup_id"]]["business_id"]
            record_touch(tx, touch_of(event, business_id, oracle.window_of(event, windows)))
        else:
            kind = ConversionKind(event["kind"])
            subject = str(event["conversion_id"])
            won = NewConversion(event["business_id"], event["user_id"], kind, subject, event["ts"])
            record_conversions(tx, [won])


def touch_of(event: Row, business_id: str, window_s: int | None) -> Touch:
    return Touch(
        touch_id=event["touch_id"],
        business_id=business_id,
        person_id=event["user_id"],
        ad_id=event["adgroup_id"],
        ad_group_id=event["adgroup_id"],
        ad_account_id="account",
        kind=TouchKind(event["kind"]),
        ts=event["ts"],
        expires_ts=event["ts"] - 1 if window_s is None else event["ts"] + window_s * 1_000_000,
        day="2026-01-01",
        cost_micros=event["cost_micros"],
    )


@pytest.mark.parametrize(
    ("database", "worlds"), [("sqlite", 60), ("postgresql", 8)], indirect=["database"], ids=["sqlite", "pg"]
)
def test_at_ingest_the_same_touch_wins_as_in_the_batch(database: Database, worlds: int) -> None:
    chance = random.Random(5)  # noqa: S311  # seeded
    cases = [world(seed, name="w", views=VIEWS) for seed in range(worlds)]
    for rows in cases:
        database.write_now(lambda tx, rows=rows: record_world(tx, rows, chance))  # type: ignore[misc]
    kept = database.read_now(lambda tx: tx.list(Attribution, select(conversions)))
    found = {one.subject_id: (one.touch_id, one.ad_group_id, one.via) for one in kept}
    wanted = {
        str(row["conversion_id"]): (row["touch_id"], row["adgroup_id"], row["via"])
        for rows in cases
        for row in oracle.answer(rows)
        if row["type"] == "attribution"
    }
    assert {key: (found[key], row) for key, row in wanted.items() if found[key] != row} == {}
    assert len(found) == len(wanted)
