"""Past work on many leads stands in one line and goes back to the list as it was; and what a search finds."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.kit.db.database import Database
from contatto.kit.table_export import safe_cell
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from contatto.ui.render import split_links
from tests import make
from tests.journeys.running import House, csrf_of, running_house, until


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def post(house: House, path: str, **values: str | list[str]) -> str:
    token = csrf_of(house.client.get("/leads").text)
    answer = house.client.post(path, data=values | {"csrf_token": token}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def two_leads(house: House, value: str = "+6591234567") -> list[str]:
    def build(tx):  # type: ignore[no-untyped-def]
        return [
            make.lead(tx, house.business_id, make.contact(value), person_id=f"p{n}", profile_name=f"P{n}").id
            for n in range(2)
        ]

    found: list[str] = house.context.db.write_now(build)
    return found


def test_past_work_is_one_line_and_its_undo_keeps_the_filters(house: House) -> None:
    ids = two_leads(house)
    for label in ("one", "two", "three"):
        post(house, "/leads/bulk", do="label", ids=ids, label=label)
    assert until(lambda: 'data-running="true"' not in house.client.get("/leads/jobs").text)
    line = house.client.get("/leads/jobs?status=raw&q=p1").text
    assert line.count('class="job"') == 1
    assert "three" in line
    assert "/leads/jobs/history?q=p1&amp;status=raw" in line
    job = re.findall(r"/leads/jobs/([0-9a-f-]{36})/undo", line)[0]
    query = html.unescape(re.findall(r'name="query" value="([^"]*)"', line)[0])
    assert query == "q=p1&status=raw"
    assert post(house, f"/leads/jobs/{job}/undo", query=query) == "/leads?q=p1&status=raw"
    assert until(lambda: house.client.get("/leads/jobs/history").text.count('class="job"') == 4)


def test_the_counts_of_the_chips_come_with_the_rows(house: House) -> None:
    first, _ = two_leads(house)
    post(house, f"/leads/{first}/status", status="qualified", seen="raw")
    rows = house.client.get("/leads/rows?status=converted").text
    counts = json.loads(html.unescape(re.findall(r'data-counts="([^"]*)"', rows)[0]))
    assert counts == {"raw": 1, "contacted": 0, "qualified": 1, "unqualified": 0, "converted": 0}


def test_a_merge_that_was_undone_by_itself_offers_no_undo(house: House) -> None:
    first, second = two_leads(house)
    post(house, "/leads/merge", ids=[first, second], keep=first, reason="")
    assert "/undo" in house.client.get("/leads/jobs").text
    merge = re.findall(r"/merges/([0-9a-f-]{36})/undo", house.client.get(f"/leads/{first}").text)[0]
    post(house, f"/leads/{first}/merges/{merge}/undo")
    for path in ("/leads/jobs", "/leads/jobs/history"):
        page = house.client.get(path).text
        assert "/undo" not in page
        assert "undone" in page


def test_a_search_finds_visitors_without_a_name_and_numbers_as_their_country_writes_them(
    database: Database,
) -> None:
    business_id = database.write_now(make.business).id
    database.write_now(
        lambda tx: make.lead(
            tx, business_id, make.contact("+393471234567"), person_id="1a2bcccc", profile_name=""
        )
    )
    database.write_now(
        lambda tx: make.lead(tx, business_id, make.contact("+6591234567"), person_id="p2", profile_name="Mei")
    )

    def found(text: str) -> list[str]:
        wanted = LeadFilter(text=text)
        return [
            lead.person_id
            for lead in database.read_now(lambda tx: listing.list_leads(tx, business_id, wanted))
        ]

    assert found("3471234567") == ["1a2bcccc"]
    assert found("Visitor") == ["1a2bcccc"]
    assert found("visitor 1a2b") == ["1a2bcccc"]
    assert found("Visitor 9f9f") == []
    assert found("Mei") == ["p2"]


@pytest.mark.parametrize(
    ("cell", "kept"),
    [("+6591234567, +393471234567", True), ("+6591234567", True), ("+6591234567, =1+1", False),
     ("+6591234567,+1", False), ("=cmd", False), ("+1+2", False)],
)  # fmt: skip
def test_several_phones_keep_their_plus_and_nothing_else_does(cell: str, kept: bool) -> None:
    assert safe_cell(cell) == (cell if kept else f"'{cell}")


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://example.com/a?b=1.", ["https://example.com/a?b=1"]),
        ("(http://example.com/x_(y))", ["http://example.com/x_(y)"]),
        ("www.example.com, and more", ["https://www.example.com"]),
        ("javascript:alert(1) data:text/html,x https://", []),
        ('https://example.com/"onclick="x', ["https://example.com/"]),
    ],
)
def test_addresses_in_a_message_are_links_and_nothing_else_is(text: str, links: list[str]) -> None:
    parts = split_links(text)
    assert "".join(part for part, _ in parts) == text
    assert [address for _, address in parts if address] == links
