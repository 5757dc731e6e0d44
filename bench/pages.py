"""Pages of the Leads Center over many leads and messages: server time, and the memory of an XLSX export.

The database is filled straight through SQLite, with sealed contact values and messages as the product writes
them. Each page is then asked for through the whole app, in this process, and timed from request to answer, by
the clock and by the processor. Targets: under 50 ms at the median and under 150 ms at p95; an export of all
leads under 200 MB, of which a good half is the program itself.
"""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from starlette.testclient import TestClient

from bench.harness import Report, measured, options, percentile, process_rss_mib
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.kit.context import Context
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id, new_number
from contatto.kit.moments import micros
from contatto.kit.settings import Settings
from contatto.leads.pages.downloads import _matching, _write_xlsx
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.rules.records import name_key
from contatto.leads.store.facets import record_facets
from contatto.migrations.steps import migrate_schema

SAYS = "pages of the Leads Center, from request to answer"
PASSWORD, EMAIL = "a long enough password", "owner@example.com"
STATUSES = ("raw", "contacted", "qualified", "unqualified", "converted")
PREFIXES = {"SG": "+659", "MY": "+6012", "ID": "+62812", "TH": "+6681", "VN": "+8491"}
ADS, PER_GROUP = 60, 3
DAY = 86_400_000_000
COLUMNS = {
    "leads": "id, number, business_id, person_id, channel_account_id, conversation_id, name, name_key, "
    "status, origin, created_at, updated_at, owner_id",
    "contact_points": "id, business_id, lead_id, field, value, value_index, origin, created_at, country",
    "conversions": "conversion_id, business_id, person_id, kind, subject_id, ts, touch_id, ad_id, "
    "ad_group_id, ad_account_id, via, touch_ts, day, rt_day",
    "conversations": "id, business_id, channel_account_id, person_id, external_id, lead_id, "
    "started_at, last_message_at, unread",
    "persons": "id, business_id, channel_account_id, external_id, name, stated_name, created_at",
    "messages": "id, business_id, conversation_id, sender, kind, body, author, at",
    "lead_labels": "business_id, lead_id, label_id",
    "measured_ads": "ad_id, ad_number, ad_name, ad_group_id, ad_group_number, ad_group_name, campaign_id, "
    "campaign_number, campaign_name, business_id, ad_account_id, channel_account_id, goal, click_window_s, "
    "view_window_s, timezone, currency, landing_path, headline, text",
}

type Row = tuple[object, ...]


def main() -> None:
    """Fill a database, time the pages, weigh the export."""
    chosen = options(SAYS)
    report = Report("pages", SAYS, chosen)
    leads, messages = chosen.size(100_000, 10_000), chosen.size(1_000_000, 50_000)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        home = Path(folder)
        with measured() as filling:
            context, world = fill(home, leads, messages)
        report.add(
            f"fill: {leads:,} leads, {messages:,} messages", rows_per_s=(leads + messages) / filling.wall_s
        )
        with TestClient(create_app(context), base_url="http://127.0.0.1:8000") as client:
            sign_in(client)
            for case, path in pages(world).items():
                add_page(report, client, case, path, chosen.size(60, 20))
        context.db.close()
        add_export(report, home, leads)
    report.finish()


def pages(world: dict[str, str]) -> dict[str, str]:
    """The pages that are timed, by what they are."""
    return {
        "first page": "/leads",
        "rows alone, as a live refresh": "/leads/rows",
        "last page": "/leads?page=999999",
        "filter: status": "/leads/rows?status=qualified",
        "filter: owner and country": f"/leads/rows?owner={world['member']}&country=SG",
        "filter: label": f"/leads/rows?label={world['label']}",
        "filter: no label": "/leads/rows?label=none",
        "filter: ad group": f"/leads/rows?ad_group={world['ad_group']}",
        "filter: has an e-mail, no phone": "/leads/rows?has=email&has=no_phone",
        "filter: possible duplicates": "/leads/rows?twins=1",
        "filter: source": "/leads/rows?source=form",
        "filter: unread": "/leads/rows?thread=unread",
        "filter: campaign": "/leads/rows?campaign=9001",
        "filter: any of three": f"/leads/rows?status=raw&country=SG&label={world['label']}&any=1",
        "sort: name": "/leads/rows?sort=name",
        "sort: last activity": "/leads/rows?sort=-last_activity",
        "sort: status": "/leads/rows?sort=status",
        "search: part of a name": "/leads/rows?q=lila",
        "search: a phone number": "/leads/rows?q=%2B65900000042",
        "search: an ad": "/leads/rows?q=Spring+7",
        "search: nothing found": "/leads/rows?q=zzzzzz",
        "one lead": f"/leads/{world['lead']}",
        "inbox": "/inbox",
    }


def add_page(report: Report, client: TestClient, case: str, path: str, rounds: int) -> None:
    took: list[float] = []
    used: list[float] = []
    for round_ in range(rounds + 2):
        started, cpu = time.perf_counter(), time.process_time()
        answer = client.get(path)
        if round_ >= 2:  # the first two fill caches
            took.append((time.perf_counter() - started) * 1e3)
            used.append((time.process_time() - cpu) * 1e3)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
    report.add(
        case,
        median_ms=percentile(took, 0.5),
        cpu_ms=percentile(used, 0.5),
        p95_ms=percentile(took, 0.95),
        kib=len(answer.content) / 1024,
    )


def add_export(report: Report, home: Path, leads: int) -> None:
    """Export in a process of its own, so that its memory is the export's alone."""
    code = "import sys; from bench.pages import export; export(sys.argv[1])"
    with measured(children=True) as cost:
        done = subprocess.run(
            [sys.executable, "-c", code, str(home)], check=True, capture_output=True, text=True
        )
    size, before, peak = (float(part) for part in done.stdout.split())
    report.add(
        "XLSX of all leads",
        seconds=cost.wall_s,
        peak_mib=peak,
        added_mib=peak - before,
        kib=size / 1024,
        rows_per_s=leads / cost.wall_s,
    )


def export(home: str) -> None:
    """Write all leads of the one business into a file; print its size, the memory before and at the peak."""
    context = open_context(Settings(data_dir=Path(home)))
    with context.db.engine.connect() as connection:
        business_id = connection.exec_driver_sql("SELECT id FROM businesses").scalar()
    before = process_rss_mib(os.getpid())
    path = _write_xlsx(context, _matching(str(business_id), LeadFilter()))
    context.db.close()
    print(path.stat().st_size, before, _peak_mib())
    path.unlink()


def _peak_mib() -> float:
    """The most memory that this program held (Linux only); `ru_maxrss` still holds that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def sign_in(client: TestClient) -> None:
    page = client.get("/login").text
    token = page.split('name="csrf_token" value="')[1][:64]
    form = {"email": EMAIL, "password": PASSWORD, "csrf_token": token}
    if client.post("/login", data=form, follow_redirects=False).status_code != 303:
        raise RuntimeError("the log-in failed")


def fill(home: Path, leads: int, messages: int) -> tuple[Context, dict[str, str]]:
    """Make a business and fill its tables."""
    context = open_context(Settings(data_dir=home))
    migrate_schema(context.db.engine)
    hashed = accounts.hash_password(PASSWORD)

    def build(tx: Tx) -> dict[str, str]:
        business = accounts.create_business(tx, "Bench")
        member = accounts.add_member(tx, business.id, NewMember(EMAIL, "Owner", Role.OWNER, PASSWORD), hashed)
        channel = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Bench", "bench", "SG"))
        return {"business": business.id, "member": member.id, "channel": channel.id}

    world = context.db.write_now(build)
    raw = sqlite3.connect(home / "contatto.sqlite3", isolation_level=None)
    raw.execute("PRAGMA synchronous=OFF")
    raw.execute("BEGIN")
    world |= _fill_ads(raw, world)
    people = list(_fill_leads(raw, context, world, leads))
    _fill_messages(raw, context, world, people, messages)
    raw.execute("COMMIT")
    raw.close()
    _fill_facets(context, world["business"])
    return context, world


def _fill_facets(context: Context, business_id: str) -> None:
    """Let the product find out what the leads are filtered by, and the database what its tables hold."""
    with context.db.engine.begin() as connection:
        ids = [row[0] for row in connection.exec_driver_sql("SELECT id FROM leads")]
    context.db.write_now(lambda tx: record_facets(tx, business_id, ids))
    with context.db.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def _insert(raw: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    names = COLUMNS[table]
    marks = ", ".join("?" * (names.count(",") + 1))
    raw.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)


def _fill_ads(raw: sqlite3.Connection, world: dict[str, str]) -> dict[str, str]:
    """Ads in groups of three, four groups to a campaign; and one label."""
    rows: list[Row] = []
    for number in range(ADS):
        group, campaign = number // PER_GROUP, number // (4 * PER_GROUP)
        of_group = (f"group-{group}", 8_000 + group, f"Spring {group}")
        of_campaign = (f"campaign-{campaign}", 9_000 + campaign, f"Campaign {campaign}")
        rows.append((
            f"ad-{number}", 7_000 + number, f"Ad {number}", *of_group, *of_campaign, world["business"],
            "account", world["channel"], "lead", 7 * 86_400, 86_400, "Asia/Singapore", "SGD", "/", "", "",
        ))  # fmt: skip
    _insert(raw, "measured_ads", rows)
    label = new_id()
    raw.execute("INSERT INTO labels VALUES (?, ?, 'vip', 'vip', 0)", (label, world["business"]))
    return {"label": label, "ad_group": "8007"}


def _fill_leads(
    raw: sqlite3.Connection, context: Context, world: dict[str, str], count: int
) -> Iterator[tuple[str, str, int]]:
    """Leads with one to three contact points, a winner for four of five, a label for one of ten."""
    chance = random.Random(20261124)
    start = micros(context.clock.now()) - 90 * DAY
    vault, business = context.vault, world["business"]
    names = [
        f"{a}{b}"
        for a in ("Mei", "Ana", "Lila", "Tomo", "Raf", "Siti", "Nok")
        for b in ("na", "lin", "ko", "ra")
    ]
    tables: dict[str, list[Row]] = {table: [] for table in COLUMNS}
    for number in range(count):
        lead, person, conversation = new_id(), new_id(), new_id()
        at = start + number * 90 * DAY // count
        name = f"{chance.choice(names)} {chance.choice(names)} {number % 997}"
        owner = world["member"] if chance.random() < 0.3 else None
        tables["leads"].append((
            lead, new_number(), business, person, world["channel"], conversation, name, name_key(name),
            chance.choice(STATUSES), chance.choice(("chat", "form")), at, at + chance.randrange(DAY), owner,
        ))  # fmt: skip
        country = chance.choice(list(PREFIXES))
        shared = number - 1 if number % 50 == 49 else number
        points = [("phone", f"{PREFIXES[country]}{shared:08}", country)] if chance.random() < 0.9 else []
        if not points or chance.random() < 0.4:
            points.append(("email", f"person{number}@example.com", None))
        for field, value, where in points:
            sealed, index = vault.seal(value, business), vault.blind(value, business)
            tables["contact_points"].append(
                (new_id(), business, lead, field, sealed, index, "chat", at, where)
            )
        won = _winner(chance.randrange(ADS), at) if chance.random() < 0.8 else (None,) * 8
        tables["conversions"].append((new_number(), business, person, "lead", lead, at, *won))
        tables["persons"].append((person, business, world["channel"], f"person {number}", name, "", at))
        tables["conversations"].append(
            (conversation, business, world["channel"], person, f"chat {number}", lead, at, at + 1, 0)
        )
        if chance.random() < 0.1:
            tables["lead_labels"].append((business, lead, world["label"]))
        world["lead"] = lead
        yield conversation, lead, at
    for table, rows in tables.items():
        _insert(raw, table, rows)


def _winner(ad: int, at: int) -> Row:
    """The columns of a conversion that say which touch won it."""
    day = "2026-11-01"
    return (new_number(), f"ad-{ad}", f"group-{ad // PER_GROUP}", "account", "click", at - 1, day, day)


def _fill_messages(
    raw: sqlite3.Connection,
    context: Context,
    world: dict[str, str],
    people: list[tuple[str, str, int]],
    count: int,
) -> None:
    bodies = [context.vault.seal(f"message {n} of a chat", world["business"]) for n in range(50)]
    rows: list[Row] = []
    for number in range(count):
        conversation, _, at = people[number % len(people)]
        sender = "customer" if number % 3 else "business"
        rows.append(
            (new_id(), world["business"], conversation, sender, "text", bodies[number % 50], "", at + number)
        )
        if len(rows) == 50_000:
            _insert(raw, "messages", rows)
            rows.clear()
    _insert(raw, "messages", rows)


if __name__ == "__main__":
    main()
