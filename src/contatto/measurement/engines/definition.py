"""Attribution and the report as Ibis expressions: the one definition, of which each engine's SQL is emitted.

Theory. Each touch carries `expires_ts`, the last microsecond at which it may win, and `day`, its date in the
zone of its business; both were stamped when it came in. So attribution is an equi-join of conversions and
touches on business and user, a filter `ts <= conversion.ts <= expires_ts`, and a maximum. The order of a
policy is one int64 key (a click above every view, then the time; or the time, then a click above a view), so
the winner takes two passes: the greatest key of each conversion, then the greatest id among its equals.
Without as-of join, struct, window function or zone the definition runs on every engine.

A conversion may have several rows that differ only in their user: its person and the viewers of that person.

The report is three sets of counts on one another and one grouping; nothing is joined that could be counted
twice. Instants lie within the years 1 to 9999, which leaves room for both keys in 64 bits.

Installing Ibis is needed to change this file only: `make docs` emits the SQL that ships, and a test compares.
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
"""What `winners` gives: stored once, since the report and the attributions both start from it."""


def statements() -> dict[str, Any]:
    """Return every expression by the name of its file."""
    # Every conversion, with its winner or with nulls.
    won = WINNERS.select("conversion_id", "touch_id", "adgroup_id", "click")
    joined = CONVERSIONS.select("conversion_id").distinct().left_join(won, "conversion_id")
    # Conversations and leads of each business that no touch won.
    conversions = CONVERSIONS.select("conversion_id", "business_id", "lead").distinct()
    remaining = conversions.anti_join(WINNERS, "conversion_id")
    missed = {
        "conversations": (1 - remaining.lead).sum().cast("int64"),
        "leads": remaining.lead.sum().cast("int64"),
    }
    # Counts of each ad group and day; `rt_` counts fall on the day of the conversion.
    zero = ibis.literal(0, "int64")
    spent = TOUCHES.select(
        "adgroup_id",
        "day",
        spend_micros=TOUCHES.cost_micros,
        impressions=1 - TOUCHES.click,
        clicks=TOUCHES.click,
        **dict.fromkeys(("conversations", "leads", "rt_conversations", "rt_leads"), zero),
    )
    nothing = dict.fromkeys(("spend_micros", "impressions", "clicks"), zero)
    chats = 1 - WINNERS.lead
    earned = WINNERS.select(
        "adgroup_id",
        "day",
        **nothing,
        conversations=chats,
        leads=WINNERS.lead,
        rt_conversations=zero,
        rt_leads=zero,
    )
    in_real_time = WINNERS.select(
        "adgroup_id",
        WINNERS.rt_day.name("day"),
        **nothing,
        conversations=zero,
        leads=zero,
        rt_conversations=chats,
        rt_leads=WINNERS.lead,
    )
    counts = ibis.union(spent, earned, in_real_time)
    sums = {name: counts[name].sum().cast("int64") for name in counts.columns[2:]}
    return {
        **{f"winners_{policy}": winners(policy) for policy in AttributionPolicy},
        "attributions": joined.select("conversion_id", "touch_id", "adgroup_id", "click"),
        "report": counts.group_by("adgroup_id", "day").agg(**sums),
        "unattributed": remaining.group_by("business_id").agg(**missed),
    }


def winners(policy: AttributionPolicy) -> Any:
    """Return the winner of each conversion that has one."""
    converted = CONVERSIONS.rename(at_ts="ts", rt_day="day")
    met = converted.join(TOUCHES, ["business_id", "user_id"])
    met = met.filter(met.ts <= met.at_ts, met.at_ts <= met.expires_ts)
    key = (
        met.click * CLICK_FIRST + met.ts
        if policy is AttributionPolicy.CLICK_FIRST
        else met.ts * 2 + met.click
    )
    met = met.select("conversion_id", "touch_id", "adgroup_id", "click", "lead", "day", "rt_day", key=key)
    best = met.group_by("conversion_id").agg(best=met.key.max())
    equal = met.join(best, "conversion_id")
    equal = equal.filter(equal.key == equal.best)
    return equal.group_by("conversion_id").agg(
        adgroup_id=equal.adgroup_id.argmax(equal.touch_id),
        click=equal.click.max(),
        lead=equal.lead.max(),
        day=equal.day.argmax(equal.touch_id),
        rt_day=equal.rt_day.max(),
        touch_id=equal.touch_id.max(),
    )
