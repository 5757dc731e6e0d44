"""The report page over twenty million touches: server time of the page, its files and the API.

The last three days are really there, touch by touch, and the worker's own counting counts them. The days
before are there as the counts that their touches would have given: a row for each ad, country and day, and
for each ad group and hour. What the page reads is the same either way. Each page is asked for through the
whole app, in this process, and timed from request to answer, by the clock and by the processor; the worker
rests meanwhile. Target: under 100 ms at the median for 30 days.
"""

import random
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.testclient import TestClient

from bench.harness import Report, measured, options
from bench.pages import add_page, sign_in
from bench.pages_parts.filling import EMAIL, PASSWORD
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import AdAccount, Role
from contatto.ads.actions.ad_groups import NewAdGroup, create_ad_group
from contatto.ads.actions.ads import NewAd, create_ad
from contatto.ads.actions.campaigns import NewCampaign, create_campaign
from contatto.ads.model import Ad
from contatto.app import create_app, open_context
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.kit.clock import FixedClock
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id, new_number
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.kit.timestamps import micros
from contatto.measurement.model import Goal
from contatto.migrations.steps import migrate_schema
from contatto.reports.actions.counting import count_days_ahead
from contatto.reports.model import STORED
from contatto.ui.context import Context
from contatto.wiring import install

SAYS = "the report page over many touches, from request to answer"
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
DAYS, REAL_DAYS = 90, 3
CAMPAIGNS, GROUPS_EACH, ADS_EACH = 5, 4, 3
COUNTRIES = ("SG", "MY", "ID", "TH", "VN", "PH")
DAY_US = 86_400_000_000
TOUCHES = (
    "touch_id, business_id, person_id, ad_id, ad_group_id, ad_account_id, kind, ts, expires_ts, day, "
    "cost_micros, country"
)
CONVERSIONS = (
    "conversion_id, business_id, person_id, kind, subject_id, ts, touch_id, ad_id, ad_group_id, "
    "ad_account_id, via, touch_ts, day, rt_day, country"
)
COUNTS = "business_id, ad_account_id, grain, day, source, hour, place_id, country, " + ", ".join(STORED)
PAGES = {
    "7 days": "/reports?period=last_7",
    "30 days": "/reports?period=last_30",
    "30 days, compared": "/reports?period=last_30&compare=yes",
    "30 days by country": "/reports?period=last_30&by=country",
    "30 days by hour": "/reports?period=last_30&by=hour",
    "90 days, compared": "/reports?period=last_90&compare=yes",
    "30 days as CSV": "/reports/csv?period=last_30",
}

type Row = tuple[object, ...]


def main() -> None:
    """Fill a database, let the worker count, time the pages."""
    chosen = options(SAYS)
    report = Report("reports", SAYS, chosen)
    touches = chosen.size(20_000_000, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        context, account, ads = open_world(Path(folder))
        real = fill(Path(folder), account, ads, touches // DAYS)
        report.add(f"{touches:,} touches, of them {real:,} one by one", rows=count_rows(context))
        with measured() as counting:
            while context.db.write_now(count_days_ahead):
                pass
        report.add(f"counting {REAL_DAYS} days ahead", seconds=counting.wall_s, rows=count_rows(context))
        with TestClient(create_app(context), base_url="http://127.0.0.1:8000") as client:
            sign_in(client)
            for case, path in PAGES.items():
                add_page(report, client, case, path, chosen.size(40, 15))
        context.db.close()
    report.finish()


def open_world(home: Path) -> tuple[Context, AdAccount, list[Ad]]:
    """A business with ads of both goals, in groups of campaigns."""
    set_up_logs("warning", "json")
    context = open_context(install(Settings(data_dir=home, worker="separate")), FixedClock(NOW))
    migrate_schema(context.db.engine)
    hashed = accounts.hash_password(PASSWORD)

    def build(tx: Tx) -> tuple[AdAccount, list[Ad]]:
        business = accounts.create_business(tx, "Bench")
        accounts.add_member(tx, business.id, NewMember(EMAIL, "Owner", Role.OWNER, PASSWORD), hashed)
        new = NewAdAccount("Bench", "SG", "SGD", "Asia/Singapore")
        account = accounts.add_ad_account(tx, business.id, new)
        channel = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Bench", "bench", "SG"))
        ads: list[Ad] = []
        for number in range(CAMPAIGNS):
            campaign = create_campaign(tx, business.id, NewCampaign(account.id, f"Campaign {number}"))
            for place in range(GROUPS_EACH):
                group = NewAdGroup(campaign.id, f"Group {place}", Goal.CONVERSATION, ("SG",), channel.id)
                made = create_ad_group(tx, business.id, group)
                ads += [
                    create_ad(tx, business.id, NewAd(made.id, f"Ad {n}", "Text")) for n in range(ADS_EACH)
                ]
        tx.connection.exec_driver_sql("UPDATE ad_groups SET goal = 'lead' WHERE number % 2 = 0")
        return account, ads

    account, ads = context.db.write_now(build)
    return context, account, ads


def fill(home: Path, account: AdAccount, ads: list[Ad], a_day: int) -> int:
    """Put in the counts of old days and the events of the last ones; say how many touches these are."""
    raw = sqlite3.connect(home / "contatto.sqlite3", isolation_level=None)
    raw.execute("PRAGMA synchronous=OFF")
    raw.execute("BEGIN")
    today = (NOW + timedelta(hours=8)).date()
    old = [today - timedelta(days=n) for n in range(REAL_DAYS, DAYS)]
    _insert(raw, "report_counts", COUNTS, _counts(account, ads, [day.isoformat() for day in old], a_day))
    first_real = today - timedelta(days=REAL_DAYS - 1)
    until = micros(
        datetime(first_real.year, first_real.month, first_real.day, tzinfo=UTC) - timedelta(hours=8)
    )
    progress = (account.id, account.business_id, until, first_real.isoformat())
    raw.execute("INSERT INTO report_progress VALUES (?, ?, ?, ?)", progress)
    touches = _touches(account, ads, until, a_day)
    _insert(raw, "touches", TOUCHES, touches)
    _insert(raw, "conversions", CONVERSIONS, _conversions(touches))
    raw.execute("COMMIT")
    raw.execute("ANALYZE")
    raw.close()
    return len(touches)


def _counts(account: AdAccount, ads: list[Ad], days: list[str], a_day: int) -> Iterator[Row]:
    mine = (account.business_id, account.id)
    each = max(a_day // (len(ads) * len(COUNTRIES)), 1)
    seen = (each * 2_000, each * 19 // 20, each // 20, *(0,) * (len(STORED) - 3))
    earned = (0, 0, 0, each // 100, each // 200, each // 100, each // 200, *(1,) * (len(STORED) - 7))
    groups = sorted({ad.ad_group_id for ad in ads})
    for day in days:
        for source, numbers in (("touch", seen), ("conversion", earned)):
            for ad in ads:
                yield (*mine, "ad_day", day, source, "", ad.id, "", *(6 * n for n in numbers))
                for country in COUNTRIES:
                    yield (*mine, "ad_country_day", day, source, "", ad.id, country, *numbers)
            for hour in range(24):
                yield (*mine, "account_hour", day, source, f"{hour:02d}", account.id, "", *numbers)
                for group in groups:
                    yield (*mine, "group_hour", day, source, f"{hour:02d}", group, "", *numbers)


def _touches(account: AdAccount, ads: list[Ad], since: int, a_day: int) -> list[Row]:
    """Nineteen views to a click, of people who come back now and then."""
    chance = random.Random(20261124)
    people = [new_id() for _ in range(max(a_day // 3, 10))]
    found: list[Row] = []
    until = micros(NOW)
    for n in range(a_day * REAL_DAYS):
        ts = since + n * (until - since) // (a_day * REAL_DAYS)
        ad = chance.choice(ads)
        day = (datetime.fromtimestamp(ts // 1_000_000, UTC) + timedelta(hours=8)).date().isoformat()
        kind = "click" if n % 20 == 0 else "view"
        found.append((
            new_number(), account.business_id, chance.choice(people), ad.id, ad.ad_group_id, account.id, kind,
            ts, ts + 7 * DAY_US, day, 2_000, chance.choice(COUNTRIES),
        ))  # fmt: skip
    return found


def _conversions(touches: list[Row]) -> Iterator[Row]:
    """One of fifty touches earns a conversation, and half of these a lead."""
    for n, touch in enumerate(touches[::50]):
        number, business_id, person_id, ad_id, group_id, account_id, via, ts, _, day, _, country = touch
        for kind in ("conversation", "lead")[: 1 + n % 2]:
            yield (
                new_number(), business_id, person_id, kind, new_id(), ts, number, ad_id, group_id, account_id,
                via, ts, day, day, country,
            )  # fmt: skip


def _insert(raw: sqlite3.Connection, table: str, names: str, rows: Iterator[Row] | list[Row]) -> None:
    marks = ", ".join("?" * (names.count(",") + 1))
    raw.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)


def count_rows(context: Context) -> int:
    with context.db.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM report_counts").scalar() or 0)


if __name__ == "__main__":
    main()
