"""A business with many leads and messages, put straight into its tables with sealed contact values."""

import random
from collections.abc import Iterator

from bench.pages_parts.loading import Loader, Row, gather_figures, loading
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id, new_number
from contatto.kit.values import micros
from contatto.leads.rules.records import name_key
from contatto.leads.store.intake import record_facets
from contatto.migrations.steps import migrate_schema
from contatto.ui.requests import Context

PASSWORD, EMAIL = "a long enough password", "owner@example.com"
STATUSES = ("raw", "contacted", "qualified", "unqualified", "converted")
PREFIXES = {"SG": "+659", "MY": "+6012", "ID": "+62812", "TH": "+6681", "VN": "+8491"}
ADS, PER_GROUP = 60, 3
DAY = 86_400_000_000
AT_ONCE = 50_000
COLUMNS = {
    "leads": "id, number, business_id, person_id, channel_account_id, conversation_id, name, name_key, "
    "status, origin, created_at, updated_at, owner_id, score",
    "lead_scores": "business_id, lead_id, score, reasons",
    "contact_points": "id, business_id, lead_id, field, value, value_index, origin, created_at, country",
    "conversions": "conversion_id, business_id, person_id, kind, subject_id, ts, touch_id, ad_id, "
    "ad_group_id, ad_account_id, via, touch_ts, day, rt_day",
    "conversations": "id, business_id, channel_account_id, person_id, external_id, lead_id, "
    "started_at, last_message_at, unread, assignee_id, waiting_since, state",
    "persons": "id, business_id, channel_account_id, external_id, name, name_key, created_at",
    "messages": "id, business_id, conversation_id, sender, kind, body, author, at",
    "lead_labels": "business_id, lead_id, label_id",
    "labels": "id, business_id, name, name_key, tone",
    "measured_ads": "ad_id, ad_number, ad_name, ad_group_id, ad_group_number, ad_group_name, campaign_id, "
    "campaign_number, campaign_name, business_id, ad_account_id, channel_account_id, goal, click_window_s, "
    "view_window_s, timezone, currency, landing_path, headline, text",
}
OF_LEADS = (
    "leads",
    "contact_points",
    "conversions",
    "conversations",
    "persons",
    "lead_labels",
    "lead_scores",
)
SCORED = 5_000
"""The newest leads of a business are scored."""


def fill(context: Context, leads: int, messages: int) -> dict[str, str]:
    """Make a business and fill its tables; the answer names what pages ask for."""
    migrate_schema(context.db.engine)
    hashed = accounts.hash_password(PASSWORD)

    def build(tx: Tx) -> dict[str, str]:
        business = accounts.create_business(tx, "Bench")
        member = accounts.add_member(tx, business.id, NewMember(EMAIL, "Owner", Role.OWNER), hashed)
        channel = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Bench", "bench", "SG"))
        return {"business": business.id, "member": member.id, "channel": channel.id}

    world = context.db.write_now(build)
    with loading(context.settings.url) as loader:
        world |= _fill_ads(loader, world)
        talks = list(_fill_leads(loader, context, world, leads))
        _fill_messages(loader, context, world, talks, messages)
    gather_figures(context.settings.url)
    with context.db.engine.begin() as connection:
        ids = [row[0] for row in connection.exec_driver_sql("SELECT id FROM leads")]
    context.db.write_now(lambda tx: record_facets(tx, world["business"], ids))
    gather_figures(context.settings.url)
    context.db.engine.dispose()  # connections know the figures of when they were opened
    return world


def _load(loader: Loader, table: str, rows: list[Row]) -> None:
    loader.load(table, COLUMNS[table], rows)


def _fill_ads(loader: Loader, world: dict[str, str]) -> dict[str, str]:
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
    _load(loader, "measured_ads", rows)
    label = new_id()
    _load(loader, "labels", [(label, world["business"], "vip", "vip", 0)])
    return {"label": label, "ad_group": "8007"}


def _fill_leads(
    loader: Loader, context: Context, world: dict[str, str], count: int
) -> Iterator[tuple[str, int]]:
    """Leads with one to three contact points, a winner for four of five, a label for one of ten."""
    chance = random.Random(20261124)
    start = micros(context.clock.now()) - 90 * DAY
    names = [
        f"{a}{b}"
        for a in ("Mei", "Ana", "Lila", "Tomo", "Raf", "Siti", "Nok")
        for b in ("na", "lin", "ko", "ra")
    ]
    tables: dict[str, list[Row]] = {table: [] for table in OF_LEADS}
    for number in range(count):
        lead, person, conversation = new_id(), new_id(), new_id()
        at = start + number * 90 * DAY // count
        name = f"{chance.choice(names)} {chance.choice(names)} {number % 997}"
        owner = world["member"] if chance.random() < 0.3 else None
        business = world["business"]
        sealed = context.vault.seal(name, business, "leads.name", lead)
        score = chance.randrange(101) if number >= count - SCORED else -1
        tables["leads"].append((
            lead, new_number(), business, person, world["channel"], conversation, sealed, name_key(name),
            chance.choice(STATUSES), chance.choice(("chat", "form")), at, at + chance.randrange(DAY), owner,
            score,
        ))  # fmt: skip
        if score >= 0:
            tables["lead_scores"].append((business, lead, score, "[]"))
        tables["contact_points"] += _points(context, business, lead, number, at, chance)
        won = _winner(chance.randrange(ADS), at) if chance.random() < 0.8 else (None,) * 8
        tables["conversions"].append((new_number(), business, person, "lead", lead, at, *won))
        sealed = context.vault.seal(name, business, "persons.name", person)
        known = (f"person {number}", sealed, name_key(name))
        tables["persons"].append((person, business, world["channel"], *known, at))
        is_waiting, is_resolved = chance.random() < 0.05, chance.random() < 0.5
        tables["conversations"].append((
            conversation, business, world["channel"], person, f"chat {number}", lead, at, at + 1,
            2 if is_waiting else 0, owner, at if is_waiting else None,
            "resolved" if is_resolved and not is_waiting else "open",
        ))  # fmt: skip
        if chance.random() < 0.1:
            tables["lead_labels"].append((business, lead, world["label"]))
        world["lead"], world["conversation"] = lead, conversation
        yield conversation, at
    for table, rows in tables.items():
        _load(loader, table, rows)


def _points(
    context: Context, business: str, lead: str, number: int, at: int, chance: random.Random
) -> Iterator[Row]:
    """Yield a phone number for nine of ten, which every fiftieth shares; an e-mail for some."""
    country = chance.choice(list(PREFIXES))
    shared = number - 1 if number % 50 == 49 else number
    points: list[tuple[str, str, str | None]] = []
    if chance.random() < 0.9:
        points.append(("phone", f"{PREFIXES[country]}{shared:08}", country))
    if not points or chance.random() < 0.4:
        points.append(("email", f"person{number}@example.com", None))
    for field, value, where in points:
        point_id, index = new_id(), context.vault.blind(value, business)
        sealed = context.vault.seal(value, business, "contact_points.value", point_id)
        yield point_id, business, lead, field, sealed, index, "chat", at, where


def _winner(ad: int, at: int) -> Row:
    """Return the columns of a conversion that name the touch that won it."""
    day = "2026-11-01"
    return (new_number(), f"ad-{ad}", f"group-{ad // PER_GROUP}", "account", "click", at - 1, day, day)


def _fill_messages(
    loader: Loader, context: Context, world: dict[str, str], talks: list[tuple[str, int]], count: int
) -> None:
    business = world["business"]
    rows: list[Row] = []
    for number in range(count):
        conversation, at = talks[number % len(talks)]
        sender = "customer" if number % 3 else "business"
        message_id, text = new_id(), f"message {number % 50} of a chat"
        body = context.vault.seal(text, business, "messages.body", message_id)
        rows.append((message_id, business, conversation, sender, "text", body, "", at + number))
        if len(rows) == AT_ONCE:
            _load(loader, "messages", rows)
            rows.clear()
    _load(loader, "messages", rows)
