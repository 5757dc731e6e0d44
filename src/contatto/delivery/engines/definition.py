"""What is learned of, as Ibis expressions: the one definition, of which each engine's SQL is emitted.

Theory. The log tells what happened in the order in which it became known. An example is a decision whose ad
was seen, with what is known of it at a moment: an entry counts if it had arrived by then, whenever it
happened, so a late lead is none before it comes. Counters of a viewer take in what had arrived before the
decision was made, to the microsecond: decisions and arrivals of a viewer lie on one line of time, and a
counter is a sum over a range of it that ends before the decision. So no feature looks into the future, and a
viewer with a hundred thousand views costs a sort, not a square.

Installing Ibis is needed to change this file only: `make docs` emits the SQL that ships, and a test compares.
"""

from typing import Any, Final

import ibis

DIALECTS: Final = ("duckdb", "pyspark")
DAY_US: Final = 86_400_000_000
RARE_US: Final = 14 * DAY_US
"""Views are counted over a day, what is rarer over two weeks."""
_NUMBERS: Final = "array<int64>"

ENTRIES: Final = ibis.table(
    {
        "business_id": "string",
        "seq": "int64",
        "kind": "string",
        "nonce": "int64",
        "ts": "int64",
        "arrived_ts": "int64",
        "user_id": "string",
        "said": "string",
        "ad": "int64",
        "ad_group": "int64",
        "model": "int64",
        "propensity": "float64",
        "price_micros": "int64",
        "country": "string",
        "p": "array<float64>",
        "raw": "array<float64>",
        "hashes": _NUMBERS,
        "weights": "array<float32>",
        "kinds": "array<int32>",
        "between": _NUMBERS,
    },
    name="entries",
)
"""The columns of a file of decisions that are needed here."""
CUT: Final = ibis.table({"as_of_ts": "int64"}, name="cut")
"""One row: the moment at which examples are taken."""

_DECIDED: Final = (
    "business_id", "nonce", "user_id", "ts", "ad", "ad_group", "model", "propensity", "price_micros",
    "country", "p", "raw", "hashes", "weights", "kinds", "between",
)  # fmt: skip
PARTS: Final = 256
"""Impressions are dealt into so many parts, whoever saw them: a part is a fair sample."""
COUNTERS: Final = {
    "views_day": ("view", DAY_US, False),
    "views_of_ad_day": ("view", DAY_US, True),
    "clicks_day": ("click", DAY_US, False),
    "clicks": ("click", RARE_US, False),
    "conversations": ("conversation", RARE_US, False),
    "leads": ("lead", RARE_US, False),
    "spam": ("spam", RARE_US, False),
}
"""Counters of a viewer at a decision: what is counted, since how long before, and whether of the same ad."""


def statements() -> dict[str, Any]:
    """Every expression by the name of its file."""
    return {"examples": examples()}


class _Spark(ibis.config.Config):  # type: ignore[misc]  # Ibis has no types
    """What Ibis asks about Spark where PySpark is not installed: numbers that are none stay so."""

    treat_nan_as_null: bool = False


def emit_sql(expression: Any, dialect: str) -> str:
    """The SQL of an expression, as it ships."""
    ibis.options.pyspark = _Spark()
    return f"{ibis.to_sql(expression, dialect=dialect)}\n"


def examples() -> Any:
    """Decisions whose ads were seen: features as they were, counters as of then, what came so far."""
    known = ENTRIES.cross_join(CUT)
    known = known.filter(known.arrived_ts <= known.as_of_ts, known.nonce != 0)
    decided = known.filter(known.kind == "decision", known.ad != 0).select(*_DECIDED)
    became = _became(known)
    seen = decided.inner_join(became, ["business_id", "nonce"]).select(
        *_DECIDED, *(name for name in became.columns if name not in ("business_id", "nonce"))
    )
    counted = _counters(decided, known)
    joined = seen.left_join(counted, ["business_id", "nonce"])
    counts = {name: joined[name].fill_null(0).cast("int64") for name in COUNTERS}
    return joined.select(*seen.columns, **counts, part=(joined.nonce % PARTS).cast("int64"))


def _became(known: Any) -> Any:
    """Return when each impression was seen, and what is known to have come of it; nulls where nothing has."""

    def when(kind: str) -> Any:
        return known.ts.min(where=known.kind == kind)

    found = known.group_by("business_id", "nonce").agg(
        view_ts=when("view"),
        click_ts=when("click"),
        conversation_ts=when("conversation"),
        lead_ts=when("lead"),
        lead_arrived_ts=known.arrived_ts.min(where=known.kind == "lead"),
        spam_ts=when("spam"),
        quality=known.said.argmax(known.seq, where=known.kind == "quality"),
    )
    return found.filter(found.view_ts.notnull())


def _counters(decided: Any, known: Any) -> Any:
    """What had come to be known of each viewer before each decision for them; none for who is nobody."""
    somebody = decided.filter(decided.user_id != "")
    asks = somebody.select("business_id", "user_id", "ad", "nonce", at=somebody.ts, kind=ibis.literal("ask"))
    came = known.filter(known.kind != "decision").group_by("business_id", "nonce", "kind")
    came = came.agg(at=known.arrived_ts.min())
    came = came.inner_join(somebody.select("business_id", "nonce", "user_id", "ad"), ["business_id", "nonce"])
    moments = asks.union(came.select("business_id", "user_id", "ad", "nonce", "at", "kind"))
    counts = {}
    for name, (kind, since_us, of_ad) in COUNTERS.items():
        of = ["business_id", "user_id", "ad"] if of_ad else ["business_id", "user_id"]
        before = ibis.window(group_by=of, order_by="at", range=(-since_us, -1))
        counts[name] = (moments.kind == kind).cast("int64").sum().over(before)
    found = moments.mutate(**counts)
    return found.filter(found.kind == "ask").select("business_id", "nonce", *COUNTERS)
