"""What a thief of the database or of a backup can read: no contact value, nor a hash made without the key."""

import hashlib
import logging
import re
from base64 import b64encode
from collections.abc import Iterator
from html import unescape
from io import StringIO
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Column, select
from starlette.testclient import TestClient

from contatto.app import create_app, open_context
from contatto.cli.access import reseal_all
from contatto.cli.models import seal_files
from contatto.crm.model import Trial
from contatto.crm.store.deliveries import ledger, list_records, list_targets, record_due, record_link
from contatto.crm.store.events import crm_trials, record_trial
from contatto.delivery.store import save_influences
from contatto.inbox.store.conversations import messages
from contatto.integrations.model import TrialState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import SEALED, Tx, metadata, sealed_place
from contatto.kit.log import set_up_logs
from contatto.kit.outbound.model import NewRequest, RetryPlan
from contatto.kit.outbound.queue import queue_request
from contatto.kit.values import UNREADABLE
from contatto.kit.vault import Sealed, Vault
from contatto.leads.model import LeadModel
from contatto.leads.store.jobs import save_lead_model
from contatto.measurement.actions import sealing_job
from contatto.spam.rules import BITS, SpamWeights
from contatto.spam.store import save_weights
from contatto.wiring import install
from tests.security.conftest import copied_world
from tests.security.filling import settle
from tests.security.planting import MAIL, NAME, PHONE, PLATFORM_NAME, TEXT, VALUES, Planting
from tests.security.traces import Marks, all_ids, cells, in_database, in_files
from tests.security.world import KEYS, URL, Tenant, World

KEYS_OF_NAMES = {"leads.name_key", "persons.name_key"}
"""Names are sorted by and searched by parts of them, which needs them in clear: see SECURITY.md."""
NO_PERSON = {
    "answered_requests.answer", "channel_apps.secret", "channel_tokens.access_token",
    "crm_deliveries.edited", "crm_records.owner", "crm_records.told_by", "crm_targets.secrets",
    "crm_trials.found",
    "delivery_influences.body", "delivery_log.body", "delivery_models.blob", "form_pictures.body",
    "lead_models.body", "mails.recipient", "mails.subject", "mails.text", "jobs.progress",
    "outside_tokens.access_token", "photos.body", "push_browsers.endpoint", "push_browsers.public_key",
    "push_browsers.secret", "spam_weights.body", "subscriptions.secret",
}  # fmt: skip
"""Sealed columns that hold secrets, pictures, ids, where a sequence of requests stands, what members of a
business or of their CRM write, and what delivery learned of viewers, whom it knows by pseudonyms: nobody's
contact value gets there as a text by what is planted here."""
AUDIENCES = "/dmp/custom_audience"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def api(world: World, method: str, path: str, **values: Any) -> Any:
    of = world.victim
    answer = world.api(method, path, of.token, **({"advertiser_id": of.advertiser_id} | values))
    assert answer["code"] == 0, answer
    return answer["data"]


def upload(world: World, kind: str, *digests: str) -> str:
    sent = {
        "data": {"advertiser_id": world.victim.advertiser_id, "calculate_type": kind},
        "files": {"file": ("list.csv", "\n".join(digests).encode(), "text/csv")},
    }
    path = f"/open_api/v1.3{AUDIENCES}/file/upload/"
    return str(world.ask("POST", path, token=world.victim.token, **sent).json()["data"]["file_path"])


def make_audience(world: World, kind: str, *digests: str) -> str:
    made = api(world, "POST", f"{AUDIENCES}/create/", custom_audience_name=f"{kind} of a file",
               calculate_type=kind, file_paths=[upload(world, kind, *digests)])  # fmt: skip
    return str(made["custom_audience_id"])


def size(world: World, audience: str) -> int:
    found = api(world, "GET", f"{AUDIENCES}/get/", custom_audience_ids=[audience])["list"][0]
    return int(found["audience_details"]["cover_num"])


def decide(world: World, of: Tenant, *digests: str) -> Any:
    asked = {"viewer_id": "viewer-9", "country": "SG", "digests": list(digests)}
    answer = world.ask("POST", "/delivery/decide", token=of.token, json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["ad"]


def list_audience(world: World, kind: str, text: str) -> None:
    """Make an audience of a list that is typed into the page, where values come in clear."""
    form = {"once": f"once of {kind}", "advertiser_id": world.victim.advertiser_id, "name": f"Typed {kind}",
            "kind": kind, "country": "SG", "text": text}  # fmt: skip
    answer = world.ask("POST", "/ads/audiences", session=world.victim.owner, data=form)
    assert answer.status_code == 303, answer.text


def test_members_of_audiences_cannot_be_tried_out_without_the_key(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    make_audience(world, "PHONE_SHA256", sha256(PHONE), sha256(PHONE[1:]))
    upload(world, "EMAIL_SHA256", sha256(MAIL))  # no audience takes it yet
    list_audience(world, "PHONE_SHA256", PHONE)
    list_audience(world, "EMAIL_SHA256", MAIL)
    decide(world, of, sha256(PHONE), sha256(MAIL))
    sent_once = f"{of.advertiser_id} Typed PHONE_SHA256 {sha256(PHONE)}"
    hashes = Marks((*VALUES, *(sha256(each) for each in VALUES), sent_once), (of.business_id,))
    assert in_database(world.context.db, hashes) == set()
    assert in_files(world.context.settings.data_dir, hashes) == set()


def test_members_are_found_again_and_taken_out_by_what_publishers_and_programs_send(
    fresh_world: World,
) -> None:
    world, of = fresh_world, fresh_world.victim
    audience = make_audience(world, "PHONE_SHA256", sha256(PHONE), sha256("+6590000000"))
    assert size(world, audience) == 2
    group = api(world, "GET", "/adgroup/get/")["list"][0]["adgroup_id"]
    api(world, "POST", "/adgroup/update/", adgroup_id=group, audience_ids=[audience])
    assert decide(world, of, sha256(PHONE)) is not None
    assert decide(world, of, sha256("+6597776656")) is None
    assert decide(world, of) is None
    world.context.clock.advance(seconds=60)  # type: ignore[attr-defined]  # the world's stands still
    files = {"custom_audience_id": audience, "action": "REMOVE"}
    path = upload(world, "PHONE_SHA256", sha256(PHONE))
    api(world, "POST", f"{AUDIENCES}/update/", file_paths=[path], **files)
    assert size(world, audience) == 1
    world.context.clock.advance(seconds=60)  # type: ignore[attr-defined]  # the index is read anew
    assert decide(world, of, sha256(PHONE)) is None
    assert decide(world, of, sha256("+6590000000")) is not None


def test_one_value_stands_differently_with_each_tenant() -> None:
    vault, other = Vault({"a": bytes(32)}), Vault({"b": b"\1" * 32, "a": bytes(32)})
    assert vault.blind("x", "tenant-1") != vault.blind("x", "tenant-2")
    assert vault.blind("x", "tenant-1") == other.blind("x", "tenant-1")


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_a_planted_hash_would_be_found(name: str) -> None:
    marks = Marks((PHONE,), ("0190a5a1-7c2e-7aaa-8000-00000000000f",))
    digest = hashlib.new(name, PHONE.encode())
    assert marks.of(b"x" + digest.digest() + b"y")
    assert marks.of(f"x {digest.hexdigest().upper()}".encode())
    assert marks.of(b"call +6597776655")
    assert not marks.of(b"call +6597776656")


def sealed_columns() -> list[Column[Any]]:
    return [column for table in metadata.sorted_tables for column in table.c if column.info.get(SEALED)]


def sealed_values(db: Database) -> list[tuple[bytes, tuple[str, str, str]]]:
    """Every sealed value of the database with the place for which it was sealed."""

    def read(tx: Tx) -> list[tuple[bytes, tuple[str, str, str]]]:
        return [
            (row[column.name], sealed_place(column, row))
            for column in sealed_columns()
            for row in tx.execute(select(column.table)).mappings()
            if row[column.name] is not None
        ]

    return db.read_now(read)


def fill_rarer_columns(tx: Tx, of: Tenant) -> None:
    """Write by their stores what no door of the planting leads to."""
    business_id = of.business_id
    (target,) = (each for each in list_targets(tx, business_id) if each.connector == "webhook")
    delivery = ledger.list_entries(tx, business_id, target.id)[0]
    record_due(tx, delivery, "edited", is_queued=True)
    (record,) = list_records(tx, business_id, target_id=target.id, lead_id=delivery.lead_id)
    record_link(tx, record, owner="Bea", told_by="Bea", told_at=tx.now)
    trial = Trial(business_id, target.id, delivery.lead_id, TrialState.PENDING, "", "", tx.now, None)
    tx.save(crm_trials, tx.sealed_row(trial))
    record_trial(tx, trial, TrialState.DONE, result="found")
    flat = np.zeros(1 << BITS, np.float32)
    save_weights(tx, business_id, SpamWeights(0.0, flat, flat), tx.now)
    save_influences(tx, business_id, [])
    save_lead_model(tx, LeadModel(business_id, tx.now, 1, 0.5, 0.5, b"correction", b"body", None))
    queue_request(tx, NewRequest(business_id, "poll", "subject", "host", progress="cursor"), RetryPlan((1,)))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def planted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Marks]]:
    """A world in which one person left their values at every door, and what to look for."""
    built = request.getfixturevalue(f"planted_on_{request.param}")
    with copied_world(built, tmp_path_factory.mktemp("sealed"), request) as world:
        world.context.clock.advance(seconds=3 * 86_400)  # type: ignore[attr-defined]  # the world's stands still
        seal_files(world.context.db, sealing_job(world.context.settings.data_dir / "sealed", 2))
        assert list(world.context.settings.data_dir.rglob("part-*.parquet"))
        yield world, Marks(VALUES, all_ids(world.context.db))


def test_after_a_rotation_the_new_key_seals_all_and_everybody_is_found_as_before(
    planted_world: World,
) -> None:
    world, of = planted_world, planted_world.victim
    audience = make_audience(world, "PHONE_SHA256", sha256(PHONE))
    group = api(world, "GET", "/adgroup/get/")["list"][0]["adgroup_id"]
    api(world, "POST", "/adgroup/update/", adgroup_id=group, audience_ids=[audience])
    keys = (f"new:{b64encode(bytes([7]) * 32).decode()}", *KEYS)
    settings = world.context.settings.model_copy(update={"secret_keys": keys})
    context = open_context(install(settings), world.context.clock)
    try:
        assert reseal_all(context.db, lambda _: None) > 50
        assert reseal_all(context.db, lambda _: None) == 0
        assert {place for place, raw in cells(context.db) if b"\x04test" in raw[:8]} == set()
        with TestClient(create_app(context), base_url=URL) as client:
            rotated = World(context, client, world.victim, world.attacker)
            for words in (PHONE, MAIL, NAME):
                assert PLATFORM_NAME in unescape(
                    rotated.ask("GET", "/leads", session=of.owner, params={"q": words}).text
                )
            assert decide(rotated, of, sha256(PHONE)) is not None
            assert decide(rotated, of, sha256(MAIL)) is None
    finally:
        context.db.close()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_log_line_holds_a_contact_value_or_a_name_though_everything_breaks(
    fresh_world: World, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Each step of the work fails once with words that quote the person, as an error may."""
    lines = StringIO()
    set_up_logs(level, "json", lines)
    Planting(fresh_world).run()

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError(TEXT) from KeyError(NAME)

    for place in (
        "contatto.leads.store.listing.list_matches",
        "contatto.inbox.pages.desk.list_search_hits",
        "contatto.inbox.actions.incoming.Threads.open",
        "contatto.leads.actions.jobs.read_entry",
        "contatto.leads.store.listing.list_leads_by_id",
    ):
        monkeypatch.setattr(place, fail)
    owner = fresh_world.victim.owner
    assert fresh_world.ask("GET", "/leads", session=owner).status_code == 500
    assert fresh_world.ask("GET", f"/inbox/search?q={MAIL}", session=owner).status_code == 500
    planting = Planting(fresh_world)
    planting.say("planted-late")
    planting.jobs()
    settle(fresh_world)
    try:
        fail()
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    told = lines.getvalue()
    assert "ValueError" in told
    assert {"http.broken", "receipt.failed", "outbox.failed"} <= set(re.findall(r'"event": "([\w.]+)"', told))
    assert Marks((*VALUES, NAME, NAME.split()[1])).of(told.encode()) == ""
    assert {
        place for place, _ in in_database(fresh_world.context.db, Marks((*VALUES, NAME)))
    } <= KEYS_OF_NAMES


def test_no_contact_value_lies_in_clear_or_as_a_hash_that_needs_no_key(planted: tuple[World, Marks]) -> None:
    world, marks = planted
    assert in_database(world.context.db, marks) == set()
    assert in_files(world.context.settings.data_dir, marks) == set()


def test_a_name_lies_in_clear_only_where_it_is_searched_by(planted: tuple[World, Marks]) -> None:
    world, _ = planted
    found = in_database(world.context.db, Marks((NAME, NAME.split()[1])))
    assert {place for place, _ in found} == KEYS_OF_NAMES


def test_the_values_came_into_every_sealed_column(planted: tuple[World, Marks]) -> None:
    """Else the tests above would prove nothing: have `planting` reach each new column through its door."""
    world, _ = planted
    known = Marks((*VALUES, NAME))

    def look(tx: Tx) -> set[str]:
        return {
            f"{table.name}.{column.name}"
            for table in metadata.sorted_tables
            for column in table.columns
            if column.info.get(SEALED)
            for row in tx.execute(select(table)).mappings()
            if row[column.name] is not None
            and known.of(tx.vault.open_bytes(row[column.name], *sealed_place(column, row)))
        }

    assert world.context.db.read_now(look) == {str(column) for column in sealed_columns()} - NO_PERSON


def test_a_sealed_value_opens_in_no_other_row_column_table_or_tenant(planted: tuple[World, Marks]) -> None:
    """Every value is tried at its own place, and at every other place of which it could be moved to."""
    world, _ = planted
    vault = world.context.vault
    values = sealed_values(world.context.db)
    rows = sorted({place[2] for _, place in values})
    tenants, columns = {place[0] for _, place in values}, {place[1] for _, place in values}
    for at, (value, (tenant, column, row)) in enumerate(values):
        vault.open_bytes(value, tenant, column, row)
        moved = [(tenant, column, rows[(at + step) % len(rows)]) for step in (0, 1, 7, 71)]
        moved += [(tenant, other, row) for other in columns]
        moved += [(other, column, row) for other in tenants]
        for place in moved:
            if place != (tenant, column, row):
                with pytest.raises(Sealed):
                    vault.open_bytes(value, *place)


def test_a_text_that_was_moved_to_another_chat_is_not_shown_there(fresh_world: World) -> None:
    """Who can write to the table, but has no key, cannot have the application read values out."""
    world, of = fresh_world, fresh_world.victim
    db = world.context.db
    rows = db.read_now(lambda tx: tx.execute(select(messages).order_by(messages.c.seq)).mappings().all())
    own = [row for row in rows if row["business_id"] == of.business_id]
    secret = own[0]
    target = next(row for row in own if row["conversation_id"] != secret["conversation_id"])
    word = world.context.vault.open(secret["body"], *sealed_place(messages.c.body, secret))
    path = f"/inbox/{target['conversation_id']}"
    assert world.ask("GET", path, session=of.owner).status_code == 200
    moved = messages.update().where(messages.c.id == target["id"]).values(body=secret["body"])
    db.write_now(lambda tx: tx.execute(moved) and None)
    answer = world.ask("GET", path, session=of.owner)
    assert (answer.status_code, word in unescape(answer.text)) == (200, False)
    assert UNREADABLE in answer.text


def test_a_rotation_moves_every_sealed_column_of_the_schema(planted_world: World) -> None:
    """The columns come of the schema, so none is left out; one that is empty here gets a value."""
    world, db = planted_world, planted_world.context.db
    db.write_now(lambda tx: fill_rarer_columns(tx, world.victim))
    at_first = sealed_values(db)
    assert {str(column) for column in sealed_columns()} - {place[1] for _, place in at_first} == set()
    keys = (f"new:{b64encode(bytes([7]) * 32).decode()}", *KEYS)
    settings = world.context.settings.model_copy(update={"secret_keys": keys})
    context = open_context(install(settings), world.context.clock)
    try:
        assert reseal_all(context.db, lambda _: None) == len(at_first)
        rotated = sealed_values(context.db)
        alone = Vault({"new": bytes([7]) * 32})
        before = {place: world.context.vault.open_bytes(value, *place) for value, place in at_first}
        assert {place: alone.open_bytes(value, *place) for value, place in rotated} == before
    finally:
        context.db.close()


def test_names_are_shown_whole_and_found_by_their_parts(planted: tuple[World, Marks]) -> None:
    world, _ = planted
    owner = world.victim.owner
    for path in ("/leads?q=markwor", "/leads?q=ZELDA%20M", "/leads?sort=name"):
        assert PLATFORM_NAME in world.ask("GET", path, session=owner).text.replace("&#43;", "+")
    assert NAME in world.ask("GET", "/inbox/search?q=markwor", session=owner).text
    assert PLATFORM_NAME not in world.ask("GET", "/leads?q=markworthy", session=owner).text
