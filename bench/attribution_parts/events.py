"""Seeded events as Parquet: mostly views, users and ad groups of very different size, sixty days."""

from pathlib import Path
from typing import Final

import duckdb

DAYS: Final = 60
START: Final = 1_767_225_600_000_000
BOT_TOUCHES: Final = 100_000
BOT_CONVERSIONS: Final = 1_000
_WINDOWS: Final = "CASE click WHEN 1 THEN 604800000000 ELSE 86400000000 END"
_CHANCE: Final = "((hash({0} * 8 + {1}) >> 11)::DOUBLE / 9007199254740992.0)"
"""A number between 0 and 1 that is the same in every run."""


def write_events(folder: Path, count: int, *, bot: bool = False, by_user: bool = False) -> None:
    """Write touches.parquet and conversions.parquet, in the order of time, or by day, business and user."""
    folder.mkdir(parents=True, exist_ok=True)
    users = max(1_000, count // 10)
    with duckdb.connect() as db:
        db.execute("SET preserve_insertion_order = true")
        db.execute(f"SET temp_directory = '{folder / 'spill'}'")
        touches = f"""
            SELECT touch_id, 'b' || (user_no % 200) AS business_id, 'u' || user_no AS user_id,
                'g' || (user_no % 200 + 200 * floor(10 * {_chance(3)} ** 2)::BIGINT) AS adgroup_id,
                ({_chance(4)} < 0.05)::BIGINT AS click, ts, (1000 * {_chance(5)})::BIGINT AS cost_micros
            FROM (SELECT i AS touch_id, floor({users} * {_chance(1)} ** 1.5)::BIGINT AS user_no,
                {START} + (i * {DAYS * 86_400_000} // {count}) * 1000 AS ts, i FROM range({count}) r(i))"""
        conversions = f"""
            SELECT i AS conversion_id, 'b' || (user_no % 200) AS business_id, 'u' || user_no AS user_id,
                ({_chance(6)} < 0.5)::BIGINT AS lead,
                {START} + (i * {DAYS * 86_400_000} // {count // 50}) * 1000 AS ts
            FROM (SELECT i, floor({users} * {_chance(2)} ** 1.5)::BIGINT AS user_no
                FROM range({count // 50}) r(i))"""
        if bot:
            step = DAYS * 86_400_000_000
            touches += f""" UNION ALL SELECT {count} + i, 'b0', 'bot', 'g0', (i % 20 = 0)::BIGINT,
                {START} + i * {step // BOT_TOUCHES}, 1 FROM range({BOT_TOUCHES}) r(i)"""
            conversions += f""" UNION ALL SELECT {count} + i, 'b0', 'bot', 1,
                {START} + i * {step // BOT_CONVERSIONS} FROM range({BOT_CONVERSIONS}) r(i)"""
        order = "ORDER BY day, business_id, user_id, ts" if by_user else ""
        db.execute(
            f"COPY (SELECT touch_id, business_id, user_id, adgroup_id, click, ts,"
            f" ts + {_WINDOWS} AS expires_ts, make_timestamp(ts)::DATE AS day, cost_micros"
            f" FROM ({touches}) {order})"
            f" TO '{folder}/touches.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
        db.execute(
            f"COPY (SELECT *, make_timestamp(ts)::DATE AS day FROM ({conversions}))"
            f" TO '{folder}/conversions.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )


def _chance(stream: int) -> str:
    return _CHANCE.format("i" if stream in {1, 2, 6} else "touch_id", stream)
