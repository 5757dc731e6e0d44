"""The audit log: each change and each look at contact values once, chained, with ids and nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from contatto.audit import (
    AuditEntry,
    AuditRecord,
    append_records,
    chain_holds,
    list_audit_entries,
    objects_of,
)
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.values import micros
from tests import make
from tests.journeys.running import API, House, csrf_of, message, running_house, until
from tests.quoting import quotes
from tests.unchanged import all_rows

DM = {"lead_source": "DIRECT_MESSAGE"}


def test_only_ids_of_known_fields_are_kept() -> None:
    fields = {
        "campaign_id": "1", "ad_ids": [2, "3"], "lead_id": "mei@example.com", "campaign_name": "Mei",
        "page_id": True, "secret": "s", "event_id": "+6581234567", "advertiser_id": None,
    }  # fmt: skip
    assert objects_of(fields) == "ad_ids=2 ad_ids=3 campaign_id=1"


def deeds(tx: Tx, business_id: str, count: int) -> list[AuditEntry]:
    for number in range(count):
        append_records(
            tx, [AuditRecord(business_id, "m1", "Owner", "POST /x/", f"ad_id={number}", f"r{number}")]
        )
    return list_audit_entries(tx, business_id, (0, 100))[::-1]


def test_a_change_or_a_gap_in_the_past_breaks_the_chain(database: Database) -> None:
    def work(tx: Tx) -> None:
        entries = deeds(tx, make.business(tx).id, 4)
        others = deeds(tx, make.business(tx, "Other").id, 2)
        assert chain_holds(entries)
        assert chain_holds(entries[1:3])
        assert chain_holds(others)
        assert not chain_holds([entries[0], *entries[2:]])
        for changed in ({"object": "ad_id=9"}, {"actor": "Nobody"}, {"act": "GET /x/"}, {"digest": "0" * 64}):
            assert not chain_holds([entries[0], replace(entries[1], **changed), *entries[2:]])
        assert not chain_holds([*entries[:2], *others])

    database.write_now(work)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.sign_in()
        now_ms = micros(running.context.clock.now()) // 1_000
        running.webhook("im_receive_msg", message("+65 8123 4567", "mei", now_ms))
        assert until(lambda: running.api("GET", "/lead/get/", **DM)["code"] == 0)
        yield running


def acts(house: House) -> list[tuple[str, str]]:
    """Latest first: what was done, and by whom."""

    def look(tx: Tx) -> list[AuditEntry]:
        return list_audit_entries(tx, house.business_id, (0, 50))

    return [(entry.act, entry.actor) for entry in house.context.db.read_now(look)]


def test_a_change_through_the_api_is_written_down_once_with_its_object(house: House) -> None:
    before = len(acts(house))
    made = house.data("POST", "/campaign/create/", campaign_name="Mei", objective_type="LEAD_GENERATION")
    assert acts(house)[0] == ("POST /campaign/create/", "tests")
    assert len(acts(house)) == before + 1
    entry = house.data("GET", "/contatto/audit/list/", page_size=1)["list"][0]
    assert entry["object"] == f"advertiser_id={house.advertiser_id} campaign_id={made['campaign_id']}"
    assert house.api("POST", "/campaign/create/", campaign_name="", objective_type="X")["code"] == 40002
    assert len(acts(house)) == before + 1


def test_a_look_at_a_lead_is_written_down_and_one_that_was_refused_is_not(house: House) -> None:
    lead_id = house.data("GET", "/lead/get/", **DM)["meta_data"]["lead_id"]
    assert acts(house)[0] == ("GET /lead/get/", "tests")
    count = len(acts(house))
    assert house.api("GET", "/lead/get/", lead_id="1", **DM)["code"] == 40007
    assert len(acts(house)) == count
    rows = all_rows(house.context.db)["leads"]
    row_id = next(row for row in rows if lead_id in row).split("'")[1]
    assert house.client.get(f"/leads/{row_id}").status_code == 200
    assert acts(house)[0] == ("GET /leads/{lead_id}", "Owner")
    for kind in ("csv", "xlsx"):
        assert house.client.get(f"/leads.{kind}").status_code == 200
        assert acts(house)[0] == (f"GET /leads.{kind}", "Owner")
    assert house.client.get("/leads/0190a5a1-7c2e-7aaa-8000-00000000000f").status_code == 404
    assert acts(house)[0] == ("GET /leads.xlsx", "Owner")


def test_a_member_change_is_written_down_and_the_page_shows_the_log(house: House) -> None:
    csrf = csrf_of(house.client.get("/settings").text)
    form = {"name": "Nightly", "scopes": "leads.read", "csrf_token": csrf}
    house.client.post("/settings/tokens", data=form)
    assert acts(house)[0] == ("POST /settings/tokens", "Owner")
    page = house.client.get("/settings/audit")
    assert page.status_code == 200
    assert "POST /settings/tokens" in page.text
    assert "unchanged since they were written" in page.text


def test_the_log_holds_no_contact_value_and_no_secret(house: House) -> None:
    rows = str(all_rows(house.context.db)["audit_entries"])
    assert not any(word in rows for word in ("mei@", house.token, "name of mei"))
    assert not quotes(rows, "81234567")


def test_a_change_behind_our_back_shows(house: House) -> None:
    assert house.data("GET", "/contatto/audit/list/", page_size=50)["chain_holds"] is True

    def tamper(tx: Tx) -> None:
        tx.execute(
            text("UPDATE audit_entries SET actor = 'Nobody' WHERE seq = (SELECT min(seq) FROM audit_entries)")
        )

    house.context.db.write_now(tamper)
    found = house.data("GET", "/contatto/audit/list/", page_size=50)
    assert found["chain_holds"] is False
    assert found["page_info"]["total_number"] == len(found["list"])
    assert "or some are missing" in house.client.get("/settings/audit").text


def test_the_log_is_for_owners_and_admins(house: House) -> None:
    answer = house.client.get(f"{API}/contatto/audit/list/", headers={"Access-Token": "x"})
    assert answer.json()["code"] == 40105
