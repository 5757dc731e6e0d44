"""Attribution by brute force: every touch against every conversion, written from the rules."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
DEFAULTS = {"click": 7 * 86_400, "view": 86_400}


def answer(rows: Iterable[Row], policy: str | None = None) -> list[Row]:
    """All output rows for these input rows."""
    rows = list(rows)
    by_type: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_type[row["type"]].append(row)
    chosen = policy or next((row["policy"] for row in by_type["config"]), "click_first")
    zones = {row["business_id"]: ZoneInfo(row["timezone"]) for row in by_type["business"]}
    groups = {row["adgroup_id"]: row for row in by_type["adgroup"]}
    touches = list({row["touch_id"]: row for row in by_type["touch"]}.values())
    conversions = list({row["conversion_id"]: row for row in by_type["conversion"]}.values())
    won = {c["conversion_id"]: winner(c, touches, groups, by_type["window"], chosen) for c in conversions}
    out = [attribution(c, won[c["conversion_id"]]) for c in conversions]
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 7)
    for touch in touches:
        cell = counts[touch["adgroup_id"], day_of(touch, zones[groups[touch["adgroup_id"]]["business_id"]])]
        cell[0] += touch["cost_micros"]
        cell[2 if touch["kind"] == "click" else 1] += 1
    missed = {business: [0, 0] for business in zones}
    for conversion in conversions:
        touch = won[conversion["conversion_id"]]
        is_lead = int(conversion["kind"] == "lead")
        if touch is None:
            missed[conversion["business_id"]][is_lead] += 1
            continue
        zone = zones[conversion["business_id"]]
        counts[touch["adgroup_id"], day_of(touch, zone)][3 + is_lead] += 1
        counts[touch["adgroup_id"], day_of(conversion, zone)][5 + is_lead] += 1
    for (group, day), cell in counts.items():
        out.append({"type": "report", "day": day, **figures(groups[group], cell)})
    for group in groups:
        cells = [cell for (of, _), cell in counts.items() if of == group]
        total = [sum(column) for column in zip(*cells, strict=True)] if cells else [0] * 7
        out.append({"type": "total", **figures(groups[group], total)})
    for business, (chats, leads) in missed.items():
        out.append({"type": "unattributed", "business_id": business, "conversations": chats, "leads": leads})
    return out


def winner(
    conversion: Row, touches: list[Row], groups: dict[str, Row], windows: list[Row], policy: str
) -> Row | None:
    best = None
    for touch in touches:
        if touch["user_id"] != conversion["user_id"]:
            continue
        if groups[touch["adgroup_id"]]["business_id"] != conversion["business_id"]:
            continue
        window = window_of(touch, windows)
        if window is None or not 0 <= conversion["ts"] - touch["ts"] <= window * 1_000_000:
            continue
        if best is None or beats(touch, best, policy):
            best = touch
    return best


def window_of(touch: Row, windows: list[Row]) -> int | None:
    seconds: int | None = DEFAULTS[touch["kind"]]
    since = None
    for row in windows:
        in_force = row["adgroup_id"] == touch["adgroup_id"] and row["from_ts"] <= touch["ts"]
        if in_force and (since is None or row["from_ts"] >= since):
            since, seconds = row["from_ts"], row[f"{touch['kind']}_s"]
    return seconds


def beats(one: Row, other: Row, policy: str) -> bool:
    if policy == "click_first" and one["kind"] != other["kind"]:
        return bool(one["kind"] == "click")
    if one["ts"] != other["ts"]:
        return bool(one["ts"] > other["ts"])
    if one["kind"] != other["kind"]:
        return bool(one["kind"] == "click")
    return bool(one["touch_id"] > other["touch_id"])


def day_of(event: Row, zone: ZoneInfo) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event["ts"])
    return moment.astimezone(zone).strftime("%Y-%m-%d").rjust(10, "0")


def attribution(conversion: Row, touch: Row | None) -> Row:
    return {
        "type": "attribution",
        "conversion_id": conversion["conversion_id"],
        "touch_id": touch and touch["touch_id"],
        "adgroup_id": touch and touch["adgroup_id"],
        "via": touch and touch["kind"],
    }


def figures(group: Row, cell: list[int]) -> Row:
    spend, views, clicks, chats, leads, rt_chats, rt_leads = cell
    won, rt_won = (leads, rt_leads) if group["goal"] == "lead" else (chats, rt_chats)
    return {
        "adgroup_id": group["adgroup_id"],
        "spend_micros": spend,
        "impressions": views,
        "clicks": clicks,
        "conversations": chats,
        "leads": leads,
        "conversions": won,
        "cost_per_conversion_micros": spend // won if won else None,
        "rt_conversations": rt_chats,
        "rt_leads": rt_leads,
        "rt_conversions": rt_won,
        "rt_cost_per_conversion_micros": spend // rt_won if rt_won else None,
    }
