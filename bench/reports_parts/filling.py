"""A business with ads, and ninety realistic days of touches: the old views sealed, all else in the database.

DuckDB makes the events, the same in every run: nineteen views to a click, few at night and many in the
evening, and of fifty touches one earns a conversation, of a hundred also a lead.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from bench.pages_parts.filling import EMAIL, PASSWORD
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import AdAccount, Role
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.ads.model import Ad
from contatto.app import open_context
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.settings import Settings
from contatto.measurement.engines.sealing import ALL_DROPPED
from contatto.measurement.model import Goal
from contatto.migrations.steps import migrate_schema
from contatto.ui.requests import Context
from contatto.wiring import install

NOW: Final = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
DAYS: Final = 90
HOT_DAYS: Final = 31
"""Views of so many days are in the database, those of the days before only in sealed files."""
CAMPAIGNS, GROUPS_EACH, ADS_EACH = 5, 4, 3
ZONE: Final = timedelta(hours=8)
DAY_US: Final = 86_400_000_000
_LAST_US: Final = int(NOW.timestamp() * 1e6)
_COUNTRIES: Final = ("SG", "MY", "ID", "TH", "VN", "PH")
_TOUCHES: Final = (
    "touch_id, business_id, person_id, ad_id, ad_group_id, ad_account_id, kind, ts, expires_ts, day, "
    "cost_micros, country"
)
_CONVERSIONS: Final = (
    "conversion_id, business_id, person_id, kind, subject_id, ts, touch_id, ad_id, ad_group_id, "
    "ad_account_id, via, touch_ts, day, rt_day, country"
)


@dataclass(frozen=True, slots=True)
class Place:
    """An installation of one size: its folder, and the ad account and ads of its touches."""

    home: Path
    account: AdAccount
    ads: list[Ad]


def open_world(home: Path) -> tuple[Context, FixedClock]:
    """Open an installation with a clock that stands still."""
    clock = FixedClock(NOW)
    context = open_context(install(Settings(data_dir=home, worker="separate")), clock)
    migrate_schema(context.db.engine)
    return context, clock


def make_world(context: Context) -> Place:
    """Make a business with ads of both goals, in groups of campaigns."""
    hashed = accounts.hash_password(PASSWORD)
    account, ads = context.db.write_now(lambda tx: _build(tx, hashed))
    return Place(context.settings.data_dir, account, ads)


def _build(tx: Tx, hashed: str) -> tuple[AdAccount, list[Ad]]:
    business = accounts.create_business(tx, "Bench")
    accounts.add_member(tx, business.id, NewMember(EMAIL, "Owner", Role.OWNER), hashed)
    account = accounts.add_ad_account(tx, business.id, NewAdAccount("Bench", "SG", "SGD", "Asia/Singapore"))
    channel = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Bench", "bench", "SG"))
    ads: list[Ad] = []
    for number in range(CAMPAIGNS):
        campaign = create_campaign(tx, business.id, NewCampaign(account.id, f"Campaign {number}"))
        for place in range(GROUPS_EACH):
            group = NewAdGroup(campaign.id, f"Group {place}", Goal.CONVERSATION, ("SG",), channel.id)
            ad_group = create_ad_group(tx, business.id, group)
            ads += [
                create_ad(tx, business.id, NewAd(ad_group.id, f"Ad {n}", "Text")) for n in range(ADS_EACH)
            ]
    tx.connection.exec_driver_sql("UPDATE ad_groups SET goal = 'lead' WHERE number % 2 = 0")
    return account, ads


def fill(place: Place, touches: int) -> None:
    """Fill in so many touches, up to now, and what they earned."""
    with _quick(place.home / "contatto.sqlite3") as raw, duckdb.connect() as duck:
        duck.execute("SET memory_limit = '1GB'")
        _tell_ads(duck, place)
        for ago in reversed(range(DAYS)):
            _fill_day(raw, duck, place, ago, touches // DAYS)


def _fill_day(raw: sqlite3.Connection, duck: Any, place: Place, ago: int, count: int) -> None:
    day = (NOW + ZONE).date() - timedelta(days=ago)
    midnight = int((datetime(day.year, day.month, day.day, tzinfo=UTC) - ZONE).timestamp() * 1e6)
    duck.execute("CREATE OR REPLACE TABLE today AS " + _events(place, day.isoformat(), midnight, ago, count))
    which = "true"
    if ago >= HOT_DAYS:
        _seal(raw, duck, place, day.isoformat())
        which = "kind = 'click'"
    _insert(raw, "touches", _TOUCHES, duck.execute(f"SELECT {_TOUCHES} FROM today WHERE {which}"))
    for share, kind in ((50, "conversation"), (100, "lead")):
        earned = f"""SELECT touch_id * 2 + {share // 100}, business_id, person_id, '{kind}',
            '{kind} ' || touch_id, ts, touch_id, ad_id, ad_group_id, ad_account_id, kind, ts, day, day,
            country FROM today WHERE touch_id % {share} = 0"""
        _insert(raw, "conversions", _CONVERSIONS, duck.execute(earned))


def _events(place: Place, day: str, midnight: int, ago: int, count: int) -> str:
    first = (DAYS - ago) * count
    share = f"((i - {first}) / {count})"
    at = f"({share} - 0.12 * sin(2 * pi() * ({share} - 0.83)))"  # four times as many at eight as on average
    ts = f"{midnight} + ((({at}) - floor({at})) * {DAY_US})::BIGINT"
    return f"""SELECT i AS touch_id, '{place.account.business_id}' AS business_id,
            'person ' || (hash(i) % {max(count // 3, 10)}) AS person_id, ads.ad_id, ads.ad_group_id,
            '{place.account.id}' AS ad_account_id, CASE WHEN i % 20 = 0 THEN 'click' ELSE 'view' END AS kind,
            ts, ts + {7 * DAY_US} AS expires_ts, '{day}' AS day, 2000 AS cost_micros,
            {list(_COUNTRIES)}[(1 + hash(i * 3) % {len(_COUNTRIES)})::BIGINT] AS country
        FROM (SELECT i, {ts} AS ts FROM range({first}, {first + count}) r(i))
        JOIN ads ON ads.number = hash(i * 7) % {len(place.ads)} WHERE ts <= {_LAST_US} ORDER BY touch_id"""


def _tell_ads(duck: Any, place: Place) -> None:
    duck.execute("CREATE TABLE ads (number BIGINT, ad_id VARCHAR, ad_group_id VARCHAR)")
    rows = [[number, str(ad.id), str(ad.ad_group_id)] for number, ad in enumerate(place.ads)]
    duck.executemany("INSERT INTO ads VALUES (?, ?, ?)", rows)


def _seal(raw: sqlite3.Connection, duck: Any, place: Place, day: str) -> None:
    """Write the file of a day, and note that the database has none of its views."""
    folder = place.home / "sealed"
    name = f"touches/day={day}/part-1.parquet"
    path = folder / name
    path.parent.mkdir(parents=True)
    columns = """touch_id, business_id, person_id AS user_id, ad_group_id AS adgroup_id, ad_id, ad_account_id,
        (kind = 'click')::BIGINT AS click, ts, expires_ts, day::DATE AS day, cost_micros, country"""
    duck.execute(
        f"COPY (SELECT {columns} FROM today ORDER BY business_id, user_id, ts, touch_id)"
        f" TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    total, views = duck.execute("SELECT count(*), count(*) FILTER (kind = 'view') FROM today").fetchone()
    file = (name, str(folder), day, 1, total, path.stat().st_size, digest, _LAST_US, ALL_DROPPED, views)
    raw.execute("INSERT INTO sealed_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", file)
    dropped = duck.execute(
        "SELECT business_id, ad_group_id, day, ad_account_id, count(*), sum(cost_micros)::BIGINT"
        " FROM today WHERE kind = 'view' GROUP BY ALL"
    )
    names = "business_id, ad_group_id, day, ad_account_id, views, cost_micros"
    _insert(raw, "dropped_views", names, dropped)


@contextmanager
def _quick(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection for bulk inserts: no wait for the disk, and the indexes are made at the end."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous=OFF")
    raw.execute("PRAGMA cache_size=-500000")  # KiB: indexes are sorted in it
    raw.execute("BEGIN")
    find = "SELECT name, sql FROM sqlite_master WHERE tbl_name IN ('touches', 'conversions') AND sql LIKE ?"
    indexes = raw.execute(find, ("CREATE %INDEX%",)).fetchall()
    for name, _ in indexes:
        raw.execute(f"DROP INDEX {name}")
    yield raw
    for _, sql in indexes:
        raw.execute(sql)
    raw.execute("COMMIT")
    raw.execute("ANALYZE")
    raw.close()


def _insert(raw: sqlite3.Connection, table: str, names: str, found: Any) -> None:
    marks = ", ".join("?" * (names.count(",") + 1))
    while rows := found.fetchmany(20_000):
        raw.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
