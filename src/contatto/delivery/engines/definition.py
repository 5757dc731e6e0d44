"""Definition of training examples as Ibis expressions; `tools.statements` emits their SQL per engine."""

from typing import Any, Final

import ibis

from contatto.delivery.engines.files import LAYOUT
from contatto.learning.columns import DAY_US

DIALECTS: Final = ("duckdb", "pyspark")
RARE_US: Final = 14 * DAY_US
"""Window of rare events; frequent ones are counted over a day."""

_IBIS_TYPES: Final = {
    "VARCHAR": "string", "BIGINT": "int64", "DOUBLE": "float64", "DOUBLE[]": "array<float64>",
    "BIGINT[]": "array<int64>", "FLOAT[]": "array<float32>", "INTEGER[]": "array<int32>",
}  # fmt: skip
_UNREAD: Final = frozenset({"offer_micros", "floor_micros", "placement", "trial"})

ENTRIES: Final = ibis.table(
    {name: _IBIS_TYPES[kind] for name, kind in LAYOUT.columns.items() if name not in _UNREAD}, name="entries"
)
"""The columns of a file of decisions that examples need."""

CUT: Final = ibis.table({"as_of_ts": "int64"}, name="cut")
"""One row: the time at which examples are taken."""

_DECIDED: Final = (
    "business_id", "nonce", "user_id", "ts", "ad", "ad_group", "model", "propensity", "price_micros",
    "country", "p", "raw", "hashes", "weights", "kinds", "between",
)  # fmt: skip

PARTS: Final = 256
"""Number of random parts of impressions; each part is an unbiased sample."""

COUNTERS: Final = {
    "views_day": ("view", DAY_US, False),
    "views_of_ad_day": ("view", DAY_US, True),
    "clicks_day": ("click", DAY_US, False),
    "clicks": ("click", RARE_US, False),
    "conversations": ("conversation", RARE_US, False),
    "leads": ("lead", RARE_US, False),
    "spam": ("spam", RARE_US, False),
}
"""Counters of a viewer at a decision: event, window, and if only events of the same ad count."""


def statements() -> dict[str, Any]:
    """Return every expression by the name of its SQL file."""
    return {"examples": examples()}


def examples() -> Any:
    """Join viewed decisions with counters at their time and with outcomes until the cut."""
    entries = ENTRIES.cross_join(CUT)
    entries = entries.filter(entries.arrived_ts <= entries.as_of_ts, entries.nonce != 0)
    decided = entries.filter(entries.kind == "decision", entries.ad != 0).select(*_DECIDED)

    def first(kind: str) -> Any:
        return entries.ts.min(where=entries.kind == kind)

    outcomes = entries.group_by("business_id", "nonce").agg(
        view_ts=first("view"),
        click_ts=first("click"),
        conversation_ts=first("conversation"),
        lead_ts=first("lead"),
        lead_arrived_ts=entries.arrived_ts.min(where=entries.kind == "lead"),
        spam_ts=first("spam"),
        quality=entries.said.argmax(entries.seq, where=entries.kind == "quality"),
    )
    outcomes = outcomes.filter(outcomes.view_ts.notnull())
    viewed = decided.inner_join(outcomes, ["business_id", "nonce"]).select(
        *_DECIDED, *(name for name in outcomes.columns if name not in ("business_id", "nonce"))
    )
    # the events of each viewer that had arrived before each decision for them
    identified = decided.filter(decided.user_id != "")
    asks = identified.select(
        "business_id", "user_id", "ad", "nonce", at=identified.ts, kind=ibis.literal("ask")
    )
    events = entries.filter(entries.kind != "decision").group_by("business_id", "nonce", "kind")
    events = events.agg(at=entries.arrived_ts.min())
    events = events.inner_join(
        identified.select("business_id", "nonce", "user_id", "ad"), ["business_id", "nonce"]
    )
    moments = asks.union(events.select("business_id", "user_id", "ad", "nonce", "at", "kind"))
    sums = {}
    for name, (kind, since_us, of_ad) in COUNTERS.items():
        keys = ["business_id", "user_id", "ad"] if of_ad else ["business_id", "user_id"]
        before = ibis.window(group_by=keys, order_by="at", range=(-since_us, -1))
        sums[name] = (moments.kind == kind).cast("int64").sum().over(before)
    counted = moments.mutate(**sums)
    counted = counted.filter(counted.kind == "ask").select("business_id", "nonce", *COUNTERS)
    joined = viewed.left_join(counted, ["business_id", "nonce"])
    counts = {name: joined[name].fill_null(0).cast("int64") for name in COUNTERS}
    return joined.select(*viewed.columns, **counts, part=(joined.nonce % PARTS).cast("int64"))
