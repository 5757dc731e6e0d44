"""Erasing a person: no table holds a value of theirs afterwards, clear, sealed, hashed or as an index."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import BigInteger, Boolean, Column, Date, Float, Integer, LargeBinary, select

from contatto.audiences.actions import blind_digests
from contatto.capture.model import Field
from contatto.inbox.model import ReceiptState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import SEALED, Choice, Instant, Tx, Words, metadata, row_columns, sealed_place
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.leads.actions.annotations import merge_leads
from contatto.leads.actions.jobs import start_job, undo_job
from contatto.leads.model import Actor, JobKind, JobPlan, Lead, LeadJob, LeadJobState, Picks
from contatto.leads.rules.records import tells_of, without_person
from contatto.leads.store import records as lead_store
from contatto.leads.store import tables
from contatto.leads.store.jobs import find_job, find_tombstone
from contatto.leads.store.listing import count_leads_by_status
from contatto.measurement.store import conversions
from tests import make
from tests.background import work_off

PHONE, MAIL, NAME = "+6591234567", "zelda.mark@example.com", "Zelda Markworth"
REJECTED = "zelda.other@example.com"
MARKS: Final = (PHONE, MAIL, NAME, REJECTED, "9123 4567")
TEXT: Final = f"I am {NAME}, write to {REJECTED}, {MAIL} or call 9123 4567"
OTHERS: Final = ("+6598887776", "otto.mark@example.com", "Otto Markworth")

PERSONAL: Final = {
    "leads", "contact_points", "evidence", "lead_history", "lead_entries", "lead_merges", "lead_notes",
    "lead_tasks", "lead_labels", "lead_events", "export_jobs", "lead_jobs", "lead_job_items", "lead_views",
    "capture_corrections", "audience_members", "audience_files", "form_answers", "consent_receipts",
    "persons", "conversations", "messages", "sends", "inline_notices", "ad_referrals",
    "conversation_labels", "private_notes", "note_mentions", "scheduled_replies", "photos", "receipts",
    "pushes", "kept_pages", "rejected_contacts", "form_bookings", "crm_deliveries", "crm_records",
    "crm_trials", "ad_signals", "judged_chats", "lead_scores",
}  # fmt: skip
"""What may hold a value of a person, or hangs on one."""
WITH_IDS_ALONE: Final = {
    "lead_labels", "conversation_labels", "note_mentions", "sends", "inline_notices", "lead_job_items",
    "consent_receipts", "ad_signals", "judged_chats", "lead_scores", "form_bookings",
}  # fmt: skip
IMPERSONAL: Final = {
    "businesses", "members", "sessions", "api_tokens", "auth_codes", "confirmed_terms", "ad_accounts",
    "failed_logins", "channel_accounts", "channel_apps", "chat_embeds", "channel_tokens", "capture_switches",
    "labels", "crm_event_sets", "audiences", "forms", "form_versions", "default_forms", "saved_replies",
    "automatic_messages", "reply_targets", "subscriptions", "campaigns", "ad_groups", "ads",
    "welcome_messages", "measured_ads", "saved_reports", "report_counts", "report_progress",
    "changed_days", "sealed_files", "dropped_views", "ad_drafts", "lead_looks", "form_pictures",
    # ids alone: of touches, conversions, events, jobs, requests and acts
    "alerts", "touches", "conversions", "events", "jobs", "answered_requests", "audit_entries",
    "rate_limits", "known_logins", "viewer_links", "audience_lookalikes",
    "audience_changes",
    # what delivery learns from; the log loses the person (delivery/test_forgetting.py)
    "delivery_log", "delivery_models", "delivery_states", "delivery_streams", "delivery_trials",
    # counts; values of many; what marked chats and good leads say; viewers until files forget them
    "delivery_foretold", "delivery_influences", "delivery_relearnings", "spam_weights", "judged_counts",
    "lead_models", "decision_files", "forgotten_viewers",
    "delivery_grants", "delivery_promises", "balances", "balance_entries", "charged_days",
    # marketplaces: what operators and businesses share; viewers by a pseudonym, for two days
    "operators", "placements", "admissions", "admission_codes", "ad_reviews", "placed_days",
    "asked_days", "placement_sightings",
    # ads of other platforms
    "outside_accounts", "outside_days", "outside_nodes", "outside_tokens",
    # members of businesses, who are asked in and written to
    "users", "invitations", "mails", "alert_choices", "push_browsers",
    # CRMs: ids of leads that are to be erased there, and digests of the statuses that we wrote, for a day
    "crm_targets", "crm_erasures", "crm_echoes",
    # ad platforms: what they are told, ids of leads that were erased, test events about nobody
    "signal_settings", "signal_erasures", "signal_tests",
}  # fmt: skip


def test_every_table_is_known_to_hold_people_or_not() -> None:
    """A new table fails here until somebody has thought of it, and erases it if it holds a person."""
    assert set(metadata.tables) == PERSONAL | IMPERSONAL


class House:
    """A business with two people who left values everywhere: one is to be erased, the other stays."""

    def __init__(self, tx: Tx) -> None:
        self.shop = make.shop(tx)
        self.business_id = self.shop.business_id
        self.actor = Actor(self.business_id, make.member(tx, self.business_id).id, "Owner")
        self.gone = self.person(tx, (PHONE, MAIL, NAME), TEXT, REJECTED)
        self.stays = self.person(
            tx, OTHERS, f"I am {OTHERS[2]}: {OTHERS[0]}, {OTHERS[1]}", "otto.x@example.com"
        )

    def person(self, tx: Tx, marks: tuple[str, str, str], text: str, rejected: str) -> Lead:
        phone, mail, name = marks
        ids = {word: new_id() for word in ("person_id", "conversation_id")}
        lead = make.lead(
            tx, self.business_id, make.contact(phone), make.contact(mail, Field.EMAIL), **ids,
            profile_name=name, channel_account_id=self.shop.tiktok.id,
        )  # fmt: skip
        plant = Planted(tx, lead, text, marks)
        digest = hashlib.sha256(text.encode()).hexdigest()
        for table in (
            "evidence", "lead_history", "lead_entries", "lead_notes", "lead_tasks", "lead_labels",
            "lead_events", "form_answers", "sends", "inline_notices", "ad_referrals",
            "conversation_labels", "private_notes", "note_mentions", "scheduled_replies",
            "kept_pages", "crm_deliveries", "crm_records", "crm_trials", "rejected_contacts",
            "ad_signals", "judged_chats", "lead_scores", "form_bookings",
        ):  # fmt: skip
            plant.row(table)
        plant.row("export_jobs", request="{}", file_name="leads-1", message="")
        plant.row("lead_merges", kept_id=lead.id)
        plant.row("consent_receipts", text="May we call?")
        plant.row("persons", id=lead.person_id)
        plant.row("conversations", id=lead.conversation_id, external_id=f"{phone} outside")
        plant.row("photos", digest=digest)
        plant.row("messages", photo=digest)
        plant.row("receipts", state=ReceiptState.REFUSED, natural_key=new_id(), account="", reason="unusable")
        plant.row("pushes", subject_id=lead.id)
        plant.row("pushes", subject_id=lead.conversation_id)
        for value in (phone, mail, rejected):
            plant.row("capture_corrections", value_index=tx.vault.blind(value, self.business_id))
        for value in (phone.lstrip("+"), mail):
            digests = ["0" * 64, hashlib.sha256(value.encode()).hexdigest()]
            prints = blind_digests(tx.vault, self.business_id, digests)
            plant.row("audience_members", fingerprint=prints[1])
            plant.row("audience_files", prints=b"".join(prints))
        plant.row("lead_views", query=f"q={phone}&sort=name")
        plant.row(
            "lead_jobs", kind=JobKind.STATUS, state=LeadJobState.DONE, plan=self.plan(query=f"q={mail}")
        )
        rows = (("Anna", "+6581112222"), (name, ""), ("", phone))
        done = {"kind": JobKind.IMPORT, "state": LeadJobState.DONE}
        job_id = plant.row("lead_jobs", **done, plan=self.plan(rows=rows))["id"]
        plant.row("lead_job_items", job_id=job_id, position=2, before="", after="", reason="")
        return lead

    def plan(self, **values: Any) -> str:
        return msgspec.json.encode(JobPlan(**values)).decode()


class Planted:
    """Rows that hang on a lead, with its marks in every column that can hold a text."""

    def __init__(self, tx: Tx, lead: Lead, text: str, marks: tuple[str, str, str]) -> None:
        self.tx, self.lead, self.text, self.marks = tx, lead, text, marks

    def row(self, table: str, **values: Any) -> dict[str, Any]:
        of = metadata.tables[table]
        row = {column.name: self.value(column) for column in of.columns if not is_given(column)} | values
        for column in of.columns:
            if column.info.get(SEALED):
                row[column.name] = self.tx.vault.seal(row[column.name], *sealed_place(column, row))
        self.tx.execute(of.insert(), row)
        return row

    def value(self, column: Column[Any]) -> Any:
        """A value for a column: the person's id where it names one, else the marked text."""
        lead = self.lead
        links = {"business_id": lead.business_id, "lead_id": lead.id, "person_id": lead.person_id,
                 "conversation_id": lead.conversation_id, "channel_account_id": lead.channel_account_id,
                 "photo": None, "blocked_at": None, "name": self.marks[2],
                 # what a business wrote, not the person
                 "actor": "Owner", "policy_url": "https://kopi.example.com"}  # fmt: skip
        if column.info.get(SEALED):
            return str(links.get(column.name, self.text))
        if column.name in links:
            return links[column.name]
        for kind, made in MADE.items():
            if isinstance(column.type, kind):
                return made(self.tx, column)
        length = getattr(column.type, "length", None)
        return self.text if length is None else new_id()[:length]


def is_given(column: Column[Any]) -> bool:
    """Whether the database gives the value by itself."""
    return column.autoincrement is True and column.name not in row_columns(column.table)


MADE: Final[dict[Any, Any]] = {
    Choice: lambda _tx, column: next(iter(column.type.kind)),
    Words: lambda _tx, _column: ("phone",),
    Instant: lambda tx, _column: tx.now,
    Date: lambda _tx, _column: date(2026, 1, 1),
    Boolean: lambda _tx, _column: False,
    Float: lambda _tx, _column: 0.5,
    BigInteger: lambda _tx, _column: new_number(),
    Integer: lambda _tx, _column: 1,
    LargeBinary: lambda _tx, _column: b"\0" * 16,
}


def traces(db: Database, business_id: str, marks: Iterable[str]) -> list[str]:
    """Where any of the marks stands in the whole database: table, column, and in which form."""

    def look(tx: Tx) -> list[str]:
        forms = Forms(tx, business_id, tuple(marks))
        return [
            f"{table.name}.{column.name}: {form}"
            for table in metadata.sorted_tables
            for row in tx.execute(select(table)).mappings()
            for column in table.columns
            if (form := forms.of_cell(column, row))
        ]

    return db.read_now(look)


class Forms:
    def __init__(self, tx: Tx, business_id: str, marks: tuple[str, ...]) -> None:
        self.tx, self.marks = tx, marks
        self.indexes = {tx.vault.blind(mark, business_id) for mark in marks}
        spelled = {form for mark in marks for form in (mark, mark.lstrip("+"))}
        self.digests = {hashlib.sha256(form.encode()).hexdigest() for form in spelled}
        self.prints = blind_digests(tx.vault, business_id, self.digests)

    def of_cell(self, column: Column[Any], row: Mapping[Any, Any]) -> str:
        """The form in which a mark stands in a column of a row, or nothing."""
        value = row[column.name]
        if value is None or not column.info.get(SEALED):
            return self.of(value)
        opened = self.tx.vault.open_bytes(value, *sealed_place(column, row))
        return "sealed" if self.of(opened.decode("utf-8", "replace")) else ""

    def of(self, value: Any) -> str:
        """The form in which a mark stands in a value, or nothing."""
        if isinstance(value, (bytes, memoryview)):
            return self.of_bytes(bytes(value))
        text = str(value)
        if any(mark.casefold() in text.casefold() for mark in self.marks):
            return "clear"
        return "hash" if any(digest in text for digest in self.digests) else ""

    def of_bytes(self, value: bytes) -> str:
        if value in self.indexes:
            return "index"
        if any(each in value for each in self.prints):
            return "print"
        return self.of(value.decode("utf-8", "replace"))


@pytest.fixture
def house(database: Database) -> House:
    return database.write_now(House)


def erase(db: Database, actor: Actor, *lead_ids: str) -> LeadJob:
    job = db.write_now(lambda tx: start_job(tx, actor, JobKind.ERASE, JobPlan(lead_ids=lead_ids)))
    work_off(db)
    found = db.read_now(lambda tx: find_job(tx, actor.business_id, job.id))
    assert found
    return found


def test_no_table_holds_a_value_of_an_erased_person_in_any_form(database: Database, house: House) -> None:
    work_off(database)
    before = traces(database, house.business_id, MARKS)
    planted = {place.partition(".")[0] for place in before}
    assert PERSONAL - planted == WITH_IDS_ALONE, "the test plants too little to find anything"
    assert {"clear", "sealed", "index", "print"} == {place.rpartition(" ")[2] for place in before}
    others = traces(database, house.business_id, OTHERS)

    job = erase(database, house.actor, house.gone.id)

    assert (job.state, job.done, job.skipped) == (LeadJobState.DONE, 1, 0)
    assert traces(database, house.business_id, MARKS) == []
    kept_files = [place for place in others if not place.startswith(("export_jobs", "kept_pages"))]
    assert traces(database, house.business_id, OTHERS) == kept_files


def test_a_consent_stays_on_record_without_its_person(database: Database, house: House) -> None:
    erase(database, house.actor, house.gone.id)
    receipts = metadata.tables["consent_receipts"]
    whose = select(receipts.c.person_id, receipts.c.text).order_by(receipts.c.person_id)
    found = database.read_now(lambda tx: [tuple(row) for row in tx.execute(whose)])
    assert found == [("", "May we call?"), (house.stays.person_id, "May we call?")]


def test_a_tombstone_says_when_and_by_whom_and_keeps_what_reports_count(
    database: Database, house: House
) -> None:
    earned = database.read_now(lambda tx: tx.execute(select(conversions)).all())
    erase(database, house.actor, house.gone.id)
    found = database.read_now(lambda tx: find_tombstone(tx, house.business_id, house.gone.id))
    assert found is not None
    assert (found.erased_by, found.erased_at) == ("Owner", database.read_now(lambda tx: tx.now))
    assert database.read_now(lambda tx: find_tombstone(tx, house.business_id, house.stays.id)) is None
    assert database.read_now(lambda tx: find_tombstone(tx, "another", house.gone.id)) is None
    assert database.read_now(lambda tx: lead_store.find_lead(tx, house.business_id, house.gone.id)) is None
    number = house.gone.number
    assert database.read_now(lambda tx: lead_store.find_lead_by_number(tx, house.business_id, number)) is None
    counts = database.read_now(lambda tx: count_leads_by_status(tx, house.business_id))
    assert sum(counts.values()) == 1
    assert database.read_now(lambda tx: tx.execute(select(conversions)).all()) == earned


def test_the_same_person_makes_a_new_lead_afterwards(database: Database, house: House) -> None:
    erase(database, house.actor, house.gone.id)
    again = database.write_now(
        lambda tx: make.lead(tx, house.business_id, make.contact(PHONE), person_id=house.gone.person_id)
    )
    assert again.id != house.gone.id
    assert database.read_now(lambda tx: lead_store.find_lead(tx, house.business_id, again.id)) is not None


def test_erasing_cannot_be_undone_nor_what_was_done_to_the_lead_before(
    database: Database, house: House
) -> None:
    deleting = database.write_now(
        lambda tx: start_job(tx, house.actor, JobKind.DELETE, JobPlan(lead_ids=(house.gone.id,)))
    )
    work_off(database)
    job = erase(database, house.actor, house.gone.id)
    assert job.done == 1, "a deleted lead can be erased"
    with pytest.raises(Refused, match="cannot be undone"):
        database.write_now(lambda tx: undo_job(tx, house.actor, job.id))
    undo = database.write_now(lambda tx: undo_job(tx, house.actor, deleting.id))
    work_off(database)
    found = database.read_now(lambda tx: find_job(tx, house.business_id, undo.id))
    assert found is not None
    assert (found.done, found.skipped) == (0, 1)
    assert traces(database, house.business_id, MARKS) == []


def test_who_was_merged_into_a_lead_goes_with_it(database: Database, house: House) -> None:
    other = database.write_now(
        lambda tx: make.lead(
            tx, house.business_id, make.contact("+6590000001"), person_id="p2", profile_name="Zed Twin"
        )
    )
    wish = (house.gone.id, other.id, Picks(), f"{NAME} is Zed Twin")
    database.write_now(lambda tx: merge_leads(tx, house.actor, *wish))
    erase(database, house.actor, house.gone.id)
    assert traces(database, house.business_id, (*MARKS, "+6590000001", "Zed Twin")) == []
    assert database.read_now(lambda tx: find_tombstone(tx, house.business_id, other.id)) is not None
    job = erase(database, house.actor, house.gone.id, other.id)
    assert (job.done, job.skipped) == (0, 2), "what is gone is left out"


def test_the_leads_of_another_business_are_out_of_reach(database: Database, house: House) -> None:
    def foreign(tx: Tx) -> Actor:
        business = make.business(tx, "Elsewhere")
        return Actor(business.id, make.member(tx, business.id, "x@example.com").id, "Stranger")

    before = traces(database, house.business_id, MARKS)
    job = erase(database, database.write_now(foreign), house.gone.id)
    assert (job.done, job.skipped) == (0, 1)
    assert traces(database, house.business_id, MARKS) == before


def test_at_most_a_thousand_are_erased_in_one_act_and_never_all_that_match(
    database: Database, house: House
) -> None:
    for plan in (JobPlan(query="status=raw"), JobPlan(lead_ids=tuple(new_id() for _ in range(1_001)))):
        with pytest.raises(Refused, match="at most"):
            database.write_now(lambda tx, plan=plan: start_job(tx, house.actor, JobKind.ERASE, plan))


def test_twins_that_stay_are_no_duplicates_any_more(database: Database, house: House) -> None:
    twin = database.write_now(
        lambda tx: make.lead(tx, house.business_id, make.contact(PHONE), person_id="p3", profile_name="Tom")
    )
    erase(database, house.actor, house.gone.id)
    facets = select(tables.leads.c.facets).where(tables.leads.c.id == twin.id)
    assert "twin" not in str(database.read_now(lambda tx: tx.scalar(facets)))


@pytest.mark.parametrize(
    ("text", "is_about"),
    [
        (" +65 9123-4567 ", True),
        ("9123 4567", True),
        ("٩١٢٣٤٥٦٧", True),
        ("call 0065 9123 4567 at noon", True),
        ("ZELDA.MARK@example.com", True),
        ("<zelda.mark@example.com>", True),
        ("zelda markworth", True),
        ("Zelda", False),
        ("mark@example.com", False),
        ("123456", False),
        ("4567", False),
        ("", False),
    ],
)
def test_a_text_tells_of_a_person_in_any_spelling_but_not_by_a_part(text: str, is_about: bool) -> None:
    assert tells_of(text, {"+6591234567", MAIL}, {NAME}) is is_about


def test_rows_of_an_import_are_emptied_by_number_and_by_value() -> None:
    rows = (("Anna", "+6581112222"), ("Ben", ""), (), ("x", PHONE))
    assert without_person(rows, {2}, {PHONE}) == (("Anna", "+6581112222"), (), (), ())
