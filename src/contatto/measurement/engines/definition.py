"""Attribution and the report as Ibis expressions, from which `make docs` emits each engine's SQL.

Theory. Each touch carries `expires_ts`, the last microsecond at which it may win, and `day`, its date in the
zone of its business; both were stamped when it came in. So attribution is an equi-join of conversions and
touches on business and user, a filter `ts <= conversion.ts <= expires_ts`, and a maximum. The order of a
policy is one int64 key (a click above every view, then the time; or the time, then a click above a view), so
the winner takes two passes: the greatest key of each conversion, then the greatest id among its equals.
Without as-of join, struct, window function or zone the definition runs on every engine.

A conversion may have several rows that differ only in their user: its person and the viewers of that person.

The report is three sets of counts on one another and one grouping; nothing is joined that could be counted
twice. Instants lie within the years 1 to 9999, which leaves room for both keys in 64 bits.

Only a change of this file needs Ibis: the emitted SQL ships, and a test compares it.
"""

from typing import Any, Final

import ibis

from contatto.measurement.engines.parquet import columns_of
from contatto.measurement.model import AttributionPolicy

DIALECTS: Final = ("duckdb", "postgres", "pyspark", "clickhouse")
CLICK_FIRST: Final = 1 << 62
"""Above every instant, so that a click beats every view."""

TOUCHES: Final = ibis.table(
    columns_of(
        "touch_id int64, business_id string, user_id string, adgroup_id string, click int64, ts int64,"
        " expires_ts int64, day date, cost_micros int64"
    ),
    name="touches",
)
CONVERSIONS: Final = ibis.table(
    columns_of("conversion_id int64, business_id string, user_id string, lead int64, ts int64, day date"),
    name="conversions",
)
WINNERS: Final = ibis.table(
    columns_of(
        "conversion_id int64, touch_id int64, adgroup_id string, click int64, lead int64, day date,"
        " rt_day date"
    ),
    name="winners",
)
"""Result of `winners`, stored once: the report and the attributions both start from it."""


def statements() -> dict[str, Any]:
    """Return every expression by the name of its file."""
    # Every conversion, with its winner or with nulls.
    winner_columns = WINNERS.select("conversion_id", "touch_id", "adgroup_id", "click")
    joined = CONVERSIONS.select("conversion_id").distinct().left_join(winner_columns, "conversion_id")
    # Conversations and leads of each business that no touch won.
    conversions = CONVERSIONS.select("conversion_id", "business_id", "lead").distinct()
    remaining = conversions.anti_join(WINNERS, "conversion_id")
    unattributed_sums = {
        "conversations": (1 - remaining.lead).sum().cast("int64"),
        "leads": remaining.lead.sum().cast("int64"),
    }
    # Counts of each ad group and day; `rt_` counts fall on the day of the conversion.
    zero = ibis.literal(0, "int64")
    touch_counts = TOUCHES.select(
        "adgroup_id",
        "day",
        spend_micros=TOUCHES.cost_micros,
        impressions=1 - TOUCHES.click,
        clicks=TOUCHES.click,
        **dict.fromkeys(("conversations", "leads", "rt_conversations", "rt_leads"), zero),
    )
    no_touches = dict.fromkeys(("spend_micros", "impressions", "clicks"), zero)
    chats = 1 - WINNERS.lead
    winner_counts = WINNERS.select(
        "adgroup_id",
        "day",
        **no_touches,
        conversations=chats,
        leads=WINNERS.lead,
        rt_conversations=zero,
        rt_leads=zero,
    )
    conversion_day_counts = WINNERS.select(
        "adgroup_id",
        WINNERS.rt_day.name("day"),
        **no_touches,
        conversations=zero,
        leads=zero,
        rt_conversations=chats,
        rt_leads=WINNERS.lead,
    )
    counts = ibis.union(touch_counts, winner_counts, conversion_day_counts)
    sums = {name: counts[name].sum().cast("int64") for name in counts.columns[2:]}
    return {
        **{f"winners_{policy}": winners(policy) for policy in AttributionPolicy},
        "attributions": joined.select("conversion_id", "touch_id", "adgroup_id", "click"),
        "report": counts.group_by("adgroup_id", "day").agg(**sums),
        "unattributed": remaining.group_by("business_id").agg(**unattributed_sums),
    }


def winners(policy: AttributionPolicy) -> Any:
    """Return the winner of each conversion that has one."""
    converted = CONVERSIONS.rename(at_ts="ts", rt_day="day")
    pairs = converted.join(TOUCHES, ["business_id", "user_id"])
    pairs = pairs.filter(pairs.ts <= pairs.at_ts, pairs.at_ts <= pairs.expires_ts)
    key = (
        pairs.click * CLICK_FIRST + pairs.ts
        if policy is AttributionPolicy.CLICK_FIRST
        else pairs.ts * 2 + pairs.click
    )
    pairs = pairs.select("conversion_id", "touch_id", "adgroup_id", "click", "lead", "day", "rt_day", key=key)
    best = pairs.group_by("conversion_id").agg(best=pairs.key.max())
    ties = pairs.join(best, "conversion_id")
    ties = ties.filter(ties.key == ties.best)
    return ties.group_by("conversion_id").agg(
        adgroup_id=ties.adgroup_id.argmax(ties.touch_id),
        click=ties.click.max(),
        lead=ties.lead.max(),
        day=ties.day.argmax(ties.touch_id),
        rt_day=ties.rt_day.max(),
        touch_id=ties.touch_id.max(),
    )
